"""ROUGE: a naive reference without stemming, the package's own numbers with it."""

from __future__ import annotations

import importlib.util
import random
from collections import Counter
from statistics import fmean

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from bertkd_fairseq.analysis.compare.rouge import KINDS, Rouge, rouge_problems
from bertkd_fairseq.analysis.compare.scoring import Measurement, Trials

REFERENCE = ["The cats sat on mats.", "two dogs ran", "", "a b c d e f"]
SYSTEM = ["the cat sits on the mat", "ran two dogs", "x", "a c b d f e"]


def longest_common(a: list[str], b: list[str]) -> int:
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return longest_common(a[:-1], b[:-1]) + 1
    return max(longest_common(a[:-1], b), longest_common(a, b[:-1]))


def naive_f1(kind: str, reference: list[str], words: list[str]) -> float:
    """Return F1 in percent."""
    if kind == "rougeL":
        same, sizes = longest_common(reference, words), (len(reference), len(words))
    else:
        n = int(kind[-1])
        first, second = (
            Counter(tuple(line[i : i + n]) for i in range(len(line) - n + 1))
            for line in (reference, words)
        )
        same, sizes = (first & second).total(), (first.total(), second.total())
    return 200 * same / sum(sizes) if same else 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_f1_against_a_naive_one(kind: str) -> None:
    rng = random.Random(1)
    lines = [[" ".join(rng.choices("ABCdé漢", k=rng.randint(0, 7))) for _ in "12345"] for _ in "ab"]
    wanted = [
        naive_f1(kind, ref.lower().split(), hyp.lower().split())
        for ref, hyp in zip(*lines, strict=True)
    ]
    rouge = Rouge(kind, lines[0], BLEU(tokenize="none").tokenizer)
    measured = Measurement(rouge, [[lines[1]]])
    assert measured.sentence_scores()[0] == pytest.approx(wanted)
    assert measured.scores(Trials(9, 9))[0].score == pytest.approx(fmean(wanted))


@pytest.mark.parametrize("kind", KINDS)
def test_english_is_stemmed_and_lowercased_by_the_package(kind: str) -> None:
    stems = {"cats": "cat", "mats": "mat", "dogs": "dog"}  # words of four letters and more

    def words(line: str) -> list[str]:
        return [stems.get(word, word) for word in line.lower().replace(".", "").split()]

    measured = Measurement(Rouge(kind, REFERENCE), [[SYSTEM]])
    wanted = [naive_f1(kind, words(r), words(s)) for r, s in zip(REFERENCE, SYSTEM, strict=True)]
    # Porter also takes the s off "sits".
    wanted[0] = naive_f1(kind, words(REFERENCE[0]), words(SYSTEM[0].replace("sits", "sit")))
    assert measured.sentence_scores()[0] == pytest.approx(wanted)
    assert "tok:rouge|stem:porter" in measured.signature


def test_bootstrap_and_randomisation_of_means() -> None:
    """Two runs of one system: a sentence's statistics are drawn and swapped with all of its runs."""
    rng = random.Random(2)
    reference = [" ".join(rng.choices("abcdefgh", k=8)) for _ in range(12)]

    def spoil(rate: float) -> list[str]:
        return [" ".join(w if rng.random() > rate else "x" for w in r.split()) for r in reference]

    first, other = [spoil(0.5), spoil(0.5)], [spoil(0.3), spoil(0.3)]
    rouge = Rouge("rouge1", reference, BLEU(tokenize="none").tokenizer)
    trials = Trials(resamples=30, randomization=40, seed=7)
    found = Measurement(rouge, [first, other]).scores(trials)[1].against_first

    def sentences(runs: list[list[str]]) -> np.ndarray:
        return np.array(
            [
                fmean(naive_f1("rouge1", r.split(), run[i].split()) for run in runs)
                for i, r in enumerate(reference)
            ]
        )

    gaps = sentences(other) - sentences(first)
    drawn = np.random.default_rng(7).choice(12, size=(30, 12), replace=True)
    resampled = gaps[drawn].mean(1)
    kept = np.random.default_rng(7).integers(2, size=(40, 12), dtype=bool)
    swapped = np.abs(np.where(kept, gaps, -gaps).mean(1))
    assert found is not None and found.difference == pytest.approx(gaps.mean())
    assert found.interval == pytest.approx(np.quantile(resampled, (0.025, 0.975)))
    scatter = np.abs(resampled) - np.abs(resampled).mean()
    assert found.bootstrap_p == pytest.approx(((scatter > abs(gaps.mean())).sum() + 1) / 31)
    assert found.randomization_p == pytest.approx(((swapped > abs(gaps.mean())).sum() + 1) / 41)


def test_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert rouge_problems("--metric", "rouge") == [
        "`--metric` must be a metric whose package is installed, but is rouge instead. "
        "Install its package: pip install rouge-score"
    ]
    assert rouge_problems("--metric", None) == []
