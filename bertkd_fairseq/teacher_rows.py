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
    ``log_tail``: (N, T) float, the log of the teacher's probability outside the K entries. ``gold_logprob``: (N, T)
    float, the log of its probability of the target token; None if the store is of format 1.
    """

    ids: Tensor
    logprobs: Tensor
    log_tail: Tensor
    gold_logprob: Tensor | None = None

    @classmethod
    def without_teacher(cls, target: Tensor, k: int = 1) -> TeacherRows:
        """Return rows in which no token of ``target`` (N, T) has a teacher."""
        shape = (*target.shape, k)
        logprobs = torch.full(shape, -torch.inf, dtype=torch.float16, device=target.device)
        log_tail = torch.zeros_like(target, dtype=torch.float16)
        gold_logprob = torch.full_like(log_tail, -torch.inf)
        return cls(target.new_zeros(shape), logprobs, log_tail, gold_logprob)

    @classmethod
    def from_sample(cls, sample: Mapping[str, Any]) -> TeacherRows | None:
        """Return the rows of a batch; None if it has none, as in validation."""
        if f"{_PREFIX}ids" not in sample:
            return None
        return cls(*(sample.get(f"{_PREFIX}{name}") for name in cls._fields))  # type: ignore[arg-type]

    def to_sample(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of the batch with these rows in it."""
        known = {
            f"{_PREFIX}{name}": rows for name, rows in self._asdict().items() if rows is not None
        }
        return {**sample, **known}

    def only(self, chosen: Tensor) -> TeacherRows:
        """Return these rows without a teacher where ``chosen`` (bool, of the shape of ``log_tail``) is false."""
        return self._replace(logprobs=self.logprobs.masked_fill(~chosen.unsqueeze(-1), -torch.inf))

    def map(self, function: Callable[[Tensor], Tensor]) -> TeacherRows:
        """Return rows in which ``function`` was applied to each of the tensors."""
        return TeacherRows(*(None if rows is None else function(rows) for rows in self))  # type: ignore[arg-type]
