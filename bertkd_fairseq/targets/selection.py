"""Select the target tokens that learn from the teacher. The others learn only from their hard label, at full weight.

- ``student-loss`` selects the share of a batch's tokens that the student finds hardest, by its own cross-entropy
  (Selective Knowledge Distillation, arXiv 2105.12967, batch-level selection). CBBGCA (arXiv 2202.13663), which has a
  C-MLM teacher as well, applies a threshold to the same quantity: it selects the words that the student predicts
  without confidence.
- ``teacher-confidence`` selects the same share: the tokens on which the teacher's first guess is most probable.
- ``teacher-right`` selects the tokens on which the teacher's first guess is the label.
- ``better_only`` selects the tokens on which the teacher gives the label a higher probability than the student does.
  There the teacher knows something that the student doesn't. A share is then a share of these tokens.

A share is taken within the batch of one process. So two processes select as one process with ``--update-freq 2`` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ALL, STUDENT_LOSS, TEACHER_CONFIDENCE, TEACHER_RIGHT = SELECTIONS = (
    "all",
    "student-loss",
    "teacher-confidence",
    "teacher-right",
)
SHARE = 0.5
"""The share of the tokens if none is given (arXiv 2105.12967)."""

_CHUNK_ELEMENTS = 1 << 20
# A share of 0.1 of 30 tokens is 3 of them, not 3.0000000000000004.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class TokenSelection:
    """``kind``: one of :data:`SELECTIONS`. ``share``: the share of the tokens, for the second and the third kind."""

    kind: str = ALL
    share: float = SHARE
    better_only: bool = False

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.kind == ALL and not self.better_only

    def chosen(
        self,
        logits: Tensor,
        target: Tensor,
        topk_ids: Tensor,
        topk_logprobs: Tensor,
        gold_logprob: Tensor | None,
    ) -> Tensor:
        """Return which tokens learn from the teacher: (N,) bool.

        A row that is ``-inf`` throughout has no teacher, and is never chosen.

        Shapes: ``logits`` (N, V) of the student, any float dtype; ``target`` (N,) int64; ``topk_ids`` (N, K) int64;
        ``topk_logprobs`` (N, K) float; ``gold_logprob`` (N,) float: the teacher's log-probability of the target. The
        computation is in at least float32.

        :raises ValueError: if ``better_only`` is set but ``gold_logprob`` is missing.
        """
        chosen = topk_logprobs.isneginf().logical_not().any(1)  # (N,)
        if not topk_ids.size(1):
            return chosen
        own = chosen
        if self.better_only or self.kind == STUDENT_LOSS:
            own = label_logprobs(logits, target)
        if self.better_only:
            if gold_logprob is None:
                raise ValueError("`better_only` needs `gold_logprob`, but that is missing.")
            chosen = chosen & (gold_logprob.to(own.dtype) > own)
        confidence, best = topk_logprobs.float().max(1)
        if self.kind == TEACHER_RIGHT:
            return chosen & topk_ids.gather(1, best[:, None]).squeeze(1).eq(target)
        if self.kind == STUDENT_LOSS:
            return top_share(-own, chosen, self.share)
        if self.kind == TEACHER_CONFIDENCE:
            return top_share(confidence, chosen, self.share)
        return chosen


@torch.no_grad()
def label_logprobs(logits: Tensor, target: Tensor) -> Tensor:
    """Return the log-probability of each target token (N,) under logits (N, V): (N,), at least float32."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    rows = max(1, _CHUNK_ELEMENTS // logits.size(1))
    normalizer = [part.to(dtype).logsumexp(1) for part in logits.split(rows)]
    return logits.gather(1, target[:, None]).squeeze(1).to(dtype) - torch.cat(normalizer)


def top_share(values: Tensor, among: Tensor, share: float) -> Tensor:
    """Return (N,) bool: which tokens have the largest ``values`` (N,).

    They are a ``share`` of the tokens ``among`` (N,) bool, rounded up. Of equal values the first ones are taken.
    """
    # The number of tokens stays a tensor: to ask for it would mean to wait for the GPU.
    order = values.masked_fill(~among, -torch.inf).argsort(descending=True, stable=True)
    order = order[among[order].logical_not().to(torch.uint8).argsort(stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    count = (among.sum().double() * share - _ROUNDING).ceil()
    return among & (place < count)
