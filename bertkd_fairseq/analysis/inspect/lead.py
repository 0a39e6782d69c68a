"""How much more often the teacher is right than a student: what is there to learn (docs/choosing_settings.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from bertkd_fairseq.analysis.inspect.agreement import Agreement

COLUMNS = ("", "right", "the teacher is")
"""The header of :func:`lead_rows`."""


def right_without_eos(agreement: Agreement) -> tuple[float, float] | None:
    """Return how often teacher and student predict the reference, in percent, or None if there is only EOS.

    EOS is apart, because a teacher that sees the future always knows it.
    """
    groups = (agreement.first, agreement.later, agreement.outside)
    tokens = sum(group.tokens for group in groups)
    if not tokens:
        return None
    right = sum(group.tokens * (group.accuracy or 0.0) for group in groups)
    return 100 * agreement.first.tokens / tokens, right / tokens


def lead_rows(students: Mapping[str, Sequence[Agreement]]) -> Iterator[tuple[str, ...]]:
    """Yield :data:`COLUMNS` as text for the teacher and for each student, which is the mean of its seeds."""
    means = {}
    for name, runs in students.items():
        known = [both for both in map(right_without_eos, runs) if both]
        if known:
            means[name] = tuple(fmean(values) for values in zip(*known, strict=True))
    if means:  # all students are asked for the same tokens
        yield "teacher", f"{next(iter(means.values()))[0]:.1f}%", ""
    for name, (teacher, student) in means.items():
        where = "ahead" if teacher >= student else "behind"
        yield name, f"{student:.1f}%", f"{abs(teacher - student):.1f} points {where}"
