"""Masks of the teacher's training (stage 1) and of the dump (stage 2)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.masking import (
    Future,
    Questions,
    TrainingMasks,
    WordMarks,
    hide_future,
    random_masks,
    rotating_masks,
    rotating_words,
    sentence_generator,
)

# Symbols below 10 open words, those from 10 on go on with one; symbol 5 also joins the next one.
MARKS = WordMarks(np.arange(20) < 10, np.arange(20) == 5)
targets = st.lists(st.integers(3, 19), min_size=1, max_size=14).map(np.array)
futures = st.one_of(
    st.builds(Future, rate=st.floats(0.01, 1)), st.builds(Future, window=st.integers(0, 5))
)


def words_of(target: np.ndarray, marks: WordMarks | None) -> list[int]:
    """The number of each token's unit, the naive way."""
    numbers: list[int] = []
    for position, symbol in enumerate(target):
        goes_on = marks and position and (symbol >= 10 or target[position - 1] == 5)
        numbers.append((numbers[-1] + (not goes_on)) if position else 0)
    return numbers


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


@given(
    target=targets,
    future=st.one_of(st.just(Future()), futures),
    marks=st.sampled_from([None, MARKS]),
    num_masks=st.integers(1, 8),
    sentence=st.integers(0, 99),
)
def test_every_token_is_asked_for_exactly_once_and_hidden_where_it_is(
    target, future: Future, marks, num_masks: int, sentence: int
) -> None:
    questions = list(Questions(num_masks, future, 3, marks).of(target, sentence))
    assert sum(question.asked.astype(int) for question in questions).tolist() == [1] * len(target)
    for question in questions:
        assert question.asked.any()
        assert not (question.asked & ~question.hidden).any()


@given(target=targets, future=futures, marks=st.sampled_from([None, MARKS]))
def test_with_the_future_hidden_all_before_is_seen_and_no_later_word_is_split(
    target, future: Future, marks
) -> None:
    words = words_of(target, marks)
    questions = list(Questions(future=future, marks=marks).of(target, 0))
    assert len(questions) == len(target)
    for position, (hidden, asked) in enumerate(questions):
        assert asked.tolist() == [i == position for i in range(len(target))]
        assert not hidden[:position].any()
        for later in range(position, len(target)):
            same = [hidden[i] for i in range(position, len(target)) if words[i] == words[later]]
            assert len(set(same)) == 1
            if words[later] == words[position]:
                assert hidden[later]
            elif future.window is not None:
                assert hidden[later] == (words[later] > words[position] + future.window)


@given(target=targets, num_masks=st.integers(1, 8))
def test_masked_words_are_hidden_from_the_piece_asked_for_to_their_end(
    target, num_masks: int
) -> None:
    words = words_of(target, MARKS)
    sizes = np.bincount(words)
    questions = list(rotating_words(MARKS.starts(target), num_masks))
    # As few copies as the longest word of each mask needs.
    assert len(questions) == sum(
        max(sizes[m::num_masks]) for m in range(min(num_masks, len(sizes)))
    )
    for hidden, asked in questions:
        chosen = {words[i] for i in np.flatnonzero(hidden)}
        assert len({word % num_masks for word in chosen}) == 1
        for word in range(len(sizes)):
            parts = [i for i in range(len(target)) if words[i] == word]
            begun = [bool(hidden[i]) for i in parts]
            assert begun == sorted(begun)
            asked_for = [i for i in parts if asked[i]]
            assert asked_for == [i for i in parts if hidden[i]][:1]


@given(target=targets, num_masks=st.integers(1, 8))
def test_without_hiding_the_questions_are_the_masks_of_the_paper(target, num_masks: int) -> None:
    questions = list(Questions(num_masks).of(target, 4))
    masks = rotating_masks(len(target), num_masks)
    assert [question.hidden.tolist() for question in questions] == masks.tolist()
    assert [question.asked.tolist() for question in questions] == masks.tolist()


@pytest.mark.parametrize("marks", [None, MARKS])
@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_of_the_words_after_it_a_question_hides_the_rate(rate: float, marks) -> None:
    target = np.array([3, 12, 4, 5, 6, 7, 13, 14, 8, 9, 2])
    words = words_of(target, marks)
    hidden, total = 0, 0
    for sentence in range(300):
        for position, question in enumerate(
            Questions(future=Future(rate), marks=marks).of(target, sentence)
        ):
            for word in range(words[position] + 1, words[-1] + 1):
                hidden += bool(question.hidden[words.index(word)])
                total += 1
    # Five standard errors of a binomial.
    assert abs(hidden / total - rate) < 5 * np.sqrt(rate * (1 - rate) / total)


def test_what_is_hidden_depends_on_seed_sentence_and_position_alone() -> None:
    target, other = np.arange(3, 15), np.arange(15, 3, -1)

    def hidden(seed: int, sentence: int, target: np.ndarray = target) -> list[list[bool]]:
        questions = Questions(future=Future(0.5), seed=seed)
        return [question.hidden.tolist() for question in questions.of(target, sentence)]

    assert hidden(1, 2) == hidden(1, 2) == hidden(1, 2, other)
    assert hidden(1, 2) != hidden(2, 2)
    assert hidden(1, 2) != hidden(1, 3)
    # Not the same draws for every position: one that two positions share would hide the same.
    tails = {tuple(row[-4:]) for row in hidden(1, 2)[:-4]}
    assert len(tails) > 2


def test_a_rate_of_one_hides_all_that_follows() -> None:
    hidden = hide_future(np.ones(5, bool), 2, Future(1.0), np.random.default_rng(0))
    assert hidden.tolist() == [False, False, True, True, True]


@given(target=targets, seed=st.integers(0, 2**31 - 1))
def test_training_masks_are_the_paper_s_if_nothing_is_said(target, seed: int) -> None:
    hidden, asked = TrainingMasks(0.3).draw(target, np.random.default_rng(seed))
    expected = random_masks(len(target), np.random.default_rng(seed), 0.3).tolist()
    assert hidden.tolist() == asked.tolist() == expected


@given(target=targets, seed=st.integers(0, 2**31 - 1))
def test_training_hides_words_from_a_piece_on(target, seed: int) -> None:
    words = words_of(target, MARKS)
    hidden, asked = TrainingMasks(0.5, marks=MARKS).draw(target, np.random.default_rng(seed))
    assert hidden.any()
    assert hidden.tolist() == asked.tolist()
    for word in set(words):
        parts = [bool(hidden[i]) for i in range(len(target)) if words[i] == word]
        assert parts == sorted(parts)


def test_training_asks_for_each_piece_of_a_word_as_often() -> None:
    """A word of three pieces, hidden from its first, second or third on."""
    target = np.array([3, 11, 12])
    generator = np.random.default_rng(0)
    draws = [TrainingMasks(0.5, marks=MARKS).draw(target, generator).hidden for _ in range(3000)]
    counts = np.bincount([int(hidden.sum()) for hidden in draws], minlength=4)
    assert counts[0] == 0
    assert (abs(counts[1:] - 1000) < 5 * np.sqrt(3000 * 2 / 9)).all()


@given(target=targets, future=st.one_of(st.none(), futures), seed=st.integers(0, 2**31 - 1))
def test_training_asks_as_the_dump_does(target, future: Future | None, seed: int) -> None:
    hidden, asked = TrainingMasks(0.3, future, MARKS).draw(target, np.random.default_rng(seed))
    position = int(asked.argmax())
    assert asked.tolist() == [i == position for i in range(len(target))]
    assert int(hidden.argmax()) == position
    words = words_of(target, MARKS)
    for word in range(words[position], words[-1] + 1):
        assert len({bool(hidden[i]) for i in range(position, len(target)) if words[i] == word}) == 1


def test_a_drawn_rate_hides_half_and_its_token_is_any() -> None:
    target, draws = np.arange(3, 11), 4000
    generator = np.random.default_rng(0)
    drawn = [TrainingMasks(future=None).draw(target, generator) for _ in range(draws)]
    positions = np.bincount([int(asked.argmax()) for _, asked in drawn], minlength=8)
    assert (abs(positions - draws / 8) < 5 * np.sqrt(draws * 7 / 64)).all()
    # Of the last token, which only one that isn't it can hide: half, some rates less and some more.
    last = np.array([hidden[-1] for hidden, asked in drawn if not asked[-1]])
    assert abs(last.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(last))
