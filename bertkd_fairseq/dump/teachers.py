"""What a mixture asks of each of its teachers."""

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
    """A sentence pair: ids (S,) and (L,), EOS included, the block's rows that it fills (L,), and its draws (L, n)."""

    source: np.ndarray
    target: np.ndarray
    rows: np.ndarray
    uniforms: np.ndarray

    @property
    def gold(self) -> np.ndarray:
        """What is asked for: every target token (L,)."""
        return self.target

    def __len__(self) -> int:
        return max(len(self.source), len(self.target))


class TooLongFor(NamedTuple):
    """Which pairs are too long for a teacher, (pairs,) bool: their source is cut, or it isn't asked about them."""

    source_cut: np.ndarray
    no_room: np.ndarray


class Teacher(Protocol):
    """A model that predicts every target token. V is the target dictionary's size."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the store says of it, and its rows depend on: ``kind``, ``arch``, ``sha256`` and its own settings."""

    @property
    def positions(self) -> str:
        """Its longest input, for messages."""

    @property
    def can_predict(self) -> np.ndarray:
        """Which symbols may get a probability above 0: (V,) bool."""

    def too_long(
        self, source_sizes: np.ndarray, target_sizes: np.ndarray, *, cut_sources: bool
    ) -> TooLongFor:
        """Return what becomes of pairs of these lengths (pairs,), EOS counted in both."""

    def prepare(self, device: torch.device, precision: str, max_tokens: int) -> None:
        """Move to ``device``; compute in ``precision`` except for the output layer, which is always float32."""

    def log_probs(self, pairs: Sequence[Pair]) -> Tensor:
        """Return log-probabilities of every symbol at every target token, pair after pair: (rows, V) float32."""


@dataclass(frozen=True)
class SideLimits:
    """The tokens of source and target, EOS included, that a left-to-right model has positions for."""

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
        """Return ``source`` without the end that has no position; its EOS stays."""
        if len(source) <= self.source:
            return source
        return np.concatenate([source[: self.source - 1], source[-1:]])


class LimitedBySide:
    """What a left-to-right teacher says of its longest input."""

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
    """Return what a model's body runs under."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype_of(precision))


def in_float32(layer: torch.nn.Module) -> None:
    """Let an output layer compute in float32 under autocast too: half precision would round the logits' differences."""
    forward = layer.forward

    def exact(hidden: Tensor) -> Any:
        with torch.autocast(hidden.device.type, enabled=False):
            return forward(hidden.float())

    layer.forward = exact  # type: ignore[method-assign]
