"""How far a teacher is ahead of its students, with counts that were added up by hand."""

from __future__ import annotations

import pytest

from bertkd_fairseq.analysis.inspect.agreement import Agreement, TokenMeans
from bertkd_fairseq.analysis.inspect.lead import lead_rows, right_without_eos

NOTHING = TokenMeans(0, None, None, None, None)


def group(tokens: int, right: int) -> TokenMeans:
    return TokenMeans(tokens, 100 * right / tokens, 0.0, 0.0, 0.0)


def run(first: int, later: int, outside: int) -> Agreement:
    """Return a student that is right in so many of 60, 30 and 10 tokens, and in every EOS."""
    eos, everything = group(20, 20), group(120, first + later + outside + 20)
    return Agreement(group(60, first), group(30, later), group(10, outside), eos, everything)


def test_eos_counts_for_neither() -> None:
    assert right_without_eos(run(45, 6, 2)) == pytest.approx((60.0, 53.0))


def test_a_group_without_tokens_adds_nothing() -> None:
    found = Agreement(group(60, 45), NOTHING, NOTHING, NOTHING, group(60, 45))
    assert right_without_eos(found) == pytest.approx((100.0, 75.0))


def test_only_eos_says_nothing() -> None:
    only_eos = Agreement(NOTHING, NOTHING, NOTHING, group(20, 20), group(20, 20))
    assert right_without_eos(only_eos) is None
    assert list(lead_rows({"plain": [only_eos]})) == []


def test_a_student_may_be_ahead_and_seeds_are_averaged() -> None:
    students = {"plain": [run(45, 6, 2), run(45, 6, 4)], "distilled": [run(60, 5, 2)]}
    assert list(lead_rows(students)) == [
        ("teacher", "60.0%", ""),
        ("plain", "54.0%", "6.0 points ahead"),
        ("distilled", "67.0%", "7.0 points behind"),
    ]
