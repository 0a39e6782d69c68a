"""Masks of the teacher's training (stage 1) and of the dump (stage 2)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.masking import random_masks, rotating_masks, sentence_generator


@given(length=st.integers(1, 60), num_masks=st.integers(1, 12))
def test_rotating_masks_follow_their_definition(length: int, num_masks: int) -> None:
    masks = rotating_masks(length, num_masks)
    assert masks.shape == (min(length, num_masks), length)
    for copy in range(masks.shape[0]):
        for position in range(length):
            # Copy m masks m, m + num_masks, m + 2 num_masks, ...
            assert masks[copy, position] == (position in range(copy, length, num_masks))


@given(length=st.integers(1, 200), num_masks=st.integers(1, 12))
def test_rotating_masks_cover_every_position_exactly_once(length: int, num_masks: int) -> None:
    assert (rotating_masks(length, num_masks).sum(0) == 1).all()


def test_rotating_masks_of_a_short_target_mask_one_position_each() -> None:
    np.testing.assert_array_equal(rotating_masks(3), np.eye(3, dtype=bool))


@given(length=st.integers(1, 80), seed=st.integers(0, 2**31 - 1))
def test_random_masks_always_mask_something(length: int, seed: int) -> None:
    mask = random_masks(length, np.random.default_rng(seed))
    assert mask.shape == (length,)
    assert mask.dtype == bool
    assert mask.any()


def test_random_masks_mask_at_the_rate_given_that_one_is_masked() -> None:
    generator = np.random.default_rng(0)
    for length, rate in [(4, 0.15), (40, 0.15), (10, 0.5)]:
        draws = 20_000
        mean = np.mean([random_masks(length, generator, rate).mean() for _ in range(draws)])
        expected = rate / (1 - (1 - rate) ** length)  # a binomial without its zero
        # Five standard errors of a mean of draws within [0, 1].
        assert abs(mean - expected) < 5 * 0.5 / np.sqrt(draws)


def test_random_masks_cover_the_last_position_too() -> None:
    """EOS counts among the tokens that may be masked."""
    masks = [random_masks(5, np.random.default_rng(seed)) for seed in range(200)]
    assert np.any(masks, axis=0).all()


def test_masks_depend_on_seed_epoch_and_sentence_alone() -> None:
    def draw(*key: int) -> list[bool]:
        return random_masks(40, sentence_generator(*key)).tolist()

    assert draw(1, 2, 3) == draw(1, 2, 3)
    others = [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4), draw(3, 2, 1)]
    assert all(other != draw(1, 2, 3) for other in others)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rotating_masks(0), "`length` must be at least 1 (EOS counts), but is 0 instead."),
        (lambda: rotating_masks(3, 0), "`num_masks` must be at least 1, but is 0 instead."),
        (
            lambda: random_masks(0, np.random.default_rng(0)),
            "`length` must be at least 1 (EOS counts), but is 0 instead.",
        ),
        (
            lambda: random_masks(3, np.random.default_rng(0), 0.0),
            "`rate` must be in (0, 1], but is 0.0 instead.",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message
