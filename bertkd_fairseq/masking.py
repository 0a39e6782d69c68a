"""Choose the target tokens that the teacher has to predict, by pure functions of lengths and random numbers.

Positions count the tokens of the target, the closing EOS included. The source is never masked (paper, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

NUM_MASKS = 7
"""The number of copies of a pair in the dump. Each masks one position in seven, about the 15% of training."""

MASK_RATE = 0.15
"""The share of target tokens that training masks, as in BERT."""

HIDING_SEED = 1
"""The seed of the draws that hide the future in the dump, if none is given."""

PIECE, WORD = UNITS = ("piece", "word")
"""The units that are hidden as a whole."""

UNIFORM = "uniform"
"""Given in place of a rate: each sentence draws a rate of its own."""

_MIN_LENGTH_MESSAGE = "`length` must be at least 1 (EOS counts), but is {} instead."


def random_masks(
    length: int, generator: np.random.Generator, rate: float = MASK_RATE
) -> np.ndarray:
    """Draw the masked positions of one target for training (stage 1, paper section 3.1).

    Every token is masked with probability ``rate``. The draw is repeated until at least one token is masked.

    Returns a bool array of shape ``(length,)``.

    :raises ValueError: if ``length`` is below 1 or ``rate`` is outside (0, 1].
    """
    if length < 1:
        raise ValueError(_MIN_LENGTH_MESSAGE.format(length))
    if not 0.0 < rate <= 1.0:
        raise ValueError(f"`rate` must be in (0, 1], but is {rate} instead.")
    while True:
        mask = generator.random(length) < rate
        if mask.any():
            return mask


def sentence_generator(seed: int, epoch: int, sentence: int) -> np.random.Generator:
    """Return the random numbers of one sentence in one epoch.

    They depend on nothing else. So masks are the same on any number of workers, and after a resume.
    """
    return np.random.default_rng([seed, epoch, sentence])


def rotating_masks(length: int, num_masks: int = NUM_MASKS) -> np.ndarray:
    """Return masks that cover every target position exactly once (stage 2, paper section 3.2).

    Copy ``m`` masks positions ``m``, ``m + num_masks``, ``m + 2 * num_masks``, ...

    Returns a bool array of shape ``(min(length, num_masks), length)``.

    :raises ValueError: if ``length`` or ``num_masks`` is below 1.
    """
    if length < 1:
        raise ValueError(_MIN_LENGTH_MESSAGE.format(length))
    if num_masks < 1:
        raise ValueError(f"`num_masks` must be at least 1, but is {num_masks} instead.")
    copies = min(length, num_masks)
    return np.arange(length)[None, :] % num_masks == np.arange(copies)[:, None]  # (copies, length)


class Question(NamedTuple):
    """The tokens that one copy of a pair hides and asks for, both (L,) bool. ``asked`` is a part of ``hidden``."""

    hidden: np.ndarray
    asked: np.ndarray


class WordMarks(NamedTuple):
    """What the symbols of a dictionary say about words, both (V,) bool.

    ``opens``: the symbol opens a word. ``joins``: the next symbol belongs to the same word.
    """

    opens: np.ndarray
    joins: np.ndarray

    def starts(self, target: np.ndarray) -> np.ndarray:
        """Return which tokens of a target (L,) open a word: (L,) bool. The first one always does."""
        starts: np.ndarray = self.opens[target]
        starts[1:] &= ~self.joins[target[:-1]]
        starts[0] = True
        return starts


def unit_starts(target: np.ndarray, marks: WordMarks | None) -> np.ndarray:
    """Return which tokens of a target (L,) begin a unit: (L,) bool. Units are words, or without ``marks`` tokens."""
    return np.ones(len(target), dtype=bool) if marks is None else marks.starts(target)


@dataclass(frozen=True)
class Future:
    """How much of the future a question hides: each later unit with probability ``rate``, or all but ``window``."""

    rate: float = 0.0
    window: int | None = None

    @property
    def hides(self) -> bool:
        """Whether anything is hidden. If so, every token needs a copy of its own."""
        return self.rate > 0 or self.window is not None


def hide_future(
    starts: np.ndarray, position: int, future: Future, generator: np.random.Generator
) -> np.ndarray:
    """Return which tokens the question for token ``position`` hides: (L,) bool.

    It hides that token, the later pieces of its unit, and the later units that ``future`` chooses. Nothing before the
    token is hidden. ``starts`` (L,) bool: which tokens begin a unit.
    """
    unit = np.cumsum(starts) - 1  # (L,)
    ahead = unit - unit[position]  # (L,) units after that of the token
    if future.window is None:
        hidden = (generator.random(unit[-1] + 1) < future.rate)[unit]
    else:
        hidden = ahead > future.window
    hidden |= ahead == 0
    hidden[:position] = False
    return hidden


def rotating_words(starts: np.ndarray, num_masks: int = NUM_MASKS) -> Iterator[Question]:
    """Yield questions that together ask for every token once. Each is about every ``num_masks``-th word.

    The words are chosen as in :func:`rotating_masks`. The pieces of a word are asked for one after the other. A
    question hides the piece that it asks for and all later ones. It shows the earlier ones, which the student sees,
    too.

    ``starts`` (L,) bool: which tokens begin a word.
    """
    word = np.cumsum(starts) - 1  # (L,)
    piece = _place_in_word(starts)
    for words in rotating_masks(int(word[-1]) + 1, num_masks):
        chosen = words[word]
        for place in range(int(piece[chosen].max()) + 1):
            yield Question(chosen & (piece >= place), chosen & (piece == place))


def _place_in_word(starts: np.ndarray) -> np.ndarray:
    return np.arange(len(starts)) - np.flatnonzero(starts)[np.cumsum(starts) - 1]


@dataclass(frozen=True)
class Questions:
    """The questions of the dump, which ask for each token of a target once.

    They use rotating masks, or hide a part of the future. If the future is hidden, each token needs a copy of its own:
    a copy that hides two tokens would hide the first from the second's left context. Two
    questions can't share a copy at all, because BERT's answer for a token depends on everything that it sees.

    ``marks``: with them units are words, and without them pieces. ``seed``: the seed of the draws.
    """

    num_masks: int = NUM_MASKS
    future: Future = Future()
    seed: int = HIDING_SEED
    marks: WordMarks | None = None

    def of(self, target: np.ndarray, sentence: int) -> Iterator[Question]:
        """Yield the questions about ``target`` (L,). Draws depend only on the seed and the number of the sentence."""
        starts = unit_starts(target, self.marks)
        if self.future.hides:
            for position in range(len(target)):
                # Sampled targets are seeded by two numbers, so three numbers give other draws.
                generator = np.random.default_rng([self.seed, sentence, position + 1])
                asked = np.arange(len(target)) == position
                yield Question(hide_future(starts, position, self.future, generator), asked)
        elif self.marks is not None:
            yield from rotating_words(starts, self.num_masks)
        else:
            for mask in rotating_masks(len(target), self.num_masks):
                yield Question(mask, mask)


@dataclass(frozen=True)
class TrainingMasks:
    """The masks of training: tokens anywhere at ``rate`` (paper), or the future of one token drawn at random.

    ``future``: how the dump hides the future. None: at a rate that is drawn for each sentence. ``marks``: with them
    units are words.
    """

    rate: float = MASK_RATE
    future: Future | None = Future()
    marks: WordMarks | None = None

    def draw(self, target: np.ndarray, generator: np.random.Generator) -> Question:
        """Return a question about ``target`` (L,).

        If the future is hidden, the question asks only for the token that was drawn. Otherwise it asks for all tokens
        that are hidden. A word that is masked by ``rate`` is hidden from one of its pieces on, which is drawn at
        random, because the dump asks for each piece in this way.
        """
        future = Future(rate=1 - generator.random()) if self.future is None else self.future
        starts = unit_starts(target, self.marks)
        if future.hides:
            position = int(generator.integers(len(target)))
            hidden = hide_future(starts, position, future, generator)
            return Question(hidden, np.arange(len(target)) == position)
        mask = random_masks(int(starts.sum()), generator, self.rate)  # (units,)
        if self.marks is not None:
            unit, sizes = np.cumsum(starts) - 1, np.diff([*np.flatnonzero(starts), len(target)])
            first = generator.integers(sizes)  # (units,)
            mask = mask[unit] & (_place_in_word(starts) >= first[unit])
        return Question(mask, mask)
