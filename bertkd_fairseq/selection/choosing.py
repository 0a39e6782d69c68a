"""Choose among the hypotheses of one sentence, in plain Python and without files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

TEACHER, STUDENT, REFERENCE, BOTH = CRITERIA = ("teacher", "student", "reference", "both")


class Candidate(NamedTuple):
    """A hypothesis: its ids without EOS, and its scores. Higher scores are better; a score that isn't known is NaN.

    ``student``: the student's score in nats, from the H- line. ``teacher``: the score from rescoring in nats, which
    combines student and teacher. ``reference``: the likeness to the reference, from 0 to 100.
    """

    ids: tuple[int, ...]
    student: float
    teacher: float = math.nan
    reference: float = math.nan


class Bounds(NamedTuple):
    """The lengths that a pair with a hypothesis may have, in symbols without EOS. None stands for no limit."""

    min_length: int = 1
    max_length: int | None = None
    max_ratio: float | None = None

    def allow(self, length: int, other: int) -> bool:
        """Return whether a hypothesis of ``length`` symbols is allowed if the other side has ``other`` symbols."""
        if length < self.min_length or (self.max_length is not None and length > self.max_length):
            return False
        shorter, longer = sorted((length, other))
        return self.max_ratio is None or longer <= self.max_ratio * max(1, shorter)


def merged(candidates: Sequence[Candidate], by: str) -> list[Candidate]:
    """Return the candidates with equal ones merged: the best scores of them, in the place of the first."""
    best: dict[tuple[int, ...], Candidate] = {}
    for each in candidates:
        before = best.setdefault(each.ids, each)
        if _score(each, by) > _score(before, by):
            best[each.ids] = each
    return list(best.values())


def ranked(candidates: Sequence[Candidate], by: str) -> list[Candidate]:
    """Return the candidates from the best to the worst. Candidates with equal scores stay in their order.

    ``both`` adds the rank by the teacher and the rank by the reference, because ranks need no common scale. If two sums
    are equal, the rank by the teacher decides.
    """
    if by != BOTH:
        return sorted(candidates, key=lambda each: -_score(each, by))
    teacher = _ranks([each.teacher for each in candidates])
    reference = _ranks([each.reference for each in candidates])
    places = sorted(range(len(candidates)), key=lambda i: (teacher[i] + reference[i], teacher[i]))
    return [candidates[i] for i in places]


def _score(candidate: Candidate, by: str) -> float:
    # Equal hypotheses are equally like the reference.
    return float(getattr(candidate, TEACHER if by == BOTH else by))


def _ranks(scores: Sequence[float]) -> list[int]:
    """Return for each score how many others are better."""
    return [sum(other > score for other in scores) for score in scores]
