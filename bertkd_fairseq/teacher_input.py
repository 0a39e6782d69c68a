"""What the teacher reads: ``[CLS] source [SEP] target [SEP]`` in fairseq ids, packed into one padded batch.

fairseq closes source and target with EOS already, which the teacher embeds as ``[SEP]`` (paper, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

# One length, or an array of them.
Length = TypeVar("Length", int, np.ndarray)

MAX_POSITIONS = 512
"""Positions that the published BERTs have."""

_SHORTEST = 2  # one token and EOS


@dataclass(frozen=True)
class TeacherInput:
    """A batch of N pairs, S positions long.

    ``tokens`` (N, S) int64 fairseq ids; ``token_types`` (N, S) int64, 1 on the target;
    ``masked`` (N, S) bool, the positions that read as ``[MASK]``; ``asked`` (N, S) bool, those of them to predict.
    """

    tokens: np.ndarray
    token_types: np.ndarray
    masked: np.ndarray
    asked: np.ndarray

    @property
    def gold(self) -> np.ndarray:
        """The fairseq ids at the positions to predict, row by row: (asked,)."""
        return self.tokens[self.asked]


def input_length(source_length: Length, target_length: Length) -> Length:
    """Return the positions that a pair takes, EOS counted in both lengths: one more for ``[CLS]``."""
    return 1 + source_length + target_length


SHORTEST_INPUT = input_length(_SHORTEST, _SHORTEST)
"""Positions of the shortest pair: [CLS], one token and EOS on either side."""


@dataclass(frozen=True)
class FittedLengths:
    """What becomes of pairs under a limit of positions, one entry a pair.

    ``positions`` int: what the teacher reads (more than the limit where ``no_room``);
    ``source_cut`` bool: the source loses its end; ``no_room`` bool: not even one source token would fit.
    """

    positions: np.ndarray
    source_cut: np.ndarray
    no_room: np.ndarray


def fitted_lengths(
    source_sizes: np.ndarray,
    target_sizes: np.ndarray,
    max_positions: int,
    *,
    cut_sources: bool = True,
) -> FittedLengths:
    """Return what :func:`fit_source` does to pairs of these lengths (pairs,), EOS counted in both."""
    full = input_length(source_sizes, target_sizes)
    too_long = full > max_positions
    shortest = input_length(np.full_like(source_sizes, _SHORTEST), target_sizes)
    source_cut = too_long & cut_sources & (shortest <= max_positions)
    return FittedLengths(
        np.where(source_cut, max_positions, full), source_cut, too_long & ~source_cut
    )


def fit_source(
    source: np.ndarray, target_length: int, max_positions: int, *, cut_sources: bool = True
) -> np.ndarray | None:
    """Cut ``source`` (its EOS stays) so that the whole target fits.

    None if not even one source token would fit, or if sources aren't to be cut.
    """
    room = max_positions - input_length(0, target_length)
    if len(source) <= room:
        return source
    if room < _SHORTEST or not cut_sources:
        return None
    return np.concatenate([source[: room - 1], source[-1:]])


def pack_pairs(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    bos: int,
    pad: int,
    asks: Sequence[np.ndarray] | None = None,
) -> TeacherInput:
    """Pack pairs, padded on the right.

    ``masks[i]`` (L_i,) bool says which tokens of ``targets[i]`` are hidden, and ``asks[i]`` which of these to predict:
    all if not given.
    """
    lengths = [input_length(len(s), len(t)) for s, t in zip(sources, targets, strict=True)]
    shape = (len(lengths), max(lengths))
    tokens = np.full(shape, pad, dtype=np.int64)
    token_types = np.zeros(shape, dtype=np.int64)
    masked, asked = np.zeros((2, *shape), dtype=bool)
    tokens[:, 0] = bos
    for row, (source, target, mask, ask) in enumerate(
        zip(sources, targets, masks, masks if asks is None else asks, strict=True)
    ):
        start, end = input_length(len(source), 0), input_length(len(source), len(target))
        tokens[row, 1:start] = source
        tokens[row, start:end] = target
        token_types[row, start:end] = 1
        masked[row, start:end] = mask
        asked[row, start:end] = ask
    return TeacherInput(tokens, token_types, masked, asked)
