"""Where systems differ: lengths, repetition, single sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
from sacrebleu.metrics import BLEU

from bertkd_fairseq.analysis.compare.comparison import (
    Comparison,
    Texts,
    compare_systems,
    repeated_ngrams,
)
from bertkd_fairseq.analysis.compare.scoring import Trials
from bertkd_fairseq.analysis.compare.target import Target
from bertkd_fairseq.analysis.compare.translations import Run, System

REFERENCE = ["", "a b c d", "a b c d e f", "g h i j k l", "a b c d e f g h i j k l m"]
PLAIN = ["", "a b c d", "a b c x e f", "g h i j k x", "a b c d e f g h i j"]
OTHER = ["", "a x c d", "a b c d e f", "g h i j k l", "a b c d e f g a b c d"]


def compare(**kwargs: object) -> Comparison:
    systems = [
        System(name, [Run(Path(name), "text", lines, lines)])
        for name, lines in (("plain", PLAIN), ("other", OTHER))
    ]
    texts = Texts(REFERENCE, REFERENCE, source=[f"source {i}" for i in range(5)])
    target = Target("en", "13a")
    return compare_systems(
        systems, texts, lowercase=False, trials=Trials(20, 20), target=target, **kwargs
    )


def test_length_buckets_hold_every_sentence_once() -> None:
    buckets = compare(bucket_ends=(4, 6, 9, 12)).length_buckets
    members = {"1-4": [0, 1], "5-6": [2, 3], "13+": [4]}  # nothing has 7 to 12 words
    assert {bucket.name: bucket.num_sentences for bucket in buckets} == {
        name: len(ids) for name, ids in members.items()
    }
    for bucket in buckets:
        for name, lines in (("plain", PLAIN), ("other", OTHER)):
            picked = [[text[i] for i in members[bucket.name]] for text in (lines, REFERENCE)]
            assert bucket.bleu[name].score == BLEU().corpus_score(picked[0], [picked[1]]).score
    found = buckets[1].bleu["other"].against_first
    assert found is not None and found.difference > 0 and found.randomization_p is None


@pytest.mark.parametrize(
    ("line", "n", "rate"),
    [("a a a b", 1, 50), ("a b a b", 2, 100 / 3), ("a b a b", 3, 0), ("a", 2, 0), ("", 1, 0)],
)
def test_repeated_ngrams(line: str, n: int, rate: float) -> None:
    assert repeated_ngrams([line], n) == pytest.approx(rate)


def test_repetition_is_counted_within_sentences_only() -> None:
    assert repeated_ngrams(["a b", "a b", "c c"], 1) == pytest.approx(100 / 6)
    comparison = compare()
    assert comparison.reference_repetition == [0, 0, 0, 0]
    assert comparison.repetition["plain"] == [0, 0, 0, 0]
    words = sum(len(line.split()) for line in OTHER)
    assert comparison.repetition["other"][0] == pytest.approx(100 * 4 / words)


def test_examples_are_the_largest_gains_then_the_largest_losses() -> None:
    examples = compare(num_examples=9).examples
    differences = [example.difference for example in examples]
    gains = [d for d in differences if d > 0]
    losses = [d for d in differences if d < 0]
    assert differences == sorted(gains, reverse=True) + sorted(losses)
    # Sentence 0 is the same in both and shows nothing.
    assert {e.index for e in examples if e.difference > 0} == {2, 3}
    assert {e.index for e in examples if e.difference < 0} == {1, 4}
    [example] = [e for e in examples if e.index == 3]
    assert (example.source, example.reference) == ("source 3", REFERENCE[3])
    assert example.translations == {"plain": [PLAIN[3]], "other": [OTHER[3]]}
    assert example.chrf["other"] == pytest.approx(100)
    assert [e.index for e in compare(num_examples=1).examples] == [
        max(gains_by_index(), key=gains_by_index().__getitem__),
        min(gains_by_index(), key=gains_by_index().__getitem__),
    ]
    assert compare(num_examples=0).examples == []


def gains_by_index() -> dict[int, float]:
    return {e.index: e.difference for e in compare(num_examples=9).examples}
