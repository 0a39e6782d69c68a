"""The teacher's rows for the target tokens of a batch, and their keys in fairseq's batches, which are dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from bertkd_fairseq.errors import must_be

_PREFIX = "teacher_"


class StoredRows(Protocol):
    """Rows as a store has them: ``ids`` (R, K), ``logprobs`` (R, K), ``log_tail`` (R,) and ``gold_logprob`` (R,)."""

    @property
    def ids(self) -> np.ndarray: ...
    @property
    def logprobs(self) -> np.ndarray: ...
    @property
    def log_tail(self) -> np.ndarray: ...
    @property
    def gold_logprob(self) -> np.ndarray | None: ...


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
    def at(cls, tokens: Tensor, rows: StoredRows) -> TeacherRows:
        """Return stored rows in the places of a batch's target tokens. Elsewhere there is no teacher.

        :param tokens: (N, T) bool, true where the batch has tokens and no padding: R places in all.
        :param rows: the R rows of all sentences, one after the other, as
            :meth:`~bertkd_fairseq.topk_store.TopKStore.sentences` returns them.
        :raises ValueError: if there aren't as many rows as tokens.
        """
        # Rows are looked up, which numpy does faster than placing them. Padding finds an additional last row.
        places = np.flatnonzero(tokens.numpy())
        if len(places) != len(rows.ids):
            wanted = f"{len(places)}, one for each token"
            raise ValueError(must_be("number of rows", wanted, len(rows.ids)))
        where = np.full(tokens.numel(), len(places))
        where[places] = np.arange(len(places))

        def placed(stored: np.ndarray, elsewhere: float) -> Tensor:
            padding = ((0, 1), *((0, 0),) * (stored.ndim - 1))
            looked_up = np.pad(stored, padding, constant_values=elsewhere).take(where, axis=0)
            return torch.from_numpy(looked_up).view(*tokens.shape, *stored.shape[1:])

        gold = rows.gold_logprob
        return cls(
            ids=placed(rows.ids, 0).long(),
            logprobs=placed(rows.logprobs, -np.inf),
            log_tail=placed(rows.log_tail.astype(np.float16), 0),
            gold_logprob=None if gold is None else placed(gold, -np.inf),
        )

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
