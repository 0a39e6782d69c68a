"""What the teacher reads: ``[CLS] source [SEP] target [SEP]`` in fairseq ids, packed into one padded batch.

fairseq closes source and target with EOS already, which the teacher embeds as ``[SEP]`` (paper, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

BERT_POSITIONS = 512
"""Positions of the pretrained BERTs."""

_SHORTEST_SOURCE = 2  # one token and EOS

SHORTEST_INPUT = 1 + _SHORTEST_SOURCE + 2
"""Positions of the shortest pair: [CLS], one token and EOS on either side."""


@dataclass(frozen=True)
class TeacherInput:
    """A batch of N pairs, S positions long.

    ``tokens`` (N, S) int64 fairseq ids; ``token_types`` (N, S) int64, 1 on the target;
    ``masked`` (N, S) bool, the positions to predict.
    """

    tokens: np.ndarray
    token_types: np.ndarray
    masked: np.ndarray

    @property
    def gold(self) -> np.ndarray:
        """The fairseq ids at the masked positions, row by row: (masked,)."""
        return self.tokens[self.masked]


Lengths = TypeVar("Lengths", int, np.ndarray)
"""The length of one sentence, or of many: (sentences,)."""


def input_length(source_length: Lengths, target_length: Lengths) -> Lengths:
    """Return the positions that a pair takes, EOS counted in both lengths: one more for ``[CLS]``."""
    return 1 + source_length + target_length


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
    can_cut = 1 + _SHORTEST_SOURCE + target_sizes <= max_positions if cut_sources else False
    source_cut = too_long & can_cut
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
    if room < _SHORTEST_SOURCE or not cut_sources:
        return None
    return np.concatenate([source[: room - 1], source[-1:]])


def pack_pairs(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    bos: int,
    pad: int,
) -> TeacherInput:
    """Pack pairs, padded on the right. ``masks[i]`` (L_i,) bool says which tokens of ``targets[i]`` to predict."""
    lengths = [input_length(len(s), len(t)) for s, t in zip(sources, targets, strict=True)]
    shape = (len(lengths), max(lengths))
    tokens = np.full(shape, pad, dtype=np.int64)
    token_types = np.zeros(shape, dtype=np.int64)
    masked = np.zeros(shape, dtype=bool)
    tokens[:, 0] = bos
    for row, (source, target, mask) in enumerate(zip(sources, targets, masks, strict=True)):
        start, end = 1 + len(source), 1 + len(source) + len(target)
        tokens[row, 1:start] = source
        tokens[row, start:end] = target
        token_types[row, start:end] = 1
        masked[row, start:end] = mask
    return TeacherInput(tokens, token_types, masked)
