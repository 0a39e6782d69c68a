"""Stage 1 and 2 through the real commands: train, resume, several processes, dump."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.rows import TopKRows
from tests.conftest import command_environment, run_command
from tests.integration.conftest import (
    DISTILL,
    DUMP,
    EXACT,
    STUDENT,
    TEACHER,
    TEACHER_UPDATES,
    logged,
    torchrun,
    train_command,
)


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq makes ./checkpoints even with --no-save."""
    monkeypatch.chdir(tmp_path_factory.mktemp("scratch"))


def start_command(argv: Sequence[object]) -> subprocess.Popen[bytes]:
    command = [str(part) for part in argv]
    return subprocess.Popen(command, env=command_environment(), stderr=subprocess.DEVNULL)


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    from bertkd_fairseq import compat

    compat.apply()
    return torch.load(checkpoint, map_location="cpu")["model"]


def test_teacher_learns_and_logs_masked_accuracy(
    tmp_path: Path, data_bin: Path, tiny_bert: Path
) -> None:
    options = ("--bert-model", tiny_bert, "--max-update", 30, "--save-dir", tmp_path)
    output = run_command(train_command(data_bin, *TEACHER, *options)).stdout
    valid = logged(output, "valid")
    assert valid[-1]["valid_loss"] < valid[0]["valid_loss"]
    assert 0 <= valid[-1]["valid_masked_accuracy"] <= 100
    assert valid[-1]["valid_ppl"] == pytest.approx(2 ** valid[-1]["valid_loss"], rel=1e-2)


def test_resume_in_mid_epoch_equals_an_uninterrupted_run(
    tmp_path: Path, data_bin: Path, tiny_bert: Path
) -> None:
    """In the second epoch, so that masks and batches of an epoch count too; with a data-loader worker."""

    def train(save_dir: Path, max_update: int) -> str:
        options = ("--bert-model", tiny_bert, "--save-dir", save_dir, "--max-update", max_update)
        saving = ("--save-interval-updates", 22, "--disable-validation", "--no-epoch-checkpoints")
        return run_command(train_command(data_bin, *TEACHER, *options, *saving)).stdout

    log = logged(train(tmp_path / "whole", 26))
    assert log[21]["epoch"] == 2 < log[21]["update"] + 1
    train(tmp_path / "parts", 22)
    train(tmp_path / "parts", 26)
    whole, parts = (weights(tmp_path / name / "checkpoint_last.pt") for name in ("whole", "parts"))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=0)


def test_every_epoch_has_its_own_masks_with_any_number_of_workers(
    tmp_path: Path, data_bin: Path, tiny_bert: Path
) -> None:
    """Workers that outlive an epoch would go on with its masks: seen as losses that differ from none."""
    options = (
        *TEACHER,
        "--bert-model",
        tiny_bert,
        "--max-epoch",
        2,
        "--no-save",
        "--disable-validation",
    )
    logs = [
        logged(run_command(train_command(data_bin, *options, "--num-workers", n)).stdout)
        for n in (0, 1)
    ]
    assert logs[0][-1]["epoch"] == 2
    keys = ("loss", "masked_accuracy", "num_updates")
    assert [[line[k] for k in keys] for line in logs[0]] == [
        [line[k] for k in keys] for line in logs[1]
    ]


def test_two_processes_see_the_same_masks_as_one(
    tmp_path: Path, data_bin: Path, tiny_bert: Path
) -> None:
    """One process with --update-freq 2 equals two processes: masks belong to sentences, not to workers."""
    options = (*TEACHER, "--bert-model", tiny_bert, "--dropout", 0, "--max-update", 4)
    one = run_command(
        train_command(data_bin, *options, "--update-freq", 2, "--save-dir", tmp_path / "one")
    ).stdout
    command = train_command(data_bin, *options, "--save-dir", tmp_path / "two")
    two = run_command(torchrun(2, command)).stdout
    for first, second in zip(logged(one), logged(two), strict=True):
        for key in ("loss", "masked_accuracy", "gnorm"):
            assert second[key] == pytest.approx(first[key], abs=2e-3), key
    assert logged(two, "valid")[-1]["valid_loss"] == logged(one, "valid")[-1]["valid_loss"]


def test_the_checkpoint_loads_without_the_pretrained_folder(
    tmp_path: Path, data_bin: Path, tiny_bert: Path, topk: Path
) -> None:
    """Trained from a relative path that is gone, dumped in another folder: the same store."""
    shutil.copytree(tiny_bert, tmp_path / "bert")
    options = (
        "--bert-model",
        "bert",
        "--max-update",
        TEACHER_UPDATES,
        "--save-dir",
        tmp_path / "teacher",
    )
    run_command(train_command(data_bin, *TEACHER, *options), cwd=tmp_path)
    shutil.rmtree(tmp_path / "bert")
    moved = tmp_path / "moved"
    shutil.copytree(data_bin, moved)
    checkpoint = tmp_path / "teacher" / "checkpoint_best.pt"
    command = [
        *DUMP,
        moved,
        "--path",
        checkpoint,
        "--destdir",
        tmp_path / "topk",
        "--topk",
        4,
    ]
    run_command(command, cwd="/")
    for name in ("ids.npy", "logprobs.npy", "log_tail.npy", "gold_logprob.npy", "offsets.npy"):
        assert (tmp_path / "topk" / name).read_bytes() == (topk / name).read_bytes(), name


def all_rows(store: TopKStore) -> TopKRows:
    return store.sentences(np.arange(len(store)))


def test_dump_is_aligned_with_the_data_bin(data_bin: Path, topk: Path) -> None:
    from fairseq.data import Dictionary, data_utils

    dictionary = Dictionary.load(str(data_bin / "dict.tgt.txt"))
    targets = data_utils.load_indexed_dataset(str(data_bin / "train.src-tgt.tgt"), dictionary)
    store = TopKStore.open(topk)
    assert len(store) == len(targets)
    np.testing.assert_array_equal(store.sizes, targets.sizes)
    assert store.k == 4
    assert store.verify() == []
    never = [dictionary.bos(), dictionary.pad()]
    rows = all_rows(store)
    assert not np.isin(rows.ids, never).any()
    assert (np.diff(rows.logprobs.astype(np.float32), axis=1) <= 0).all()
    mass = np.exp(rows.logprobs.astype(np.float64)).sum(1) + np.exp(
        rows.log_tail.astype(np.float64)
    )
    np.testing.assert_allclose(mass, 1, atol=4e-3)  # five float16 logarithms
    gold = np.concatenate([targets[index].numpy() for index in range(len(targets))])
    hits = rows.ids == gold[:, None]
    np.testing.assert_array_equal(rows.gold_logprob[hits.any(1)], rows.logprobs[hits])
    assert (rows.gold_logprob <= rows.logprobs[:, -1])[~hits.any(1)].all()
    assert 0 < hits.any(1).sum() < len(gold)


def test_rows_are_what_the_teacher_says_of_each_token(
    data_bin: Path, teacher: Path, topk: Path
) -> None:
    """Some sentences asked again by hand: one pair at a time, straight from the definition."""
    from bertkd_fairseq.tasks.checkpoint import load_checkpoint

    model, task = load_checkpoint(str(teacher), str(data_bin))
    model.eval()
    pairs = task.load_pairs(str(data_bin), "train")
    store = TopKStore.open(topk)
    for index in (0, 17, 599):
        source, target = pairs.src[index], pairs.tgt[index]
        tokens = torch.cat([torch.tensor([0]), source, target])[None]
        types = torch.cat([torch.zeros(1 + len(source)), torch.ones(len(target))]).long()[None]
        ids, logprobs = store.sentence(index)
        for position in range(len(target)):
            together = range(position % 7, len(target), 7)
            masked = torch.zeros_like(tokens, dtype=torch.bool)
            masked[0, [1 + len(source) + p for p in together]] = True
            with torch.no_grad():
                logits = model(tokens, types, masked)[list(together).index(position)]
            wanted = logits.double().log_softmax(0)
            np.testing.assert_allclose(
                logprobs[position], wanted[ids[position].astype(int)], rtol=2e-3
            )
            np.testing.assert_allclose(wanted.topk(4).values, logprobs[position], rtol=2e-3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data_bin: Path, teacher: Path) -> Path:
    """The store of an uninterrupted dump by one process, in 24 blocks."""
    dest = tmp_path_factory.mktemp("whole") / "topk"
    command = [*DUMP, data_bin, "--path", teacher, "--destdir", dest]
    run_command([*command, "--topk", 4, "--block-size", 25])
    return dest


def test_a_killed_dump_continues_to_the_same_store(
    tmp_path: Path, data_bin: Path, teacher: Path, whole: Path
) -> None:
    dump = [*DUMP, data_bin, "--path", teacher, "--topk", 4, "--block-size", 25]
    partial = tmp_path / "topk.partial"
    (tmp_path / "topk").mkdir()  # an empty folder is as good as none
    with start_command([*dump, "--destdir", tmp_path / "topk"]) as process:
        while process.poll() is None and not list(partial.glob("work-*/blocks/??????")):
            time.sleep(0.005)
        process.kill()
    assert list((tmp_path / "topk").iterdir()) == []
    done = run_command([*dump, "--destdir", tmp_path / "topk"])
    assert re.search(r"continuing .*topk\.partial: \d+ of 24 blocks are missing", done.stderr)
    for file in whole.iterdir():
        assert (tmp_path / "topk" / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("shards", [2, 3])
def test_any_number_of_processes_dumps_the_same_bytes(
    tmp_path: Path, data_bin: Path, teacher: Path, whole: Path, shards: int
) -> None:
    """Under torchrun with two blocks in hand each, and as independent jobs."""
    dest = tmp_path / "topk"
    options = [data_bin, "--path", teacher, "--destdir", dest, "--topk", 4, "--block-size", 25]
    if shards == 2:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        module = ["--nproc-per-node", 2, "-m", "bertkd_fairseq.cli", "dump-topk", *EXACT]
        run_command([*launcher, *module, *options, "--blocks-at-once", 2])
    else:
        dump = [*DUMP, *options, "--num-shards", 3, "--shard-id"]
        for process in [start_command([*dump, shard]) for shard in range(3)]:
            assert process.wait() == 0
    for file in whole.iterdir():
        assert (dest / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_dry_run_estimates_and_writes_nothing(
    tmp_path: Path, data_bin: Path, teacher: Path
) -> None:
    dest = tmp_path / "topk"
    command = [*DUMP, data_bin, "--path", teacher, "--destdir", dest, "--dry-run"]
    output = run_command(command).stdout
    values = dict(line.split() for line in output.splitlines())
    assert int(values["bytes"]) == int(values["tokens"]) * 36 + 12 * int(values["sentences"])
    assert float(values["tokens_per_second"]) > 0
    assert not list(tmp_path.iterdir())


def test_pairs_too_long_for_the_teacher(tmp_path: Path, data_bin: Path, tiny_bert: Path) -> None:
    """At 24 positions most sources are cut, or have no teacher, or stop the dump; students train all the same."""
    options = ("--bert-model", tiny_bert, "--max-update", 2, "--max-positions", 24)
    options += ("--skip-invalid-size-inputs-valid-test",)
    run_command(train_command(data_bin, *TEACHER, *options, "--save-dir", tmp_path))
    checkpoint = tmp_path / "checkpoint_last.pt"
    dump = [*DUMP, data_bin, "--path", checkpoint, "--topk", 4, "--on-too-long"]
    run_command([*dump, "truncate-source", "--destdir", tmp_path / "cut"])
    run_command([*dump, "no-teacher", "--destdir", tmp_path / "none"])
    cut, none = (TopKStore.open(tmp_path / name) for name in ("cut", "none"))
    counts = cut.meta["too_long"]
    assert counts["source_cut"] > 0
    assert counts["source_cut"] + counts["no_teacher"] == none.meta["too_long"]["no_teacher"]
    cut_logprobs, none_logprobs = all_rows(cut).logprobs, all_rows(none).logprobs
    silent = np.isneginf(none_logprobs).all(1)
    still_silent = np.isneginf(cut_logprobs).all(1)
    assert still_silent.sum() < silent.sum()
    assert not (still_silent & ~silent).any()
    np.testing.assert_allclose(cut_logprobs[~silent], none_logprobs[~silent], rtol=2e-3)
    done = run_command([*dump, "error", "--destdir", tmp_path / "error"], check=False)
    assert done.returncode == 2
    count = none.meta["too_long"]["no_teacher"]
    first = int(np.flatnonzero(np.add.reduceat(silent, none.offsets[:-1]))[0])
    assert done.stderr.splitlines()[-1] == (
        f"error: {count} pairs are longer than the teacher's 24 positions. The first is sentence {first} "
        "of train. Choose another --on-too-long."
    )
    student = (
        *STUDENT,
        *DISTILL,
        "--teacher-topk",
        tmp_path / "none",
        "--max-update",
        1,
        "--no-save",
    )
    assert logged(run_command(train_command(data_bin, *student)).stdout)


def test_precision_bf16_changes_little(
    tmp_path: Path, data_bin: Path, teacher: Path, topk: Path
) -> None:
    command = [
        *DUMP,
        data_bin,
        "--path",
        teacher,
        "--destdir",
        tmp_path / "topk",
        "--topk",
        4,
    ]
    run_command([*command, "--precision", "bf16"])
    exact, rounded = TopKStore.open(topk), TopKStore.open(tmp_path / "topk")
    assert rounded.meta["precision"] == "bf16"
    first, second = (all_rows(store).logprobs[:, 0].astype(float) for store in (exact, rounded))
    assert np.abs(first - second).mean() < 0.05


def test_the_same_dump_once_more_finds_nothing_to_do(
    tmp_path: Path, data_bin: Path, teacher: Path, topk: Path
) -> None:
    command = [*DUMP, data_bin, "--path", teacher, "--destdir", topk, "--topk"]
    before = (topk / "SHA256SUMS").stat().st_mtime_ns
    output = run_command([*command, 4]).stdout
    assert output.startswith("signature ")
    assert (topk / "SHA256SUMS").stat().st_mtime_ns == before
    other = run_command([*command, 3], check=False)
    assert other.returncode == 2
    assert f"error: {topk} was made with other settings (" in other.stderr
