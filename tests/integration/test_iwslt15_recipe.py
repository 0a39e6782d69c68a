"""The IWSLT15 English-Vietnamese recipe on the miniature pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertkd_fairseq.text.data_bin import DataBin
from tests.integration.recipe import DECODE_ONCE, environment, mini, program, run_script

RECIPE = "iwslt15_envi"


@pytest.fixture(scope="module")
def run_all(
    tmp_path_factory: pytest.TempPathFactory, miniature_corpus: Path, tiny_bert: Path
) -> tuple[Path, str]:
    """The folder of results, and what the scripts said."""
    folder = tmp_path_factory.mktemp(RECIPE)
    program(folder, "fairseq-generate", DECODE_ONCE)
    env = environment(folder, **mini(miniature_corpus, tiny_bert))
    return folder / "work", run_script(RECIPE, "run_all.sh", env).stdout


def test_every_stage_runs_to_the_scores(run_all: tuple[Path, str]) -> None:
    work, said = run_all
    assert "\ncheckpoint_best.pt, beam 4 (scores.json)\nsystem " in said
    assert "There are 61 sentences. The paired bootstrap" in said
    scores = json.loads((work / "scores.json").read_text("utf-8"))
    assert list(scores["scores"]) == ["plain", "distilled"]


def test_case_and_punctuation_are_kept(run_all: tuple[Path, str]) -> None:
    facts = DataBin.open(run_all[0] / "data-bin")
    assert not facts.lowercase
    assert facts.was_tokenized


def test_students_train_as_the_paper_says(run_all: tuple[Path, str]) -> None:
    distilled, plain = (
        (run_all[0] / f"{name}.done").read_text() for name in ("distilled", "plain")
    )
    assert "--kd-alpha 0.1 --kd-temperature 5 --lr 9.9e-4 " in distilled
    assert "--criterion label_smoothed_cross_entropy --lr 7.0e-4 " in plain
    for command in (plain, distilled):
        assert "--dropout 0.1 " in command and "--label-smoothing 0.1 " in command
