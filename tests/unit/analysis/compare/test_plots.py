"""Plots of a comparison name every system beside its line or bars, nine of them too."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertkd_fairseq.analysis.compare import plots
from bertkd_fairseq.analysis.compare.comparison import Comparison, Texts, compare_systems
from bertkd_fairseq.analysis.compare.scoring import Trials
from bertkd_fairseq.analysis.compare.target import Target
from bertkd_fairseq.analysis.compare.translations import Run, System
from bertkd_fairseq.analysis.figures import report_look
from tests.unit.analysis.pictures import check_texts

REFERENCE = ["one two three four five", "six seven eight nine ten eleven twelve", "a b c d e f"] * 3
NAMES = [f"{i}.sentencepiece.alpha0.1.T5.seed1" for i in range(8)]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    lines = [line.replace("three", "two").replace("ten", "nine") for line in REFERENCE]
    systems = [
        System(name, [Run(Path("x"), "text", lines, lines)] * 2) for name in ["plain", *NAMES]
    ]
    texts = Texts(REFERENCE, REFERENCE, source=REFERENCE)
    return compare_systems(
        *(systems, texts), lowercase=False, trials=Trials(9, 9), target=Target("en", "13a")
    )


@pytest.mark.parametrize(
    "draw",
    [plots._draw_scores, plots._draw_lengths, plots._draw_differences, plots._draw_repetition],
)
def test_every_system_is_named_and_nothing_overlaps(
    draw: plots._Draw, comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    with report_look():
        figure = plots.figure_of(draw, comparison)
        texts = check_texts(figure, monkeypatch)
    width, height = figure.get_size_inches()
    assert width <= 4.5 and height <= 5  # inches, which a phone shows at 80 pixels each
    wanted = NAMES if draw is plots._draw_differences else ["plain", *NAMES]
    for name in wanted:
        short = name if draw is plots._draw_scores else plots._short(name)
        assert sum(text.endswith(short) for text in texts) == 1


def test_a_long_name_loses_its_middle() -> None:
    assert plots._short("wordpiece.both.alpha0.1.T5.seed1") == "wordpiece.both…a0.1.T5.seed1"
    assert plots._short("x" * 28) == "x" * 28
    assert len(plots._short("x" * 99, 60)) == 60
