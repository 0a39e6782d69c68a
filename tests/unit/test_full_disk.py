"""A disk that is full ends every command that writes in one message, exit code 2, and nothing half-written."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from bertkd_fairseq import cli
from bertkd_fairseq.errors import OutputError
from tests.iwslt14_archive import write_archive
from tests.unit.topk_store.test_store import make_writer

DATA = Path(__file__).parents[1] / "data"


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 1,000 bytes: to a writer that is a full disk, root or not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def average(folder: Path) -> list[str]:
    for name in ("a.pt", "b.pt"):
        torch.save({"model": {"w": torch.ones(1000)}}, folder / name)
    return ["average", "--inputs", "a.pt", "b.pt", "--output"]


def curves(folder: Path) -> list[str]:
    return ["curves", str(DATA / "curves" / "plain.log"), "--csv", os.devnull, "--output"]


def table(folder: Path) -> list[str]:
    return ["curves", str(DATA / "curves" / "plain.log"), "--output", "x.png", "--csv"]


def compare(folder: Path, option: str = "--json") -> list[str]:
    data = DATA / "compare"
    systems = ["--system", f"a={data}/plain.1.txt", "--system", f"b={data}/kd.2.txt"]
    short = ["--resamples", "9", "--trials", "9"]
    return ["compare", "--reference", f"{data}/ref.en", *systems, *short, option]


def page(folder: Path) -> list[str]:
    return compare(folder, "--html")


def iwslt14(folder: Path) -> list[str]:
    pairs = write_archive(folder / "de-en.tgz", num_train=200, num_test=7)
    numbers = ["--pairs", *map(str, pairs), "--workers", "1"]
    return ["iwslt14", "--archive", "de-en.tgz", *numbers, "--destdir"]


@pytest.mark.parametrize("command", [average, table, compare, page, iwslt14])
def test_every_command_that_writes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[Path], list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = command(tmp_path)
    before = sorted(tmp_path.iterdir())
    with full_disk():
        assert cli.main([*argv, "new.png"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].replace(f"{tmp_path}/", "") == (
        "error: `new.png` can't be written: File too large. Make room there, or choose another place."
    )
    assert sorted(tmp_path.iterdir()) == before


def test_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertkd_fairseq.analysis.figures import save_png

    class Figure:
        def savefig(self, path: Path, **how: object) -> None:
            path.write_bytes(b"x" * 2000)

    with full_disk(), pytest.raises(OutputError, match=r"x\.png` can't be written: File too large"):
        save_png(Figure(), tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sizes", [np.full(9, 200), np.full(900, 1)])
def test_a_store(tmp_path: Path, sizes: np.ndarray) -> None:
    """Neither the rows' arrays nor the index has room; what is mapped before it has room kills Python."""
    with full_disk(), pytest.raises(OutputError) as error:
        make_writer(tmp_path / "topk", sizes)
    assert str(error.value) == (
        f"`{tmp_path}/topk.partial` can't be written: {os.strerror(errno.EFBIG)}. "
        "Make room there, or choose another place."
    )
    assert list(tmp_path.iterdir()) == []
