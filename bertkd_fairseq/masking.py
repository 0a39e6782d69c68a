"""Which target tokens the teacher has to predict: pure functions of lengths and random numbers.

Positions count the target's tokens, the closing EOS included; the source is never masked (paper, section 3.1).
"""

from __future__ import annotations

import numpy as np

NUM_MASKS = 7
"""Copies of a pair at dump time: one position in seven is masked, about the 15% of training."""

MASK_RATE = 0.15
"""Share of target tokens masked during training, as in BERT."""

_MIN_LENGTH_MESSAGE = "`length` must be at least 1 (EOS counts), but is {} instead."


def random_masks(
    length: int, generator: np.random.Generator, rate: float = MASK_RATE
) -> np.ndarray:
    """Draw the masked positions of one target for training (stage 1, paper section 3.1).

    Every token is masked with probability ``rate``, drawn again until at least one is.

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

    They depend on nothing else, so that masks are the same on any number of workers and after a resume.
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
