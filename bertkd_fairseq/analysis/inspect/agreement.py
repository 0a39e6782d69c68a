"""What a student makes of the tokens that its teacher knows, and of those that it doesn't.

A student that follows its teacher gains where the teacher is right and loses where it is wrong: both are
counted apart here, over the same tokens, so that a gain that is missing can be explained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from bertkd_fairseq.topk_store.rows import TopKRows

#: What the reference token is to the teacher: its prediction, another of its top K, none of these; EOS apart.
GROUPS = ("first", "later", "outside", "eos")
#: What is averaged over tokens: the prediction is right, or the teacher's first; its probability; cross-entropy.
MEANS = ("accuracy", "teachers_first", "confidence", "nll_bits")
COLUMNS = ("where the reference is", "tokens", "right", "as teacher", "confidence", "nll, bits")

Summary = Mapping[str, Mapping[str, Any]]


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


class StudentAgreement:
    """Sums over target tokens; those without a teacher are left out."""

    def __init__(self) -> None:
        self._tokens = np.zeros(len(GROUPS), np.int64)
        self._sums = np.zeros((len(MEANS), len(GROUPS)))

    def add(self, rows: TopKRows, gold: np.ndarray, eos: int, predictions: Predictions) -> None:
        """Count the ``predictions`` for n target tokens, ``gold`` (n,), of which the teacher says ``rows``."""
        hits = rows.ids == gold[:, None]  # (n, K)
        groups = np.select([gold == eos, hits[:, 0], hits.any(1)], [3, 0, 1], 2)  # (n,)
        asked = rows.has_teacher
        values = {
            "accuracy": 100.0 * (predictions.prediction == gold),
            "teachers_first": 100.0 * (predictions.prediction == rows.ids[:, 0]),
            "confidence": 100 * predictions.confidence.astype(np.float64),
            "nll_bits": predictions.gold_logprob.astype(np.float64) / -np.log(2),
        }
        self._tokens += np.bincount(groups[asked], minlength=len(GROUPS))
        for sums, name in zip(self._sums, MEANS, strict=True):
            sums += np.bincount(groups[asked], values[name][asked], minlength=len(GROUPS))

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return the number of tokens and their :data:`MEANS` for each of :data:`GROUPS` and for all together.

        The first three are percentages, the cross-entropy of the reference is in bits a token; None without tokens.
        """
        tokens = [*self._tokens.tolist(), int(self._tokens.sum())]
        sums = np.concatenate([self._sums, self._sums.sum(1, keepdims=True)], axis=1)
        return {
            group: {
                "tokens": count,
                **{
                    name: float(total / count) if count else None
                    for name, total in zip(MEANS, totals, strict=True)
                },
            }
            for group, count, totals in zip((*GROUPS, "all"), tokens, sums.T, strict=True)
        }


def agreement_rows(runs: Sequence[Summary], k: int) -> Iterator[tuple[str, ...]]:
    """Yield :data:`COLUMNS` as text for each part of a student's :meth:`StudentAgreement.summary`.

    ``runs``: one for each seed; means have their standard deviation (n - 1) behind them.
    """
    headings = {
        "first": "the teacher's first",
        "later": f"another of its top {k}",
        "outside": "none of these",
        "eos": "EOS",
        "all": "all",
    }
    for group in runs[0]:
        share = 100 * runs[0][group]["tokens"] / max(runs[0]["all"]["tokens"], 1)
        means = [[run[group][name] for run in runs] for name in MEANS]
        cells = [_mean(values, 1, "%") for values in ([share], *means[:-1])]
        yield headings[group], *cells, _mean(means[-1], 2)


def _mean(values: list[Any], digits: int, unit: str = "") -> str:
    if None in values:
        return "-"
    spread = f" ±{stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}{unit}"


def agreement_table(students: Mapping[str, Sequence[Summary]], k: int) -> list[str]:
    """Return a few lines for each student, by name, of :func:`agreement_rows`."""
    titles = [f"student {student}, {COLUMNS[0]}" for student in students]
    width = max(map(len, titles))
    lines = []
    for title, runs in zip(titles, students.values(), strict=True):
        rows = [(f"  {heading}", *cells) for heading, *cells in agreement_rows(runs, k)]
        for heading, *cells in [(title, *COLUMNS[1:]), *rows]:
            lines.append(f"{heading:<{width}}" + "".join(f"{cell:>13}" for cell in cells))
    return lines
