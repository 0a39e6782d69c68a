"""The Gigaword recipe on the miniature pair: long inputs are cut, and valid and test are parts of one text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertkd_fairseq.text.lines import read_lines
from tests.conftest import run_command
from tests.integration.recipe import (
    DECODE_ONCE,
    EXAMPLES,
    environment,
    mini,
    program,
    run_script,
    settings_of,
)

RECIPE = "gigaword"
WORDS, HELD_OUT = 9, 20


@pytest.fixture(scope="module")
def run_all(
    tmp_path_factory: pytest.TempPathFactory, miniature_corpus: Path, tiny_bert: Path
) -> tuple[Path, str]:
    """The folder of results, and what the scripts said; other tests hold the scores to ROUGE's own package."""
    folder = tmp_path_factory.mktemp(RECIPE)
    program(folder, "fairseq-generate", DECODE_ONCE)
    given = {**mini(miniature_corpus, tiny_bert), "HELD_OUT": HELD_OUT, "ARTICLE_WORDS": WORDS}
    env = environment(folder, **given)
    return folder / "work", run_script(RECIPE, "run_all.sh", env).stdout


def test_every_stage_runs_to_the_scores(run_all: tuple[Path, str]) -> None:
    work, said = run_all
    assert f"There are {HELD_OUT} sentences. The paired bootstrap" in said
    assert said.endswith(f"\n\nreport: {work / 'compare.html'}\ncurves: {work / 'curves.png'}\n")
    scores = json.loads((work / "scores.json").read_text("utf-8"))
    assert list(scores["scores"]) == ["plain", "distilled"]


def test_long_inputs_are_cut_and_counted(run_all: tuple[Path, str], miniature_corpus: Path) -> None:
    work, said = run_all
    before = [line.split() for line in read_lines(miniature_corpus / "train.src")]
    assert [line.split() for line in read_lines(work / "text" / "train.src")] == [
        words[:WORDS] for words in before
    ]
    long = sum(len(words) > WORDS for words in before)
    assert 0 < long < 600
    assert f"\ntrain: 600 pairs, {long} srcs cut to {WORDS} words\n" in said
    assert read_lines(work / "text" / "train.tgt") == read_lines(miniature_corpus / "train.tgt")


def test_valid_and_test_are_different_pairs_of_the_original_valid(
    run_all: tuple[Path, str], miniature_corpus: Path
) -> None:
    original = read_lines(miniature_corpus / "valid.tgt")
    valid, test = (read_lines(run_all[0] / "text" / f"{x}.tgt") for x in ("valid", "test"))
    assert (valid, test) == (original[0:60:3], original[1:60:3])


def test_what_is_held_out_leaves_room_for_two_parts(tmp_path: Path, miniature_corpus: Path) -> None:
    command = ["python3", EXAMPLES / RECIPE / "split_text.py", miniature_corpus, tmp_path, "src"]
    done = run_command([*command, "tgt", 31, WORDS], check=False, env=environment(tmp_path))
    assert done.returncode == 1
    assert done.stderr.endswith(
        "error: `HELD_OUT` must be from 1 to half of the 60 validation pairs, but is 31 instead.\n"
    )
    assert not list(tmp_path.glob("*.src"))


def test_settings_are_the_papers(tmp_path: Path) -> None:
    names = "TEACHER_MAX_TOKENS TEACHER_UPDATE_FREQ PLAIN_MAX_TOKENS PLAIN_UPDATE_FREQ KD_MAX_TOKENS KD_UPDATE_FREQ"
    sizes = [int(size) for size in settings_of(RECIPE, names, tmp_path).values()]
    assert [size * passes for size, passes in zip(sizes[::2], sizes[1::2], strict=True)] == [
        *(65_536, 40_000, 36_000)
    ]
    assert settings_of(RECIPE, "COMPARE_EXTRA KD_ALPHA KD_TEMPERATURE", tmp_path) == {
        **{"COMPARE_EXTRA": "--metric rouge", "KD_ALPHA": "0.1", "KD_TEMPERATURE": "10"}
    }
