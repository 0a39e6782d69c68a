"""What rescoring prints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bertkd_fairseq.rescore.run import Rescored, SplitScores
from bertkd_fairseq.rescore.scoring import Mix
from bertkd_fairseq.rescore.text import format_rescored
from bertkd_fairseq.rescore.tuning import GRID

VALID = SplitScores("valid", "v.out", 60, 240, 40.0, 40.5, 41.256, 30, 0, 0, 0)
TEST = SplitScores("test", "t.out", 61, 244, 39.512, 39.93, None, 31, 2, 5, 0)
TUNED = Rescored(
    output=Path("new.out"),
    mix=Mix(0.5, 0.3, 0.0),
    length_only=Mix(0.0, -0.1, 1.0),
    grid=GRID,
    splits=[VALID, TEST],
    signature="nrefs:1",
    teachers={"teacher": {"arch": "bert_cmlm_teacher"}},
    tokens_per_second=123.456,
    seconds=1.5,
)


def test_text() -> None:
    assert format_rescored(TUNED).splitlines() == [
        "sacreBLEU                                         valid   test",
        "first of the list                                 40.00  39.51",
        "student alone, length bonus -0.1, lenpen 1        40.50  39.93",
        "rescored, weight 0.5, length bonus 0.3, lenpen 0  41.26      -",
        "nrefs:1",
        "",
        "valid: another hypothesis first in 30 of 60 sentences",
        "test: another hypothesis first in 31 of 61 sentences; 2 lists are too long for the teacher and are ordered "
        "without it; "
        "the source was cut for 5 of 244 hypotheses",
        "written: new.out",
    ]


def test_without_reference_there_is_no_table() -> None:
    bare = replace(TUNED, splits=[TEST], signature=None, length_only=None, grid=None)
    assert format_rescored(bare).startswith("test: another hypothesis")


def test_report() -> None:
    report = TUNED.report()
    assert report["mix"] == {"weight": 0.5, "length_bonus": 0.3, "lenpen": 0.0}
    assert report["length_only"] == {"weight": 0.0, "length_bonus": -0.1, "lenpen": 1.0}
    assert [split["rescored"] for split in report["splits"]] == [41.256, None]
    assert (report["teacher"], report["tokens_per_second"]) == (
        {"arch": "bert_cmlm_teacher"},
        123.5,
    )
