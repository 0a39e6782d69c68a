"""What ``bertkd prepare`` prints about a text that it made little of."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertkd_fairseq.text.cleaning import CleaningRules
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.facts import DataBinFacts, DictionaryFacts, SplitFacts
from bertkd_fairseq.text.prepare import Prepared
from bertkd_fairseq.text.prepare_report import format_report


def report_on(read: int, dropped: dict[str, int]) -> list[str]:
    """Return the lines about a training split of which these pairs were dropped."""
    none = {"ja": 0, "en": 0}
    train = SplitFacts(read, read - sum(dropped.values()), dropped, none, none, 9, 0)
    facts = DataBinFacts(
        format=1,
        source_lang="ja",
        target_lang="en",
        lowercase=False,
        normalize_punctuation=True,
        cleaning=CleaningRules(),
        tokenized=True,
        subword="bpe",
        tokenizer=None,
        inputs=[],
        splits={"train": train},
        dictionary=DictionaryFacts(10, {}),
        versions={},
    )
    return format_report(
        Prepared(DataBin(Path("data-bin"), {}), facts, {}), Path("data-bin")
    ).splitlines()


def test_many_dropped_pairs_have_a_note_that_names_the_options() -> None:
    note = "train: 839 of 2,000 pairs were dropped; to keep more of them, change --max-length, --max-ratio"
    assert note in report_on(2000, {"ratio": 838, "too_long": 1})


@pytest.mark.parametrize(
    "dropped",
    [
        {},
        {"ratio": 199},  # less than a tenth
        {"empty": 500},  # no option keeps these
    ],
)
def test_few_dropped_pairs_have_no_note(dropped: dict[str, int]) -> None:
    assert not [line for line in report_on(2000, dropped) if "were dropped" in line]
