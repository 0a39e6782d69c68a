"""Scores and orders of n-best lists against plain Python."""

from __future__ import annotations

import math
from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.rescore.scoring import Lists, Mix

logprob = st.one_of(st.floats(-50, 0), st.just(-math.inf))
hypothesis = st.tuples(logprob, logprob, st.integers(1, 30))
lists_of = st.lists(st.lists(hypothesis, min_size=1, max_size=5), min_size=1, max_size=6)
mixes = st.builds(Mix, st.sampled_from([0.0, 0.3, 5.0]), st.floats(-1, 3), st.floats(-1, 1))


def arrays(lists: list[list[tuple[float, float, int]]]) -> Lists:
    columns = (np.array(column, dtype=float) for column in zip(*chain(*lists), strict=True))
    return Lists.of(np.array([len(each) for each in lists]), *columns)


def naive(student: float, teacher: float, length: int, mix: Mix) -> float:
    total = student + mix.length_bonus * length
    if mix.weight > 0:
        total += mix.weight * teacher
    return total / length**mix.lenpen


@given(lists_of, mixes)
def test_scores_and_order(lists: list[list[tuple[float, float, int]]], mix: Mix) -> None:
    """Equal ones stay in their order, impossible ones come before what isn't there."""
    made = arrays(lists)
    scores, order, best = made.scores(mix), made.order(mix), made.best(mix)
    for row, one in enumerate(lists):
        expected = [naive(*each, mix) for each in one]
        np.testing.assert_allclose(scores[row, : len(one)], expected, rtol=1e-12)
        exact = scores[row, : len(one)].tolist()
        by_hand = sorted(range(len(one)), key=lambda place: -exact[place])
        assert order[row, : len(one)].tolist() == by_hand
        assert best[row] == by_hand[0]


@given(lists_of)
def test_nothing_added_and_nothing_divided_is_the_students_order(
    lists: list[list[tuple[float, float, int]]],
) -> None:
    made = arrays(lists)
    student = [sorted(each, key=lambda one: -one[0]) for each in lists]
    order = made.order(Mix(0.0, 0.0, 0.0))
    assert [[lists[i][j] for j in order[i][: len(lists[i])]] for i in range(len(lists))] == student


def test_a_list_with_a_hypothesis_without_teacher_is_ordered_by_the_student_alone() -> None:
    made = Lists.of(
        np.array([2, 2]),
        np.array([-1.0, -2.0, -1.0, -2.0]),
        np.array([-9.0, np.nan, -9.0, -1.0]),
        np.array([4, 4, 4, 4]),
    )
    assert made.order(Mix(1.0, 0.0, 0.0)).tolist() == [[0, 1], [1, 0]]
    assert made.scores(Mix(1.0, 0.0, 0.0)).tolist() == [[-1.0, -2.0], [-10.0, -3.0]]
