"""Mix several teachers: the weighted mean of their probabilities, as ``fairseq-generate`` averages an ensemble."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bertkd_fairseq.dump.rows import BlockDump, gold_of
from bertkd_fairseq.dump.scores import Score, TeacherScore
from bertkd_fairseq.dump.teachers import Pair, Teacher
from bertkd_fairseq.topk_store.rows import TopKRows


@dataclass(kw_only=True)
class MixtureDump(BlockDump[Pair]):
    """Asks all ``teachers`` about the same pairs, and stores the mean of their probabilities by ``weights``.

    A batch has at most ``max_tokens`` positions of the longer side, padding included, and so at most as many rows of V
    probabilities. A pair that is too long for one of the teachers gets no entries.
    """

    teachers: Sequence[Teacher]
    weights: Sequence[float]
    eos: int

    def no_scores(self) -> list[TeacherScore]:
        """Return scores of 0 tokens for each teacher and then for the mixture; an empty list for a single teacher."""
        several = len(self.teachers) > 1
        return [TeacherScore()] * (len(self.teachers) + 1) if several else []

    def _copies_of(self, sentence: int, target: np.ndarray, first_row: int) -> Iterator[Pair]:
        source = self.source_of(sentence)
        sizes = (np.array([len(source)]), np.array([len(target)]))
        limits = (t.too_long(*sizes, cut_sources=self.cut_sources) for t in self.teachers)
        if not any(limit.no_room[0] for limit in limits):
            rows = np.arange(first_row, first_row + len(target))
            yield Pair(source, target, rows, self.draws(sentence, len(target)), sentence)

    def ask_and_score(self, batch: Sequence[Pair]) -> tuple[TopKRows, list[TeacherScore]]:
        """Return the mixture's predictions, pair after pair, and the scores of each teacher and of the mixture."""
        mixed, scores = self.log_probs(batch)
        return self.rows_of(mixed, batch), scores

    def log_probs(self, batch: Sequence[Pair]) -> tuple[Tensor, list[TeacherScore]]:
        """Return the mixture's log-probabilities, (rows, V) float32, and scores as in :meth:`no_scores`."""
        gold = gold_of(batch, self.device)
        several, scores = len(self.teachers) > 1, list[TeacherScore]()

        def hear(log_probs: Tensor) -> None:
            if several:
                scores.append(score(log_probs, gold, self.eos))

        mixed = mixed_log_probs(self.teachers, self.weights, batch, hear)
        hear(mixed)
        return mixed, scores


@torch.inference_mode()
def mixed_log_probs(
    teachers: Sequence[Teacher],
    weights: Sequence[float],
    batch: Sequence[Pair],
    hear: Callable[[Tensor], object] = lambda log_probs: None,
) -> Tensor:
    """Return the log of the mean of the teachers' probabilities by ``weights``, (rows, V) float32.

    ``hear`` is called with the log-probabilities of each teacher before they are mixed.
    """
    mixed = torch.full((), -torch.inf)
    for teacher, weight in zip(teachers, weights, strict=True):
        log_probs = teacher.log_probs(batch)  # (rows, V)
        hear(log_probs)
        mixed = torch.logaddexp(mixed.to(log_probs.device), log_probs + math.log(weight))
    return mixed


def score(log_probs: Tensor, gold: Tensor, eos: int) -> TeacherScore:
    """Return the score of log-probabilities (rows, V) for the target tokens ``gold`` (rows,)."""
    right = log_probs.argmax(1).eq(gold)
    logprob = log_probs.gather(1, gold[:, None]).squeeze(1).double()

    def over(where: Tensor) -> Score:
        chosen = logprob[where]
        possible = chosen[chosen > -torch.inf]
        return Score(
            tokens=len(chosen),
            right=int(right[where].sum()),
            impossible=len(chosen) - len(possible),
            logprob=float(possible.sum()),
        )

    is_eos = gold.eq(eos)
    return TeacherScore(over(~is_eos), over(is_eos))
