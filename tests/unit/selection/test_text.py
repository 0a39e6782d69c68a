"""What is printed of a selection."""

from __future__ import annotations

from pathlib import Path

from bertkd_fairseq.selection.run import Counts, Mean, Selected
from bertkd_fairseq.selection.text import format_selected


def selected(counts: Counts, scores: dict[str, Mean], signature: str | None) -> Selected:
    return Selected(Path("new"), "train1", 7, counts, scores, signature, {"by": "both"}, 1.5)


def test_all_of_it() -> None:
    counts = Counts(9, 45, 1, 2, 3, 4, 7, 2, 5)
    scores = {"teacher": Mean(-1.25, -13.5), "reference": Mean(60, 7.12345)}
    assert format_selected(selected(counts, scores, "nrefs:1")) == (
        "7 hypotheses chosen from 45 for 9 sentences\n"
        "left out: 1 with special symbols, 2 too long, too short or too unequal, 3 equal to another one, "
        "4 equal to the reference\n"
        "the best isn't the student's first in 5 sentences; none is taken in 2\n"
        "\n"
        "mean score     best     first\n"
        "teacher     -1.2500  -13.5000\n"
        "reference   60.0000    7.1235\n"
        "reference: nrefs:1\n"
        "\n"
        "written: new, train1: 7 pairs"
    )


def test_what_is_not_there_is_not_named() -> None:
    lines = format_selected(selected(Counts(1, 1, chosen=1), {}, None)).split("\n")
    assert lines == [
        "1 hypotheses chosen from 1 for 1 sentences",
        "the best isn't the student's first in 0 sentences; none is taken in 0",
        "",
        "written: new, train1: 7 pairs",
    ]


def test_the_report_is_what_the_data_bin_keeps_and_the_seconds() -> None:
    assert selected(Counts(), {}, None).report() == {
        "data_bin": "new",
        "by": "both",
        "seconds": 1.5,
    }
