"""Rows of a teacher store in memory: one per target token, its K entries and what is outside of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TopKRows:
    """What the teacher predicts for some target tokens.

    ``ids`` (tokens, K); ``logprobs`` (tokens, K): theirs, descending; ``log_tail`` (tokens,): log of the probability
    of all other symbols; ``gold_logprob`` (tokens,): of the target token, None in a store of format 1.
    """

    ids: np.ndarray
    logprobs: np.ndarray
    log_tail: np.ndarray
    gold_logprob: np.ndarray | None = None

    @classmethod
    def without_teacher(cls, num_tokens: int, k: int) -> TopKRows:
        """Return rows that say: the teacher was not asked."""
        return cls(
            ids=np.zeros((num_tokens, k), dtype=np.int64),
            logprobs=np.full((num_tokens, k), -np.inf, dtype=np.float16),
            log_tail=np.zeros(num_tokens, dtype=np.float16),
            gold_logprob=np.full(num_tokens, -np.inf, dtype=np.float16),
        )

    @classmethod
    def concatenated(cls, parts: Sequence[TopKRows]) -> TopKRows:
        """Return the rows of all ``parts``; without ``gold_logprob`` where a part has none."""
        golds = [part.gold_logprob for part in parts]
        known = [gold for gold in golds if gold is not None]
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.logprobs for part in parts]),
            np.concatenate([part.log_tail for part in parts]),
            np.concatenate(known) if len(known) == len(golds) else None,
        )

    @property
    def has_teacher(self) -> np.ndarray:
        """Whether the teacher was asked for each token: (tokens,) bool."""
        return np.asarray(~np.isneginf(self.logprobs).all(1))

    def soft_targets(self, temperature: float) -> np.ndarray:
        """Return the softmax over the K entries at ``temperature``: (tokens, K) float64, each row sums to 1.

        What :func:`bertkd_fairseq.loss.bert_kd_loss` distils (paper, equation 4); for rows that have a teacher.
        """
        logprobs = self.logprobs.astype(np.float64)
        weights = np.exp((logprobs - logprobs.max(1, keepdims=True)) / temperature)
        normalized: np.ndarray = weights / weights.sum(1, keepdims=True)
        return normalized

    def __getitem__(self, where: np.ndarray | slice) -> TopKRows:
        """Return the rows at ``where``, as in numpy."""
        gold = None if self.gold_logprob is None else self.gold_logprob[where]
        return TopKRows(self.ids[where], self.logprobs[where], self.log_tail[where], gold)

    def first(self, k: int) -> TopKRows:
        """Return the first ``k`` entries of every row; the mass of the others joins the tail, in float32."""
        if k == self.ids.shape[1]:
            return self
        outside = [self.logprobs[:, k:], self.log_tail[:, None]]
        log_tail = np.logaddexp.reduce(np.concatenate(outside, axis=1).astype(np.float32), axis=1)
        return TopKRows(self.ids[:, :k], self.logprobs[:, :k], log_tail, self.gold_logprob)

    def put(self, where: np.ndarray, other: TopKRows) -> None:
        """Write ``other``'s rows at the positions ``where`` (n,) of this one."""
        self.ids[where] = other.ids
        self.logprobs[where] = other.logprobs
        self.log_tail[where] = other.log_tail
        if self.gold_logprob is not None:
            self.gold_logprob[where] = other.gold_logprob
