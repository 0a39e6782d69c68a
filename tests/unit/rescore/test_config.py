"""The settings of rescoring: what is given, what is tuned, how problems are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertkd_fairseq.dump.config import TeacherConfig
from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.rescore.config import RescoreConfig
from bertkd_fairseq.rescore.run import rescore
from bertkd_fairseq.rescore.scoring import Mix
from bertkd_fairseq.rescore.tuning import GRID
from bertkd_fairseq.settings import in_options, named


def config(folder: Path, **more: object) -> RescoreConfig:
    usual = {"nbest": "a", "data_bin": "d", "path": "t.pt", "output": str(folder / "new.out")}
    return RescoreConfig(**usual | more)


def test_what_is_given_is_not_tuned(tmp_path: Path) -> None:
    assert config(tmp_path, weight=0.5).given == Mix(0.5, 0.0, 0.0)
    assert config(tmp_path, weight=0.0, lenpen=1.0).given == Mix(0.0, 0.0, 1.0)
    assert config(tmp_path, tune_nbest="b").grid == GRID
    fixed = config(tmp_path, tune_nbest="b", weight=0.0, length_bonus=0.3).grid
    assert fixed == ((0.0,), (0.3,), GRID.lenpen)


def test_problems_are_named_as_python_names_them_and_as_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        rescore(config(tmp_path, num_masks=0, weight=float("inf"), output="a"))
    message = str(caught.value)
    assert message == (
        "3 problems:\n"
        "  1. `RescoreConfig.num_masks` must be at least 1, but is 0 instead.\n"
        "  2. `RescoreConfig.weight` must be a finite number, but is inf instead.\n"
        "  3. `RescoreConfig.output` must be another file than RescoreConfig.nbest, but is a instead."
    )
    inherited = f"{message} {named(TeacherConfig, 'path')}"
    for field, option in (("num_masks", "num-masks"), ("output", "output"), ("nbest", "nbest")):
        assert f"RescoreConfig.{field}" not in in_options(inherited, RescoreConfig)
        assert f"--{option}" in in_options(inherited, RescoreConfig)
    assert in_options(inherited, RescoreConfig).endswith(" --path")


def test_files_stand_beside_the_output(tmp_path: Path) -> None:
    made = config(tmp_path, weight=1.0)
    assert made.problems() == []
    assert made.scores_file == tmp_path / "new.out.scores.npz"
    assert made.tune_scores_file == tmp_path / "new.out.tune.scores.npz"
