"""The words that ids write, scheme by scheme."""

from __future__ import annotations

from pathlib import Path

import pytest
from fairseq.data import Dictionary

from bertkd_fairseq.selection.likeness import Likeness
from bertkd_fairseq.selection.sentences import Side


def side(*symbols: str) -> tuple[Side, tuple[int, ...]]:
    made = Dictionary()
    ids = tuple(made.add_symbol(symbol) for symbol in symbols)
    return Side("en", Path("dict.en.txt"), made, []), ids


@pytest.mark.parametrize(
    "symbols",
    [
        ("un", "##happy", "dogs"),
        ("un@@", "happy", "dogs"),
        ("▁un", "happy", "▁dogs"),
        ("unhappy", "dogs"),
    ],
)
def test_words(symbols: tuple[str, ...]) -> None:
    found, ids = side(*symbols)
    assert found.words(ids) == "unhappy dogs"
    assert found.ids(symbols) == ids


def test_symbols_that_tell_no_words_stay() -> None:
    found, ids = side("403", "34191", "6844")
    assert found.words(ids) == "403 34191 6844"


def test_an_unknown_symbol_has_no_id() -> None:
    found, _ = side("a")
    assert found.ids(["<unk>"]) == (found.dictionary.unk(),)
    with pytest.raises(KeyError):
        found.ids(["b"])


@pytest.mark.parametrize(("metric", "name"), [("chrf", "chrF2"), ("bleu", "BLEU")])
def test_likeness(metric: str, name: str) -> None:
    """Of words, whatever subwords they are in; BLEU of one sentence isn't 0 where it has no four words."""
    import sacrebleu

    found, ids = side("un", "##happy", "dogs", "bark", "cats")
    count = {"chrf": sacrebleu.sentence_chrf, "bleu": sacrebleu.sentence_bleu}[metric]
    likeness = Likeness(metric, found, tokenized=False)
    assert likeness(ids[:3], ids[:3]) == pytest.approx(100)
    wanted = count("unhappy dogs bark", ["unhappy cats bark"]).score
    assert 0 < wanted < 100
    assert likeness(ids[:4], (*ids[:2], ids[4], ids[3])) == pytest.approx(wanted)
    assert likeness.signature
