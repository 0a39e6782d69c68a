"""Which hypotheses are taken, against rules spelt out naively."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertkd_fairseq.selection.choosing import CRITERIA, Bounds, Candidate, merged, ranked

IDS = st.lists(st.integers(4, 6), max_size=2).map(tuple)
SCORES = st.sampled_from([-3.0, -2.5, -1.0, 0.0])


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    """Hypotheses with scores that tie often; what equal ones share is their likeness to the reference."""
    found = draw(st.lists(st.tuples(IDS, SCORES, SCORES), min_size=1, max_size=6))
    like = {ids: draw(st.sampled_from([0.0, 50.0, 100.0])) for ids, *_ in found}
    return [Candidate(ids, student, teacher, like[ids]) for ids, student, teacher in found]


def naively(found: list[Candidate], by: str) -> list[Candidate]:
    """Take the best one, again and again."""
    places = {
        name: sorted((getattr(one, name) for one in found), reverse=True)
        for name in ("student", "teacher", "reference")
    }
    left, order = list(found), []
    while left:
        best = left[0]
        for one in left[1:]:
            if by == "both":
                ours, theirs = (
                    (
                        -places["teacher"].index(each.teacher)
                        - places["reference"].index(each.reference),
                        each.teacher,
                    )
                    for each in (one, best)
                )
                better = ours > theirs
            else:
                better = getattr(one, by) > getattr(best, by)
            best = one if better else best
        order.append(best)
        left.pop(next(i for i, one in enumerate(left) if one is best))
    return order


@pytest.mark.parametrize("by", CRITERIA)
@given(candidates())
@settings(max_examples=60, deadline=None)
def test_the_order_is_the_rules(by: str, found: list[Candidate]) -> None:
    assert list(map(id, ranked(found, by))) == list(map(id, naively(found, by)))


@pytest.mark.parametrize("by", CRITERIA)
@given(candidates())
@settings(max_examples=60, deadline=None)
def test_of_equal_ones_the_best_stays_in_the_place_of_the_first(
    by: str, found: list[Candidate]
) -> None:
    once = merged(found, by)
    assert [one.ids for one in once] == list(dict.fromkeys(one.ids for one in found))
    name = "teacher" if by == "both" else by
    for one in once:
        equal = [each for each in found if each.ids == one.ids]
        assert one in equal
        assert getattr(one, name) == max(getattr(each, name) for each in equal)


def test_both_weighs_ranks_and_lets_the_teacher_break_a_tie() -> None:
    first = Candidate((4,), 0.0, -1.0, 10.0)  # ranks 0 and 2
    second = Candidate((5,), 0.0, -900.0, 90.0)  # 2 and 0
    third = Candidate((6,), 0.0, -1.5, 80.0)  # 1 and 1
    last = Candidate((7,), 0.0, -901.0, 5.0)  # 3 and 3
    assert ranked([last, second, third, first], "both") == [first, third, second, last]
    assert ranked([last, second, third, first], "reference")[0] == second


def test_what_is_not_known_is_nan() -> None:
    assert math.isnan(Candidate((), 0.0).teacher) and math.isnan(Candidate((), 0.0).reference)


@pytest.mark.parametrize(
    ("bounds", "length", "other", "allowed"),
    [
        (Bounds(), 0, 5, False),
        (Bounds(), 1, 500, True),
        (Bounds(min_length=0), 0, 5, True),
        (Bounds(min_length=3), 2, 5, False),
        (Bounds(min_length=3), 3, 5, True),
        (Bounds(max_length=4), 4, 5, True),
        (Bounds(max_length=4), 5, 5, False),
        (Bounds(max_ratio=1.5), 6, 4, True),
        (Bounds(max_ratio=1.5), 4, 6, True),
        (Bounds(max_ratio=1.5), 7, 4, False),
        (Bounds(max_ratio=1.5), 4, 7, False),
        (Bounds(0, None, 2.0), 0, 2, True),
        (Bounds(0, None, 2.0), 0, 3, False),
    ],
)
def test_bounds(bounds: Bounds, length: int, other: int, allowed: bool) -> None:
    assert bounds.allow(length, other) is allowed
