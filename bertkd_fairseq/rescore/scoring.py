"""Score hypotheses, and order them by their scores. Needs only numpy.

This is pseudo-log-likelihood rescoring (Salazar et al., arXiv 1910.14659) with a masked language model that reads the
source too. The teacher's part is the sum over the target tokens of log p(token | source, other tokens that aren't
masked).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Mix(NamedTuple):
    """The weights of a score, ``(student + weight * teacher + length_bonus * length) / length ** lenpen``."""

    weight: float
    length_bonus: float
    lenpen: float


@dataclass(frozen=True)
class Lists:
    """The n-best lists of all sentences as arrays (sentences, longest list), in the order of the file.

    ``student`` and ``teacher``: log-probabilities in nats, summed over the tokens, EOS included. ``length``: the number
    of these tokens. ``there``: False where a list is shorter than the longest.
    """

    student: np.ndarray
    teacher: np.ndarray
    length: np.ndarray
    there: np.ndarray

    @classmethod
    def of(
        cls, sizes: np.ndarray, student: np.ndarray, teacher: np.ndarray, length: np.ndarray
    ) -> Lists:
        """Make the lists from arrays (hypotheses,), one sentence after the other. ``sizes``: (sentences,).

        If a hypothesis has no teacher (NaN), its whole list is scored without the teacher, because its hypotheses
        couldn't be compared otherwise.
        """
        there = np.arange(sizes.max()) < sizes[:, None]

        def padded(values: np.ndarray, rest: float) -> np.ndarray:
            filled = np.full(there.shape, rest, dtype=np.float64)
            filled[there] = values
            return filled

        known = padded(teacher, 0.0)
        known[np.isnan(known).any(axis=1)] = 0.0
        return cls(padded(student, -np.inf), known, padded(length, 1.0), there)

    def scores(self, mix: Mix) -> np.ndarray:
        """Return the scores (sentences, longest list), in nats; -inf where there is no hypothesis."""
        total = self.student + mix.length_bonus * self.length
        if mix.weight:  # 0 times a log-probability of -inf would be NaN
            total = total + mix.weight * self.teacher
        return np.asarray(total / self.length**mix.lenpen)

    def order(self, mix: Mix) -> np.ndarray:
        """Return the places of each list's hypotheses from the best score to the worst; equal ones keep their order.

        Places without a hypothesis come last.
        """
        return np.lexsort((-self.scores(mix), ~self.there), axis=1)

    def best(self, mix: Mix) -> np.ndarray:
        """Return the first of :meth:`order`: (sentences,)."""
        return np.asarray(self.scores(mix).argmax(axis=1))
