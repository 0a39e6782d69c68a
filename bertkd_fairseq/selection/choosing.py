"""Which hypotheses of one sentence are taken: plain Python, no files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

TEACHER, STUDENT, REFERENCE, BOTH = CRITERIA = ("teacher", "student", "reference", "both")


class Candidate(NamedTuple):
    """A hypothesis: its ids without EOS, and what is known of it, higher is better, NaN where nothing is.

    ``student``: the student's score, as H- has it, in nats. ``teacher``: the score that rescoring gave, of student and
    teacher together, in nats. ``reference``: its likeness to the reference, 0 to 100.
    """

    ids: tuple[int, ...]
    student: float
    teacher: float = math.nan
    reference: float = math.nan


class Bounds(NamedTuple):
    """What lengths in symbols, EOS not counted, a pair with a hypothesis may have; None: any."""

    min_length: int = 1
    max_length: int | None = None
    max_ratio: float | None = None

    def allow(self, length: int, other: int) -> bool:
        """Tell whether a hypothesis may be so long beside another side of ``other`` symbols."""
        if length < self.min_length or (self.max_length is not None and length > self.max_length):
            return False
        shorter, longer = sorted((length, other))
        return self.max_ratio is None or longer <= self.max_ratio * max(1, shorter)


def merged(candidates: Sequence[Candidate], by: str) -> list[Candidate]:
    """Return equal ones once, with the scores of the best of them, in the place of the first."""
    best: dict[tuple[int, ...], Candidate] = {}
    for each in candidates:
        before = best.setdefault(each.ids, each)
        if _score(each, by) > _score(before, by):
            best[each.ids] = each
    return list(best.values())


def ranked(candidates: Sequence[Candidate], by: str) -> list[Candidate]:
    """Return them from the best to the worst; equal ones stay in their order.

    ``both`` adds the rank by the teacher to that by the reference, which needs no common scale; a tie is the
    teacher's to break.
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
    """Return how many are better, for each."""
    return [sum(other > score for other in scores) for score in scores]
