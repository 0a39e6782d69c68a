"""The teacher's rows for the target tokens of a batch, and their keys in fairseq's batches, which are dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

_PREFIX = "teacher_"


class TeacherRows(NamedTuple):
    """The store's rows for the target tokens (N, T) of a batch.

    ``ids``: (N, T, K) int64. ``logprobs``: (N, T, K) float. A token has no teacher if all of its K are ``-inf``.
    ``log_tail``: (N, T) float, the log of the teacher's probability outside the K entries.
    """

    ids: Tensor
    logprobs: Tensor
    log_tail: Tensor

    @classmethod
    def without_teacher(cls, target: Tensor, k: int = 1) -> TeacherRows:
        """Return rows in which no token of ``target`` (N, T) has a teacher."""
        shape = (*target.shape, k)
        logprobs = torch.full(shape, -torch.inf, dtype=torch.float16, device=target.device)
        log_tail = torch.zeros_like(target, dtype=torch.float16)
        return cls(target.new_zeros(shape), logprobs, log_tail)

    @classmethod
    def from_sample(cls, sample: Mapping[str, Any]) -> TeacherRows | None:
        """Return the rows of a batch; None if it has none, as in validation."""
        if f"{_PREFIX}ids" not in sample:
            return None
        return cls(*(sample[f"{_PREFIX}{name}"] for name in cls._fields))

    def to_sample(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of the batch with these rows in it."""
        return {**sample, **{f"{_PREFIX}{name}": rows for name, rows in self._asdict().items()}}

    def map(self, function: Callable[[Tensor], Tensor]) -> TeacherRows:
        """Return rows in which ``function`` was applied to each of the three tensors."""
        return TeacherRows(*map(function, self))
