"""Teacher and store of the miniature pair, made once by the real commands, and ways to train."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BERTKD, USER_DIR, fairseq_command, run_command
from tests.integration.browser import chromium

TEACHER_UPDATES = 40
# The same numbers on every machine; what --precision auto chooses depends on the CPU.
EXACT = ("--precision", "fp32")
DUMP = (*BERTKD, "dump-topk", *EXACT)
TEACHER = (
    *EXACT,
    *("--user-dir", USER_DIR, "--task", "bert_cmlm", "--arch", "bert_cmlm_teacher"),
    *("--criterion", "bert_cmlm_cross_entropy", "--optimizer", "bert_adamw", "--clip-norm", 1.0),
    *("--lr", 2e-3, "--lr-scheduler", "polynomial_decay", "--warmup-updates", 5),
    *("--total-num-update", TEACHER_UPDATES, "--max-tokens", 1000),
)
STUDENT = (
    *("--user-dir", USER_DIR, "--arch", "transformer_iwslt_de_en", "--share-all-embeddings"),
    *("--encoder-layers", 1, "--encoder-embed-dim", 32, "--encoder-ffn-embed-dim", 64),
    *("--decoder-layers", 1, "--decoder-embed-dim", 32, "--decoder-ffn-embed-dim", 64),
    *("--optimizer", "adam", "--lr", 5e-3, "--label-smoothing", 0.1, "--max-tokens", 1000),
)
DISTILL = (
    *(*EXACT, "--task", "translation_bert_kd"),
    *("--criterion", "bert_kd_label_smoothed_cross_entropy"),
)
COMMON = (
    "--required-batch-size-multiple",
    1,
    "--log-format",
    "json",
    "--log-interval",
    1,
    "--seed",
    3,
)


def train_command(data_bin: Path | str, *options: object) -> list[object]:
    """Return the argv of a fairseq-train on ``data_bin``."""
    return [*fairseq_command("train"), data_bin, *COMMON, *options]


def torchrun(num_processes: int, command: Sequence[object]) -> list[object]:
    """Return the argv that runs a fairseq command in several processes on this CPU."""
    script = command[2]  # python -c SCRIPT
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    processes = ["--nproc-per-node", num_processes, sys.executable, "-c", script]
    return [*launcher, *processes, *command[3:], "--ddp-backend", "legacy_ddp"]


def logged(output: str, kind: str = "train_inner") -> list[dict[str, float]]:
    """Return fairseq's log lines of one kind: ``train_inner``, ``train`` or ``valid``."""
    lines = re.findall(rf"\| {kind} \| (\{{.*\}})$", output, flags=re.MULTILINE)
    return [{key: float(value) for key, value in json.loads(line).items()} for line in lines]


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory, data_bin: Path, tiny_bert: Path) -> Path:
    """Checkpoint of a teacher after a few updates."""
    save_dir = tmp_path_factory.mktemp("teacher")
    options = ("--bert-model", tiny_bert, "--max-update", TEACHER_UPDATES, "--save-dir", save_dir)
    run_command(train_command(data_bin, *TEACHER, *options))
    return save_dir / "checkpoint_best.pt"


@pytest.fixture(scope="session")
def topk(tmp_path_factory: pytest.TempPathFactory, data_bin: Path, teacher: Path) -> Path:
    """The teacher's store for the training split, K = 4."""
    dest = tmp_path_factory.mktemp("store") / "topk"
    run_command([*DUMP, data_bin, "--path", teacher, "--destdir", dest, "--topk", 4])
    return dest


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser for pages, or the reason why there is none."""
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started
