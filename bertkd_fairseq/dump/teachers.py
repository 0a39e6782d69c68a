"""The interface of the teachers in a mixture, and what left-to-right teachers share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from bertkd_fairseq.precision import dtype_of

SIDES = ("source", "target")


@dataclass(frozen=True)
class Pair:
    """A sentence pair.

    ``source`` (S,) and ``target`` (L,): ids, EOS included. ``rows`` (L,): the rows of the block that the target fills.
    ``uniforms`` (L, n): their random numbers.
    ``sentence``: its number in the split. What is hidden at random depends on it.
    """

    source: np.ndarray
    target: np.ndarray
    rows: np.ndarray
    uniforms: np.ndarray
    sentence: int = 0

    @property
    def gold(self) -> np.ndarray:
        """What is asked for: every target token (L,)."""
        return self.target

    def __len__(self) -> int:
        return max(len(self.source), len(self.target))


class TooLongFor(NamedTuple):
    """Which pairs are too long for a teacher. Both are (pairs,) bool.

    ``source_cut``: pairs whose source is cut. ``no_room``: pairs that the teacher isn't asked about.
    """

    source_cut: np.ndarray
    no_room: np.ndarray


class Teacher(Protocol):
    """A model that predicts every target token. V is the target dictionary's size."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the store records of it, because rows depend on it: ``kind``, ``arch``, ``sha256`` and more."""

    @property
    def positions(self) -> str:
        """Its longest input, for messages."""

    @property
    def can_predict(self) -> np.ndarray:
        """Which symbols can get a probability above 0: (V,) bool."""

    def too_long(
        self, source_sizes: np.ndarray, target_sizes: np.ndarray, *, cut_sources: bool
    ) -> TooLongFor:
        """Return which pairs of these lengths (pairs,) are too long; both lengths include EOS."""

    def prepare(self, device: torch.device, precision: str, max_tokens: int) -> None:
        """Move to ``device``, to compute in ``precision``. The output layer always computes in float32."""

    def log_probs(self, pairs: Sequence[Pair]) -> Tensor:
        """Return the log-probabilities of all symbols at every target token, pair after pair: (rows, V) float32."""


@dataclass(frozen=True)
class SideLimits:
    """The largest number of source tokens and of target tokens, EOS included, in a left-to-right model."""

    source: int
    target: int

    def __str__(self) -> str:
        return f"{self.source} source and {self.target} target"

    def too_long(
        self, source_sizes: np.ndarray, target_sizes: np.ndarray, *, cut_sources: bool
    ) -> TooLongFor:
        """As :meth:`Teacher.too_long`."""
        long_source, long_target = source_sizes > self.source, target_sizes > self.target
        no_room = long_target if cut_sources else long_target | long_source
        return TooLongFor(long_source & ~no_room, no_room)

    def cut(self, source: np.ndarray) -> np.ndarray:
        """Return ``source``, cut at its end if it is too long. Its EOS stays."""
        if len(source) <= self.source:
            return source
        return np.concatenate([source[: self.source - 1], source[-1:]])


class LimitedBySide:
    """The part of :class:`Teacher` about the longest input, for left-to-right teachers."""

    limits: SideLimits

    @property
    def positions(self) -> str:
        """As :attr:`Teacher.positions`."""
        return str(self.limits)

    def too_long(
        self, source_sizes: np.ndarray, target_sizes: np.ndarray, *, cut_sources: bool
    ) -> TooLongFor:
        """As :meth:`Teacher.too_long`."""
        return self.limits.too_long(source_sizes, target_sizes, cut_sources=cut_sources)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return the context in which a model runs, to compute in ``precision``."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype_of(precision))


def in_float32(layer: torch.nn.Module) -> None:
    """Make an output layer compute in float32 under autocast, too. Half precision would round differences of logits."""
    forward = layer.forward

    def exact(hidden: Tensor) -> Any:
        with torch.autocast(hidden.device.type, enabled=False):
            return forward(hidden.float())

    layer.forward = exact  # type: ignore[method-assign]
