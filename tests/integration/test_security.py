"""Checkpoints through fairseq's own commands: ours save, resume and decode; malicious ones never run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from bertkd_fairseq.compat import load_safely
from tests.conftest import BERTKD, USER_DIR, fairseq_command, run_command

TRAIN = (
    "--arch transformer_iwslt_de_en --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 "
    "--decoder-embed-dim 16 --encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 "
    "--encoder-attention-heads 2 --decoder-attention-heads 2 --optimizer adam --lr 1e-3 "
    "--criterion label_smoothed_cross_entropy --max-tokens 400 --cpu --num-workers 0 "
    "--log-format simple --log-interval 1"
)
VALIDATE = "--cpu --task translation --max-tokens 400"


class Evil:
    """Makes a folder as soon as it is unpickled without protection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"mkdir '{self.folder}'",)


def fairseq(name: str, data_bin: Path, *options: object) -> list[object]:
    return [*fairseq_command(name), data_bin, "--user-dir", USER_DIR, *options]


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A checkpoint that makes the folder ``sprung`` beside it."""
    path = tmp_path / "evil.pt"
    torch.save({"cfg": {"task": Evil(tmp_path / "sprung")}, "model": {}}, path)
    return path


def test_the_trap_springs_where_nothing_protects(evil: Path) -> None:
    torch.load(evil, weights_only=False)
    assert evil.with_name("sprung").is_dir()


@pytest.mark.parametrize(
    "command", ["generate", "validate", "restore", "dump-topk", "inspect", "translate"]
)
def test_malicious_checkpoint_is_refused(
    command: str, evil: Path, data_bin: Path, topk: Path
) -> None:
    save, store = evil.with_name("save"), evil.with_name("store")
    argv = {
        "generate": fairseq("generate", data_bin, "--path", evil, "--cpu"),
        "validate": fairseq("validate", data_bin, "--path", evil, *VALIDATE.split()),
        "restore": fairseq(
            "train", data_bin, *TRAIN.split(), "--save-dir", save, "--restore-file", evil
        ),
        "dump-topk": [*BERTKD, "dump-topk", data_bin, "--path", evil, "--destdir", store],
        "inspect": [*BERTKD, "inspect", topk, "--data-bin", data_bin, "--student", f"x={evil}"],
        "translate": [*BERTKD, "translate", "--path", evil, "--data-bin", data_bin],
    }[command]
    done = run_command(argv, check=False)
    assert not evil.with_name("sprung").exists()
    assert not store.exists()
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "error: `checkpoint` must be tensors and plain settings that load without running code, "
        f"but is {evil}, which asks for `posix.system`, instead. The file was refused and nothing "
        "in it was run. Get it from a source that you trust; if you know the class to be harmless, "
        "allow it with torch.serialization.add_safe_globals."
    )


def test_stock_training_saves_resumes_in_mid_epoch_and_decodes(
    data_bin: Path, tmp_path: Path
) -> None:
    bleu = ["--eval-bleu", "--eval-bleu-args", '{"beam": 1, "max_len_b": 5}']
    best = ["--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"]
    train = fairseq("train", data_bin, *TRAIN.split(), "--save-dir", tmp_path, *bleu, *best)
    run_command([*train, "--save-interval-updates", 2, "--max-update", 3])
    first = torch.load(tmp_path / "checkpoint_last.pt", weights_only=False)
    # In mid-epoch, and with the numpy counts of --eval-bleu in it: the case that needs the most.
    assert first["extra_state"]["train_iterator"]["iterations_in_epoch"] == 3
    done = run_command([*train, "--max-update", 5])
    assert "(epoch 1 @ 3 updates)" in done.stderr + done.stdout
    last = load_safely(tmp_path / "checkpoint_last.pt")
    assert last["optimizer_history"][-1]["num_updates"] == 5
    decode = ["--path", tmp_path / "checkpoint_best.pt", "--beam", 1, "--max-len-b", 5, "--cpu"]
    one_by_one = ["--required-batch-size-multiple", 1]
    done = run_command(fairseq("generate", data_bin, *decode, *one_by_one))
    assert sum(line.startswith("H-") for line in done.stdout.splitlines()) == 61
