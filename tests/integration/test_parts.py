"""Training data of several parts, each with a store of its own, against the same pairs as one corpus."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from fairseq.data.indexed_dataset import MMapIndexedDataset, MMapIndexedDatasetBuilder

from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.joined import JoinedStores
from tests.conftest import run_command
from tests.integration.conftest import DISTILL, DUMP, STUDENT, logged, train_command

CUTS = {"train": slice(0, 350), "train1": slice(350, 600)}
UPDATES = ("--max-update", 8, "--disable-validation", "--no-save")
# More than one batch of each length, so that batches are of the same pairs only if their order is the same.
BATCHES = ("--max-tokens", 400, "--dropout", 0.1)


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq makes ./checkpoints even with --no-save."""
    monkeypatch.chdir(tmp_path_factory.mktemp("scratch"))


def cut(source: Path, dest: Path, parts: dict[str, slice]) -> None:
    """Write parts of the training split of ``source`` to ``dest``, a copy of it without one, under their names."""
    shutil.copytree(source, dest, ignore=shutil.ignore_patterns("train.*"))
    for lang in ("src", "tgt"):
        whole = MMapIndexedDataset(str(source / f"train.src-tgt.{lang}"))
        for name, where in parts.items():
            prefix = str(dest / f"{name}.src-tgt.{lang}")
            builder = MMapIndexedDatasetBuilder(f"{prefix}.bin", dtype=whole._index.dtype)
            for index in range(len(whole))[where]:
                builder.add_item(whole[index])
            builder.finalize(f"{prefix}.idx")


@pytest.fixture(scope="module")
def in_parts(
    tmp_path_factory: pytest.TempPathFactory, data_bin: Path, teacher: Path
) -> tuple[Path, list[Path]]:
    """The corpus as train and train1, and the store of each."""
    folder = tmp_path_factory.mktemp("parts")
    cut(data_bin, folder / "data-bin", CUTS)
    stores = [folder / f"topk.{name}" for name in CUTS]
    for name, store in zip(CUTS, stores, strict=True):
        dump = [*DUMP, folder / "data-bin", "--path", teacher, "--destdir", store, "--topk", 4]
        run_command([*dump, "--gen-subset", name])
    return folder / "data-bin", stores


def trained(data: Path | str, stores: list[Path], *options: object) -> list[dict[str, float]]:
    topk = ("--teacher-topk", ":".join(map(str, stores)))
    command = train_command(data, *STUDENT, *DISTILL, *topk, *BATCHES, *UPDATES, *options)
    return logged(run_command(command).stdout)


@pytest.fixture(scope="module")
def wanted(data_bin: Path, topk: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What a student logs on the corpus as one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("scratch"))
        return trained(data_bin, [topk])


def test_rows_of_the_parts_are_those_of_the_whole(
    in_parts: tuple[Path, list[Path]], topk: Path
) -> None:
    """But for rounding: a dump of fewer sentences has other batches."""
    stores = [TopKStore.open(store) for store in in_parts[1]]
    assert [(len(store), store.meta["split"]) for store in stores] == [
        (350, "train"),
        (250, "train1"),
    ]
    every = np.arange(600)
    rows = JoinedStores(stores, [1, 1], 4).sentences(every)
    whole = TopKStore.open(topk).sentences(every)
    assert (rows.ids == whole.ids).mean() > 0.999
    np.testing.assert_allclose(rows.logprobs, whole.logprobs, atol=1e-2)


@pytest.mark.parametrize("options", [(), ("--train-subset", "train,train1"), ("--num-workers", 2)])
def test_a_student_learns_as_from_one_corpus(
    in_parts: tuple[Path, list[Path]], wanted: list[dict], options: tuple[object, ...]
) -> None:
    lines = trained(*in_parts, *options)
    assert len(lines) == len(wanted) == 8
    for line, one in zip(lines, wanted, strict=True):
        assert (line["wpb"], line["bsz"]) == (one["wpb"], one["bsz"])
        for key in ("loss", "kd_loss", "gnorm", "teacher_mass"):
            assert line[key] == pytest.approx(one[key], abs=2e-3, rel=1e-4), key


def test_updates_tell_which_store_is_whose(
    in_parts: tuple[Path, list[Path]], wanted: list[dict], tmp_path: Path
) -> None:
    """So that the test above could fail: the parts in the other order are the same pairs in another one."""
    data, stores = in_parts
    lines = trained(data, stores[::-1], "--train-subset", "train1,train")
    assert lines[0]["kd_loss"] != pytest.approx(wanted[0]["kd_loss"], abs=2e-3, rel=1e-4)


def test_a_part_may_come_several_times(in_parts: tuple[Path, list[Path]]) -> None:
    options = ("--upsample-primary", 2, "--max-update", 0, "--max-epoch", 1)
    lines = trained(*in_parts, *options, "--max-tokens", 4000)
    tokens = [TopKStore.open(store).meta["num_tokens"] for store in in_parts[1]]
    assert sum(line["wpb"] for line in lines) == 2 * tokens[0] + tokens[1]


def test_folders_of_several_parts_each(
    in_parts: tuple[Path, list[Path]], data_bin: Path, topk: Path
) -> None:
    """An epoch a folder: the first has two parts, the second is one."""
    data, stores = in_parts
    options = ("--max-update", 0, "--max-epoch", 2, "--max-tokens", 4000)
    sizes = [line["wpb"] for line in trained(f"{data}:{data_bin}", [*stores, topk], *options)]
    assert sum(sizes) == 2 * TopKStore.open(topk).meta["num_tokens"]


def test_stores_of_all_parts_and_folders_are_checked_before_the_first_update(
    in_parts: tuple[Path, list[Path]], data_bin: Path, topk: Path
) -> None:
    def refused(folders: list[Path], stores: list[Path]) -> str:
        data, topks = (":".join(map(str, paths)) for paths in (folders, stores))
        command = train_command(data, *STUDENT, *DISTILL, *UPDATES, "--teacher-topk", topks)
        done = run_command(command, check=False)
        assert done.returncode == 2 and not logged(done.stdout)
        return done.stderr[done.stderr.index("error:") :]

    data, stores = in_parts
    hint = (
        "Use the data-bin that the store was dumped for, or dump this one with `bertkd dump-topk`."
    )
    assert refused([data], stores[::-1]) == (
        "error: 2 problems:\n"
        f"  1. `split of {stores[1]}` must be train, but is train1 instead. {hint}\n"
        f"  2. `split of {stores[0]}` must be train1, but is train instead. {hint}\n"
    )
    assert refused([data_bin, data], [topk, stores[0], stores[0]]) == (
        f"error: `split of {stores[0]}` must be train1, but is train instead. {hint}\n"
    )
    assert refused([data_bin, data], [topk, stores[0]]) == (
        "error: `--teacher-topk` must be one store for each of "
        f"{data_bin}/train, {data}/train, {data}/train1, in this order, separated by colons, "
        "but is 2 stores instead. `bertkd dump-topk DATA_BIN --gen-subset SPLIT` makes one.\n"
    )
