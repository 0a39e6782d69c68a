"""What a student makes of the tokens that its teacher knows, and of those that it doesn't.

A student that follows its teacher gains where the teacher is right and loses where it is wrong: both are
counted apart here, over the same tokens, so that a gain that is missing can be explained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertkd_fairseq.topk_store import TopKRows

#: What the reference token is to the teacher: its first guess, another of its top K, none of these; EOS apart.
GROUPS = ("first", "later", "outside", "eos")

_PERCENTAGES = ("accuracy", "teachers_first", "confidence")
COLUMNS = ("where the reference is", "tokens", "right", "as teacher", "confidence", "nll, bits")


@dataclass(frozen=True)
class Answers:
    """A student's answer to every target token, given the source and the reference before it; each (tokens,).

    ``guess``: its most probable symbol; ``confidence``: the probability of that; ``gold_logprob``: the natural
    log-probability of the reference token.
    """

    guess: np.ndarray
    confidence: np.ndarray
    gold_logprob: np.ndarray

    def __getitem__(self, rows: slice) -> Answers:
        return Answers(self.guess[rows], self.confidence[rows], self.gold_logprob[rows])


class StudentAgreement:
    """Sums over target tokens; those without a teacher are left out."""

    def __init__(self) -> None:
        # tokens, right, the teacher's first guess, confidence, bits: (5, groups)
        self._sums = np.zeros((5, len(GROUPS)))

    def add(self, rows: TopKRows, gold: np.ndarray, eos: int, answers: Answers) -> None:
        """Count the ``answers`` to n target tokens, ``gold`` (n,), of which the teacher says ``rows``."""
        hits = rows.ids == gold[:, None]  # (n, K)
        groups = np.select([gold == eos, hits[:, 0], hits.any(1)], [3, 0, 1], 2)  # (n,)
        asked = ~np.isneginf(rows.logprobs).all(1)
        values = (
            np.ones(len(gold)),
            answers.guess == gold,
            answers.guess == rows.ids[:, 0],
            answers.confidence,
            answers.gold_logprob / -np.log(2),
        )
        for sums, value in zip(self._sums, values, strict=True):
            sums += np.bincount(groups[asked], value[asked], minlength=len(GROUPS))

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return means for each of :data:`GROUPS` and for all tokens; None where there are no tokens.

        ``accuracy``, ``teachers_first`` (the guess is the teacher's first) and ``confidence`` are percentages,
        ``nll_bits`` is the cross-entropy of the reference in bits a token.
        """
        sums = {name: self._sums[:, i] for i, name in enumerate(GROUPS)}
        sums["all"] = self._sums.sum(1)
        scales = {**dict.fromkeys(_PERCENTAGES, 100), "nll_bits": 1}
        return {
            group: {
                "tokens": int(tokens),
                **{
                    name: float(scale * total / tokens) if tokens else None
                    for (name, scale), total in zip(scales.items(), totals, strict=True)
                },
            }
            for group, (tokens, *totals) in sums.items()
        }


def agreement_rows(summary: dict[str, dict[str, Any]], k: int) -> Iterator[tuple[str, ...]]:
    """Yield a row of :data:`COLUMNS` for each part of a :meth:`StudentAgreement.summary`, as text."""
    headings = {
        "first": "the teacher's first",
        "later": f"another of its top {k}",
        "outside": "none of these",
        "eos": "EOS",
        "all": "all",
    }
    for group, numbers in summary.items():
        share = 100 * numbers["tokens"] / max(summary["all"]["tokens"], 1)
        percentages = (share, *(numbers[name] for name in _PERCENTAGES))
        nll = numbers["nll_bits"]
        cells = ("-" if value is None else f"{value:.1f}%" for value in percentages)
        yield headings[group], *cells, "-" if nll is None else f"{nll:.2f}"


def agreement_table(summaries: dict[str, dict[str, dict[str, Any]]], k: int) -> list[str]:
    """Return a few lines for each student, by name, whose :meth:`StudentAgreement.summary` it is."""
    titles = [f"student {student}, {COLUMNS[0]}" for student in summaries]
    width = max(map(len, titles), default=0)
    lines = []
    for title, summary in zip(titles, summaries.values(), strict=True):
        rows = [(f"  {heading}", *cells) for heading, *cells in agreement_rows(summary, k)]
        for heading, *cells in [(title, *COLUMNS[1:]), *rows]:
            lines.append(f"{heading:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
    return lines
