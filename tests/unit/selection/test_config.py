"""What is wrong with the settings of a selection is told at once, before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertkd_fairseq.selection.choosing import Bounds
from bertkd_fairseq.selection.config import SelectConfig


def config(folder: Path, **more: object) -> SelectConfig:
    usual = {"nbest": ["a"], "data_bin": str(folder / "data-bin"), "by": "student"}
    return SelectConfig(**{**usual, "destdir": str(folder / "new"), **more})


def test_plain_settings_have_no_problems(tmp_path: Path) -> None:
    assert config(tmp_path).problems() == []
    assert config(tmp_path).bounds == Bounds(1, None, None)
    assert config(tmp_path, by="both", rescored=["b"]).problems() == []


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            {"by": "teacher"},
            "`SelectConfig.by teacher` needs `SelectConfig.rescored`. Make it with `bertkd rescore`.",
        ),
        (
            {"by": "both"},
            "`SelectConfig.by both` needs `SelectConfig.rescored`. Make it with `bertkd rescore`.",
        ),
        (
            {"nbest": ["a", "b"], "rescored": ["c"]},
            "`SelectConfig.rescored` must be 2 files, one for each of SelectConfig.nbest, but is 1 instead.",
        ),
        (
            {"nbest": ["a", "./a"]},
            "`SelectConfig.nbest` must be different files, but is a ./a instead.",
        ),
        (
            {"min_length": 5, "max_length": 4},
            "`SelectConfig.max_length` must be at least 5, but is 4 instead.",
        ),
        ({"keep": 0}, "`SelectConfig.keep` must be at least 1, but is 0 instead."),
        (
            {"max_ratio": float("nan")},
            "`SelectConfig.max_ratio` must be at least 1, but is nan instead.",
        ),
    ],
)
def test_problems(tmp_path: Path, more: dict[str, object], problem: str) -> None:
    assert config(tmp_path, **more).problems() == [problem]


def test_the_data_bin_itself_is_no_place(tmp_path: Path) -> None:
    place = str(tmp_path / "data-bin")
    assert config(tmp_path, destdir=place).problems() == [
        f"`SelectConfig.destdir` must be another folder than SelectConfig.data_bin, but is {place} instead."
    ]


def test_only_a_selection_is_replaced(tmp_path: Path) -> None:
    dest = tmp_path / "new"
    dest.mkdir()
    (dest / "bertkd.json").write_text('{"format": 1, "splits": {}}')
    assert config(tmp_path, force=True).problems() == [
        f"`SelectConfig.destdir` must be a new or empty folder, but is a folder with other files ({dest}) instead."
    ]
    (dest / "bertkd.json").write_text('{"format": 1, "splits": {}, "selection": {}}')
    assert config(tmp_path, force=True).problems() == []
    assert config(tmp_path).problems() == [
        f"`SelectConfig.destdir` holds a complete selection: {dest}. Use SelectConfig.force to replace it."
    ]
