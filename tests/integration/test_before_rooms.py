"""A data-bin, a store and checkpoints from before the package's modules moved still work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bertkd_fairseq import __version__
from bertkd_fairseq.installed import versions
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.layout import ARRAYS_OF_FORMAT
from tests.conftest import BERTKD, CHECKOUT, USER_DIR, fairseq_command, run_command
from tests.integration.conftest import DISTILL, DUMP, STUDENT, train_command

BEFORE = CHECKOUT / "tests" / "data" / "before_rooms"


def test_data_bin_opens() -> None:
    data_bin = DataBin.open(BEFORE / "data-bin")
    assert (data_bin.source_lang, data_bin.target_lang) == ("src", "tgt")
    assert data_bin.checked_tokenizer().is_file()


def test_store_is_whole() -> None:
    store = TopKStore.open(BEFORE / "topk")
    assert store.verify() == []
    assert (store.k, len(store), store.version) == (4, 40, 1)


def test_store_is_inspected(tmp_path: Path) -> None:
    """Without what only format 2 knows."""
    command = [*BERTKD, "inspect", BEFORE / "topk", "--data-bin", BEFORE / "data-bin"]
    output = run_command([*command, "--json", tmp_path / "topk.json"]).stdout
    assert "rank          tokens   share\n" in output and "perplexity" not in output
    statistics = json.loads((tmp_path / "topk.json").read_text())["statistics"]
    assert (statistics["gold_perplexity"], statistics["gold_rank_bits"]) == (None, None)


def test_teacher_gives_the_same_rows(tmp_path: Path) -> None:
    dest = tmp_path / "topk"
    teacher = BEFORE / "teacher.pt"
    run_command([*DUMP, BEFORE / "data-bin", "--path", teacher, "--destdir", dest, "--topk", 4])
    for name in ARRAYS_OF_FORMAT[1]:
        before, now = (np.load(folder / f"{name}.npy") for folder in (BEFORE / "topk", dest))
        if name == "ids":
            np.testing.assert_array_equal(now, before)
        else:  # the last bit of float16 may differ between machines
            np.testing.assert_allclose(now, before, rtol=2e-3)
    before, now = (
        json.loads((folder / "meta.json").read_text("utf-8")) for folder in (BEFORE / "topk", dest)
    )
    changing = {"versions", "block_checksums", "signature"}
    changing |= {"format_version", "dtypes", "bytes_per_token"}
    assert {key: now[key] for key in now.keys() - changing} == {
        key: before[key] for key in before.keys() - changing
    }
    packages = ("fairseq", "fairseq-fixed", "torch", "transformers", "numpy")
    assert now["versions"] == versions(*packages)  # under the names that the data-bin has, too
    assert now["signature"].split("|version:") == [
        before["signature"].split("|version:")[0].replace("fmt:1", "fmt:2"),
        __version__,
    ]


def test_what_needs_more_than_the_store_has_is_refused(tmp_path: Path) -> None:
    options = ("--teacher-topk", BEFORE / "topk", "--save-dir", tmp_path, "--max-update", 1)
    needy = ("--kd-better-only", "--kd-loss-correction", 1)
    command = train_command(BEFORE / "data-bin", *STUDENT, *DISTILL, *options, *needy)
    done = run_command(command, check=False)
    assert (done.returncode, done.stderr[done.stderr.index("error:") :]) == (
        2,
        "error: `--teacher-topk` must be a store of format 2 for --kd-better-only and --kd-loss-correction: with the "
        f"teacher's probability of every target token, but is {BEFORE / 'topk'} instead. "
        "Dump it again with `bertkd dump-topk --force`.\n",
    )


def test_student_translates_as_before(tmp_path: Path) -> None:
    options = ("--user-dir", USER_DIR, "--path", BEFORE / "student.pt", "--beam", 2)
    more = ("--max-len-b", 12, "--required-batch-size-multiple", 1, "--results-path", tmp_path)
    run_command([*fairseq_command("generate"), BEFORE / "data-bin", *options, *more])
    lines = (tmp_path / "generate-test.txt").read_text("utf-8").splitlines()
    now = {line.split("\t")[0]: line.split("\t")[1:] for line in lines if line.startswith("H-")}
    before = [line.split("\t") for line in (BEFORE / "hypotheses.txt").read_text().splitlines()]
    assert {name: text for name, (_, text) in now.items()} == {name: t for name, _, t in before}
    for name, score, _ in before:
        assert float(now[name][0]) == pytest.approx(float(score), abs=1e-4)


def test_student_trains_on_from_the_store(tmp_path: Path) -> None:
    shutil.copy(BEFORE / "student.pt", tmp_path / "checkpoint_last.pt")
    options = ("--teacher-topk", BEFORE / "topk", "--save-dir", tmp_path, "--max-update", 5)
    fresh = ("--reset-optimizer", "--reset-lr-scheduler", "--reset-dataloader", "--reset-meters")
    run_command(train_command(BEFORE / "data-bin", *STUDENT, *DISTILL, *options, *fresh))
    assert (tmp_path / "checkpoint_best.pt").is_file()
