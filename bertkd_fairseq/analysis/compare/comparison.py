"""Compare systems against one reference: their scores, tests of the differences, and the sentences that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

import numpy as np

from bertkd_fairseq.analysis.compare.rouge import KINDS, Rouge
from bertkd_fairseq.analysis.compare.scoring import Measurement, Score, Trials
from bertkd_fairseq.analysis.compare.target import Target
from bertkd_fairseq.analysis.compare.translations import System
from bertkd_fairseq.text.languages import length

LONGEST_NGRAM = 4


@dataclass(frozen=True)
class Texts:
    """The sentences that systems are compared on."""

    reference: list[str]
    tokenized_reference: list[str]  # in Moses words, or in the tokens that ``Target.ngrams`` names
    source: list[str] | None = None  # None if it isn't known


@dataclass(frozen=True)
class LengthBucket:
    """BLEU on the sentences whose reference has ``shortest`` to ``longest`` Moses words, or characters."""

    shortest: int
    longest: int | None  # None: no limit
    num_sentences: int
    bleu: dict[str, Score]

    @property
    def name(self) -> str:
        """The bounds as reports show them."""
        return f"{self.shortest}+" if self.longest is None else f"{self.shortest}-{self.longest}"


@dataclass(frozen=True)
class Example:
    """A sentence that one of two systems translates better than the other."""

    index: int  # from 0, as fairseq numbers them
    source: str | None
    reference: str
    system: str
    chrf: dict[str, float]  # by the name of the first system and of ``system``; means over runs
    translations: dict[str, list[str]]  # by both names: the translation of each run

    @property
    def difference(self) -> float:
        """The sentence's chrF by ``system`` minus that by the first system."""
        first, other = self.chrf.values()
        return other - first


@dataclass(frozen=True)
class Comparison:
    """Everything that reports show."""

    scores: dict[str, dict[str, Score]]  # by system, then by metric (of :data:`scoring.METRICS`)
    signatures: dict[str, str]  # by metric
    trials: Trials
    num_sentences: int
    lowercase: bool
    target: Target
    length_buckets: list[LengthBucket]
    repetition: dict[str, list[float]]  # by system: percent of repeated 1-grams, 2-grams, ...
    reference_repetition: list[float]  # the same of the reference
    examples: list[Example]


def compare_systems(
    systems: Sequence[System],
    texts: Texts,
    *,
    lowercase: bool,
    trials: Trials,
    target: Target,
    metric: str | None = None,
    bucket_ends: Sequence[int] = (10, 20, 30, 40, 50),
    num_examples: int = 3,
) -> Comparison:
    """Score every system and test each against the first.

    :param metric: ``rouge`` adds the scores of ROUGE.
    :param bucket_ends: the length of the longest reference in each length bucket but the last, in rising order.
    :param num_examples: how many sentences to show that a system translates better than the first, and how many that
        it translates worse.
    """
    measured = _measure(systems, texts, lowercase, target, metric)
    scores: dict[str, dict[str, Score]] = {system.name: {} for system in systems}
    for metric, measurement in measured.items():
        for system, score in zip(systems, measurement.scores(trials), strict=True):
            scores[system.name][metric] = score
    return Comparison(
        scores=scores,
        signatures={metric: measurement.signature for metric, measurement in measured.items()},
        trials=trials,
        num_sentences=len(texts.reference),
        lowercase=lowercase,
        target=target,
        length_buckets=_by_length(
            systems, _lengths(texts, target), measured["bleu"], trials, bucket_ends
        ),
        repetition={
            system.name: _mean_repetition([run.tokenized for run in system.runs])
            for system in systems
        },
        reference_repetition=_mean_repetition([texts.tokenized_reference]),
        examples=_examples(systems, texts, measured["chrf"], num_examples),
    )


def _measure(
    systems: Sequence[System], texts: Texts, lowercase: bool, target: Target, metric: str | None
) -> dict[str, Measurement]:
    """Return a measurement for each metric, made from the form of the text that the metric is defined on."""
    from sacrebleu.metrics import BLEU, CHRF

    text = [[run.text for run in system.runs] for system in systems]
    raw = [texts.reference]
    measured = {}
    if target.has_words:
        words = [[run.tokenized for run in system.runs] for system in systems]
        tokenized = {"tokenize": "none", "force": True, "references": [texts.tokenized_reference]}
        measured["tokenized_bleu"] = Measurement(BLEU(lowercase=lowercase, **tokenized), words)
    bleu = BLEU(lowercase=lowercase, tokenize=target.tokenizer, references=raw)
    measured["bleu"] = Measurement(bleu, text)
    measured["chrf"] = Measurement(CHRF(lowercase=lowercase, references=raw), text)
    if metric == "rouge":
        tokenizer = None if target.is_english else bleu.tokenizer
        for kind in KINDS:
            measured[kind] = Measurement(Rouge(kind, texts.reference, tokenizer), text)
    return measured


def _lengths(texts: Texts, target: Target) -> np.ndarray:
    """Return the length of every reference (sentences,), in Moses words or in characters."""
    lines = texts.tokenized_reference if target.has_words else texts.reference
    return np.array([length(line, target.has_words) for line in lines])


def _by_length(
    systems: Sequence[System],
    lengths: np.ndarray,
    bleu: Measurement,
    trials: Trials,
    ends: Sequence[int],
) -> list[LengthBucket]:
    """Return the buckets that have sentences, as in figures 2 and 3 of the paper."""
    bounds = [*pairwise((0, *ends)), (ends[-1], None)]
    buckets = []
    for low, high in bounds:
        where = lengths > low if low else lengths >= 0  # the first bucket has empty references, too
        if high is not None:
            where &= lengths <= high
        if where.any():
            scores = bleu.scores(replace(trials, randomization=0), where)
            named = dict(zip((system.name for system in systems), scores, strict=True))
            buckets.append(LengthBucket(low + 1, high, int(where.sum()), named))
    return buckets


def repeated_ngrams(lines: Sequence[str], n: int) -> float:
    """Return the percentage of n-grams that occur earlier in the same line; words are what stands between spaces."""
    total = repeated = 0
    for line in lines:
        words = line.split()
        ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        total += len(ngrams)
        repeated += len(ngrams) - len(set(ngrams))
    return 100 * repeated / max(total, 1)


def _mean_repetition(runs: Sequence[Sequence[str]]) -> list[float]:
    sizes = range(1, LONGEST_NGRAM + 1)
    return [fmean(repeated_ngrams(lines, n) for lines in runs) for n in sizes]


def _examples(
    systems: Sequence[System], texts: Texts, chrf: Measurement, count: int
) -> list[Example]:
    """Return for each system the sentences on which it gains most, and then those on which it loses most.

    Sentences are compared by chrF, because it is defined for a sentence. BLEU would have to be smoothed.
    """
    scores = chrf.sentence_scores()  # (systems, sentences)
    examples = []
    first = systems[0]
    for k, system in enumerate(systems[1:], 1):
        differences = scores[k] - scores[0]
        best = [i for i in np.argsort(-differences, kind="stable")[:count] if differences[i] > 0]
        worst = [i for i in np.argsort(differences, kind="stable")[:count] if differences[i] < 0]
        for i in (*best, *worst):
            examples.append(
                Example(
                    index=int(i),
                    source=texts.source[i] if texts.source is not None else None,
                    reference=texts.reference[i],
                    system=system.name,
                    chrf={first.name: float(scores[0, i]), system.name: float(scores[k, i])},
                    translations={s.name: [run.text[i] for run in s.runs] for s in (first, system)},
                )
            )
    return examples
