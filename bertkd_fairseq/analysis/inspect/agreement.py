"""What a student makes of the tokens that its teacher knows, and of those that it doesn't.

A student that follows its teacher gains where the teacher is right and loses where it is wrong: both are
counted apart here, over the same tokens, so that a gain that is missing can be explained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from statistics import fmean, stdev

import numpy as np

from bertkd_fairseq.topk_store.rows import TopKRows

COLUMNS = ("where the reference is", "tokens", "right", "as teacher", "confidence", "nll, bits")
"""The header of :func:`agreement_rows`."""


@dataclass(frozen=True)
class Predictions:
    """What a student predicts for every target token, given the source and the reference before it; each (tokens,).

    ``prediction``: the most probable symbol; ``confidence``: the probability of that; ``gold_logprob``: the natural
    log-probability of the reference token.
    """

    prediction: np.ndarray
    confidence: np.ndarray
    gold_logprob: np.ndarray

    def __getitem__(self, rows: slice) -> Predictions:
        return Predictions(self.prediction[rows], self.confidence[rows], self.gold_logprob[rows])


@dataclass(frozen=True)
class TokenMeans:
    """Means over some tokens, None where there are none.

    ``accuracy``: how often the prediction is the reference, and ``teachers_first``: how often it is the teacher's
    prediction, both in percent; ``confidence``: its probability in percent; ``nll_bits``: the cross-entropy of the
    reference in bits a token.
    """

    tokens: int
    accuracy: float | None
    teachers_first: float | None
    confidence: float | None
    nll_bits: float | None


@dataclass(frozen=True)
class Agreement:
    """A student's tokens by what the reference token is to the teacher.

    ``first``: its prediction; ``later``: another of its top K; ``outside``: none of these; ``eos``: EOS, whatever the
    teacher makes of it; ``all``: all of them together.
    """

    first: TokenMeans
    later: TokenMeans
    outside: TokenMeans
    eos: TokenMeans
    all: TokenMeans


_FIRST, _LATER, _OUTSIDE, _EOS = range(4)
_GROUPS = tuple(field.name for field in fields(Agreement))[:-1]
_MEANS = tuple(field.name for field in fields(TokenMeans))[1:]


class StudentAgreement:
    """Sums over target tokens; those without a teacher are left out."""

    def __init__(self) -> None:
        self._tokens = np.zeros(len(_GROUPS), np.int64)
        self._sums = np.zeros((len(_GROUPS), len(_MEANS)))

    def add(self, rows: TopKRows, gold: np.ndarray, eos: int, predictions: Predictions) -> None:
        """Count the ``predictions`` for n target tokens, ``gold`` (n,), of which the teacher says ``rows``."""
        hits = rows.ids == gold[:, None]  # (n, K)
        groups = np.select(
            [gold == eos, hits[:, 0], hits.any(1)], [_EOS, _FIRST, _LATER], _OUTSIDE
        )  # (n,)
        asked = rows.has_teacher
        values = {
            "accuracy": 100.0 * (predictions.prediction == gold),
            "teachers_first": 100.0 * (predictions.prediction == rows.ids[:, 0]),
            "confidence": 100 * predictions.confidence.astype(np.float64),
            "nll_bits": predictions.gold_logprob.astype(np.float64) / -np.log(2),
        }
        self._tokens += np.bincount(groups[asked], minlength=len(_GROUPS))
        for sums, name in zip(self._sums.T, _MEANS, strict=True):
            sums += np.bincount(groups[asked], values[name][asked], minlength=len(_GROUPS))

    def summary(self) -> Agreement:
        """Return what the sums come to."""
        tokens = [*self._tokens.tolist(), int(self._tokens.sum())]
        sums = [*self._sums, self._sums.sum(0)]
        return Agreement(*map(_means, tokens, sums))


def _means(tokens: int, sums: np.ndarray) -> TokenMeans:
    means = [float(total / tokens) if tokens else None for total in sums]
    return TokenMeans(tokens, *means)


def agreement_rows(runs: Sequence[Agreement], k: int) -> Iterator[tuple[str, ...]]:
    """Yield :data:`COLUMNS` as text for each part of a student's tokens.

    ``runs``: one for each seed; means have their standard deviation (n - 1) behind them.
    """
    headings = {
        "first": "the teacher's first",
        "later": f"another of its top {k}",
        "outside": "none of these",
        "eos": "EOS",
        "all": "all",
    }
    for group, heading in headings.items():
        means: list[TokenMeans] = [getattr(run, group) for run in runs]
        share = 100 * means[0].tokens / max(runs[0].all.tokens, 1)
        yield (
            heading,
            _mean([share], 1, "%"),
            _mean([run.accuracy for run in means], 1, "%"),
            _mean([run.teachers_first for run in means], 1, "%"),
            _mean([run.confidence for run in means], 1, "%"),
            _mean([run.nll_bits for run in means], 2),
        )


def _mean(values: Sequence[float | None], digits: int, unit: str = "") -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    spread = f" ±{stdev(known):.{digits}f}" if len(known) > 1 else ""
    return f"{fmean(known):.{digits}f}{spread}{unit}"
