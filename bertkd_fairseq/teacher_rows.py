"""The teacher's rows beside the target tokens of a batch; fairseq's batches are dictionaries, whose keys stand here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bertkd_fairseq.errors import must_be

_PREFIX = "teacher_"


class TeacherRows(NamedTuple):
    """What the store has for the target tokens (N, T) of a batch; no teacher where all log-probabilities are ``-inf``.

    ``ids`` (N, T, K) int64; ``logprobs`` (N, T, K) float; ``log_tail`` (N, T) float: log of the teacher's
    probability outside the K entries.
    """

    ids: Tensor
    logprobs: Tensor
    log_tail: Tensor

    @classmethod
    def without_teacher(cls, target: Tensor, k: int = 1) -> TeacherRows:
        """Return rows that say that no token of ``target`` (N, T) has a teacher."""
        shape = (*target.shape, k)
        logprobs = torch.full(shape, -torch.inf, dtype=torch.float16, device=target.device)
        log_tail = torch.zeros_like(target, dtype=torch.float16)
        return cls(target.new_zeros(shape), logprobs, log_tail)

    @classmethod
    def at(
        cls, tokens: Tensor, ids: np.ndarray, logprobs: np.ndarray, log_tail: np.ndarray
    ) -> TeacherRows:
        """Return stored rows in the places of a batch's target tokens; elsewhere there is no teacher.

        ``tokens`` (N, T) bool: where the batch has tokens and no padding, R in all. ``ids`` (R, K), ``logprobs``
        (R, K) and ``log_tail`` (R,): the rows of all sentences, one after the other, as
        :meth:`~bertkd_fairseq.topk_store.TopKStore.sentences` returns them.

        :raises ValueError: if there aren't as many rows as tokens.
        """
        # Rows are looked up, which numpy does faster than placing them; padding finds one row more, the last.
        places = np.flatnonzero(tokens.numpy())
        if len(places) != len(ids):
            raise ValueError(must_be("rows", f"{len(places)}, one for each token", len(ids)))
        where = np.full(tokens.numel(), len(places))
        where[places] = np.arange(len(places))
        no_teacher = ((0, 1), (0, 0))
        ids = np.pad(ids, no_teacher).take(where, axis=0).astype(np.int64)
        logprobs = np.pad(logprobs, no_teacher, constant_values=-np.inf).take(where, axis=0)
        log_tail = np.pad(log_tail.astype(np.float16), (0, 1)).take(where)
        return cls(
            ids=torch.from_numpy(ids).view(*tokens.shape, -1),
            logprobs=torch.from_numpy(logprobs).view(*tokens.shape, -1),
            log_tail=torch.from_numpy(log_tail).view_as(tokens),
        )

    @classmethod
    def from_sample(cls, sample: Mapping[str, Any]) -> TeacherRows | None:
        """Return the rows of a batch, or None if it has none, as in validation."""
        if f"{_PREFIX}ids" not in sample:
            return None
        return cls(*(sample[f"{_PREFIX}{name}"] for name in cls._fields))

    def to_sample(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch with these rows in it."""
        return {**sample, **{f"{_PREFIX}{name}": rows for name, rows in self._asdict().items()}}

    def map(self, function: Callable[[Tensor], Tensor]) -> TeacherRows:
        """Return what ``function`` makes of each of the three."""
        return TeacherRows(*map(function, self))
