"""Find the weights that score best on a split with a reference. All points of a small grid are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from bertkd_fairseq.rescore.scoring import Lists, Mix


class Grid(NamedTuple):
    """The values that are tried for each weight of a :class:`Mix`."""

    weight: Sequence[float]
    length_bonus: Sequence[float]
    lenpen: Sequence[float]

    def without_teacher(self) -> Grid:
        """Return the grid for the student alone, whose weight of the teacher is 0."""
        return self._replace(weight=(0.0,))

    def points(self) -> list[Mix]:
        """Return all points, beginning with those that change the scores least."""
        return sorted(
            (Mix(*point) for point in product(*self)),
            key=lambda mix: (mix.weight, mix.lenpen, abs(mix.length_bonus), mix.length_bonus),
        )


GRID = Grid(
    weight=(0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0),
    length_bonus=tuple(round(0.1 * step, 1) for step in range(-10, 31)),
    lenpen=(0.0, 0.5, 1.0),
)
"""The values that are tried for a weight that isn't given. They include 0 for the teacher, which may not help."""


class Tuned(NamedTuple):
    """The best point, and its score on the split that it was chosen on."""

    mix: Mix
    score: float


def tune(lists: Lists, score_of: Callable[[np.ndarray], float], grid: Grid) -> Tuned:
    """Return the point of ``grid`` whose choice (sentences,) scores highest; the first one of equal points.

    :param score_of: a function that returns the corpus score of one hypothesis for each sentence, given by their places
        in the lists.
    """
    best: Tuned | None = None
    for mix in grid.points():
        score = score_of(lists.best(mix))
        if best is None or score > best.score:
            best = Tuned(mix, score)
    assert best is not None  # no axis of a grid is empty
    return best
