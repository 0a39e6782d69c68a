"""The score of a hypothesis, and the order that it gives: numpy alone.

Pseudo-log-likelihood rescoring (Salazar et al., arXiv 1910.14659), for a masked language model that reads the source
too: the sum over the target tokens of log p(token | source, all other tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Mix(NamedTuple):
    """What the parts of a score weigh: ``(student + weight * teacher + length_bonus * length) / length ** lenpen``."""

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
        """Make them of arrays (hypotheses,), one sentence after the other; ``sizes`` (sentences,) are the lists'.

        A list with a hypothesis that the teacher knows nothing of (NaN) is without teacher as a whole: its parts
        couldn't be compared.
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
        if mix.weight:  # 0 times a probability of nothing is none
            total = total + mix.weight * self.teacher
        return np.asarray(total / self.length**mix.lenpen)

    def order(self, mix: Mix) -> np.ndarray:
        """Return the hypotheses of each list from the best score to the worst; equal ones stay in their order.

        What isn't there comes last.
        """
        return np.lexsort((-self.scores(mix), ~self.there), axis=1)

    def best(self, mix: Mix) -> np.ndarray:
        """Return the first of :meth:`order`: (sentences,)."""
        return np.asarray(self.scores(mix).argmax(axis=1))
