"""Teachers of every family through the real commands: ten updates, a dump, and its rows by transformers' own words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertkd_fairseq.dump.rows import top_rows
from bertkd_fairseq.tasks.checkpoint import load_checkpoint
from bertkd_fairseq.topk_store import TopKStore
from tests.conftest import run_command
from tests.families import FAMILIES, hugging_face_logits, make_model, stock_model
from tests.integration.conftest import DUMP, TEACHER, logged, torchrun, train_command

ONLY_IN_UNIT_TESTS = ("untied", "untied-electra", "rembert", "mpnet", "xlm")
NAMES = [name for name in FAMILIES if name not in ONLY_IN_UNIT_TESTS]
# The miniature's tokenizer is a BERT's.
SPECIAL_IDS = {"bos": 2, "pad": 0, "eos": 3, "unk": 1, "mask": 4}
POSITIONS = 64


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq makes ./checkpoints even with --no-save."""
    monkeypatch.chdir(tmp_path_factory.mktemp("scratch"))


def write_model(name: str, folder: Path, tiny_bert: Path) -> Path:
    """Write a random model of a family beside the miniature's tokenizer."""
    pieces = len(json.loads((tiny_bert / "tokenizer.json").read_text("utf-8"))["model"]["vocab"])
    family = replace(FAMILIES[name], ids=SPECIAL_IDS)
    model = make_model(family, vocab_size=pieces, max_position_embeddings=POSITIONS)
    model.save_pretrained(folder)
    for file in tiny_bert.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def options_of(folder: Path, save_dir: Path) -> tuple[object, ...]:
    saving = ("--save-dir", save_dir, "--no-epoch-checkpoints", "--disable-validation")
    return (*TEACHER, "--bert-model", folder, *saving, "--max-update", 10)


@pytest.mark.parametrize("name", NAMES)
def test_trains_dumps_and_says_what_transformers_says(
    name: str, tmp_path: Path, data_bin: Path, tiny_bert: Path
) -> None:
    folder = write_model(name, tmp_path / "model", tiny_bert)
    output = run_command(train_command(data_bin, *options_of(folder, tmp_path))).stdout
    assert len(logged(output)) == 10
    shutil.rmtree(folder)  # the checkpoint has to do
    checkpoint, topk = tmp_path / "checkpoint_last.pt", tmp_path / "topk"
    dump = ("--path", checkpoint, "--destdir", topk, "--topk", 4, "--gen-subset", "valid")
    run_command([*DUMP, data_bin, *dump])

    teacher, task = load_checkpoint(str(checkpoint), str(data_bin))
    teacher.eval()
    stock = stock_model(teacher)
    pairs, store = task.load_pairs(str(data_bin), "valid"), TopKStore.open(topk)
    for sentence in (0, 13, 59):
        for positions, logits, wanted in asked(name, teacher, stock, pairs[sentence]):
            torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-5)
            ids, logprobs = store.sentence(sentence)
            rows = top_rows(wanted, 4, pairs[sentence]["target"][positions])
            np.testing.assert_array_equal(ids[positions], rows.ids)
            np.testing.assert_allclose(logprobs[positions], rows.logprobs, atol=2e-3)


def asked(
    name: str, teacher: Any, stock: Any, pair: dict[str, torch.Tensor]
) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
    """Ask about each masked copy of a pair: its positions in the target, our logits and transformers' own."""
    source, target = pair["source"], pair["target"]
    tokens = torch.cat([torch.tensor([0]), source, target])[None]
    types = torch.cat([torch.zeros(1 + len(source)), torch.ones(len(target))]).long()[None]
    for first in range(min(7, len(target))):
        positions = np.arange(first, len(target), 7)
        masked = torch.zeros_like(tokens, dtype=torch.bool)
        masked[0, 1 + len(source) + positions] = True
        rows = teacher.symbol_rows[tokens].masked_fill(masked, teacher.mask_row)
        with torch.no_grad():
            logits = teacher(tokens, types, masked)
        attended = torch.ones_like(tokens)
        whole = hugging_face_logits(FAMILIES[name], stock, rows, types, attended)[masked]
        yield positions, logits, whole.masked_fill(teacher.never_predicted, float("-inf"))


@pytest.mark.parametrize("name", ["deberta", "modernbert"])
def test_trains_and_dumps_in_half_precision(
    name: str, tmp_path: Path, data_bin: Path, tiny_bert: Path
) -> None:
    folder = write_model(name, tmp_path / "model", tiny_bert)
    options = (*options_of(folder, tmp_path), "--precision", "bf16")
    output = run_command(train_command(data_bin, *options)).stdout
    losses = [line["loss"] for line in logged(output)]
    assert losses[-1] < losses[0]
    topk = tmp_path / "topk"
    dump = ("--path", tmp_path / "checkpoint_last.pt", "--destdir", topk, "--gen-subset", "valid")
    run_command([*DUMP, data_bin, *dump, "--precision", "bf16", "--topk", 4])
    assert TopKStore.open(topk).verify() == []


def test_two_processes_train_as_one(tmp_path: Path, data_bin: Path, tiny_bert: Path) -> None:
    folder = write_model("deberta-v2", tmp_path / "model", tiny_bert)
    options = (*options_of(folder, tmp_path / "save"), "--dropout", 0, "--max-update", 3)
    one = run_command(train_command(data_bin, *options, "--no-save", "--update-freq", 2)).stdout
    two = run_command(torchrun(2, train_command(data_bin, *options, "--no-save"))).stdout
    assert [line["loss"] for line in logged(two)] == pytest.approx(
        [line["loss"] for line in logged(one)], abs=2e-3
    )


def test_rates_and_frozen_embeddings(tmp_path: Path, data_bin: Path, tiny_bert: Path) -> None:
    """Frozen weights stay, a layer far down hardly moves, and training continues with the same groups only."""
    folder = write_model("distilbert", tmp_path / "model", tiny_bert)
    rates = ("--freeze-embeddings", "--layer-decay", 0.01, "--head-lr-scale", 2)
    options = options_of(folder, tmp_path)
    run_command(train_command(data_bin, *options, *rates, "--max-update", 1))
    shutil.copy(tmp_path / "checkpoint_last.pt", tmp_path / "first.pt")
    run_command(train_command(data_bin, *options, *rates, "--max-update", 3))
    before, after = (
        load_checkpoint(str(tmp_path / name), str(data_bin))[0].state_dict()
        for name in ("first.pt", "checkpoint_last.pt")
    )
    moved = {
        name: float((after[name].float() - before[name].float()).abs().max()) for name in before
    }
    frozen = {name: change for name, change in moved.items() if "embeddings" in name}
    assert len(frozen) == 4 and not any(frozen.values())
    first, last = (moved[f"body.transformer.layer.{layer}.ffn.lin1.weight"] for layer in range(2))
    head = moved["output_projection.weight"]
    assert first == pytest.approx(last / 100, rel=0.5)
    assert last == pytest.approx(head / 200, rel=0.5)
    done = run_command(train_command(data_bin, *options, "--max-update", 5), check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: `grouping of parameters` must be the one with which this training began, but is another instead. "
        "Give --layer-decay, --rows-lr-scale, --head-lr-scale and --freeze-embeddings as then, or --reset-optimizer."
    )
