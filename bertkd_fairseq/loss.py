"""The student's loss: the only distillation maths of the package (paper, section 3.3, equations 4 and 5).

Per target token, with ``p`` the student's softmax over the dictionary::

    L = alpha * KD + (1 - alpha) * LSCE
    KD = - sum_k w_k log p(id_k),    w = softmax(topk_logprobs / temperature) over the K stored entries
    LSCE = label-smoothed cross-entropy, as fairseq defines it

The temperature is the teacher's alone and there is no T^2 factor: footnote 8 of the paper.

All terms are linear in ``log p``, so they are one cross-entropy against a soft target ``q`` that sums to 1:
``L = logsumexp(z) - sum_v q_v z_v`` with gradient ``softmax(z) - q``. ``q`` has K + 1 sparse entries and a
uniform floor, so neither ``q`` nor ``log p`` is ever written out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

# Rows are worked on in slices of about this many logits: temporary memory stays small whatever N and V are.
_CHUNK_ELEMENTS = {"cpu": 1 << 20}
_CHUNK_ELEMENTS_ELSEWHERE = 1 << 25


@dataclass(frozen=True)
class BertKDLoss:
    """Sums over the target tokens that are not padding; divide by their number for means.

    ``loss`` carries the gradient. ``kd_loss`` sums over tokens that have a teacher, counted by
    ``teacher_tokens``; ``nll_loss`` is the plain negative log-likelihood. All in nats.
    """

    loss: Tensor
    kd_loss: Tensor
    nll_loss: Tensor
    teacher_tokens: Tensor


def bert_kd_loss(
    logits: Tensor,
    target: Tensor,
    topk_ids: Tensor,
    topk_logprobs: Tensor,
    *,
    alpha: float,
    temperature: float,
    label_smoothing: float,
    ignore_index: int,
) -> BertKDLoss:
    """Return the distillation loss of the paper, summed over tokens (equations 4 and 5).

    A row of ``topk_logprobs`` that is ``-inf`` throughout (or K = 0) has no teacher and falls back to its hard
    label at full weight. A constant added to a row changes nothing: raw logits serve as well.

    Shapes: ``logits`` (N, V), any float dtype, worked on in at least float32; ``target`` (N,) int64;
    ``topk_ids`` (N, K) int64; ``topk_logprobs`` (N, K) float.

    :raises ValueError: if shapes don't agree, or ``alpha``, ``temperature`` or ``label_smoothing`` is out of range.
    """
    _check_arguments(logits, target, topk_ids, topk_logprobs, alpha, temperature, label_smoothing)
    with torch.autocast(logits.device.type, enabled=False):
        kept = target.ne(ignore_index)  # (N,)
        compute_dtype = torch.promote_types(logits.dtype, torch.float32)
        weights, has_teacher = teacher_weights(
            topk_logprobs.to(compute_dtype), temperature
        )  # (N, K), (N,)
        has_teacher = has_teacher & kept
        share = has_teacher.to(compute_dtype) * alpha  # (N,) alpha of each row
        # fairseq spreads eps over the V - 1 wrong symbols, then adds the floor to the right one too.
        floor = label_smoothing / (logits.size(1) - 1)
        hard = (1.0 - label_smoothing - floor) * (1.0 - share)  # (N,)
        uniform = floor * (1.0 - share)  # (N,)
        safe_target = target.masked_fill(~kept, 0)
        ids = torch.cat([safe_target[:, None], topk_ids], dim=1)  # (N, 1 + K)
        sparse = torch.cat([hard[:, None], share[:, None] * weights], dim=1)  # (N, 1 + K)
        loss, nll, kd = _SoftTargetCrossEntropy.apply(
            logits, ids, sparse, uniform, weights, kept, label_smoothing
        )
        zero = nll.new_zeros(())
        return BertKDLoss(
            loss=loss,
            kd_loss=torch.where(has_teacher, kd, zero).sum(),
            nll_loss=torch.where(kept, nll, zero).sum(),
            teacher_tokens=has_teacher.sum(),
        )


def teacher_weights(topk_logprobs: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the teacher's distribution over its stored entries (equation 4), and which rows have one.

    Shapes: ``topk_logprobs`` (N, K) -> weights (N, K), zero where there is no teacher; has_teacher (N,) bool.
    """
    has_teacher = topk_logprobs.isneginf().logical_not().any(dim=1)
    finite = topk_logprobs.masked_fill(~has_teacher[:, None], 0.0)
    weights = torch.softmax(finite / temperature, dim=1)
    return weights.masked_fill(~has_teacher[:, None], 0.0), has_teacher


class _SoftTargetCrossEntropy(torch.autograd.Function):
    """Cross-entropy against K + 1 sparse entries and a uniform floor that sum to 1 in every kept row."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        logits: Tensor,
        ids: Tensor,
        sparse: Tensor,
        uniform: Tensor,
        weights: Tensor,
        kept: Tensor,
        label_smoothing: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        picked = logits.gather(1, ids).to(sparse.dtype)  # (N, 1 + K)
        log_normalizer = torch.empty_like(uniform)  # (N,)
        total = torch.zeros_like(uniform)  # (N,) sum of the logits of a row
        smoothed = label_smoothing > 0
        for rows in _row_chunks(logits):
            chunk = logits[rows].to(sparse.dtype)  # (n, V)
            torch.logsumexp(chunk, dim=1, out=log_normalizer[rows])
            if smoothed:
                torch.sum(chunk, dim=1, out=total[rows])
        # 0 * -inf is not 0: entries without weight must not count.
        dot = torch.where(sparse > 0, sparse * picked, 0.0).sum(1) + uniform * total
        per_token = torch.where(kept, log_normalizer - dot, 0.0)
        nll = log_normalizer - picked[:, 0]
        kd = log_normalizer - torch.where(weights > 0, weights * picked[:, 1:], 0.0).sum(1)
        ctx.save_for_backward(logits, ids, sparse, uniform, log_normalizer, kept)
        ctx.mark_non_differentiable(nll, kd)
        return per_token.sum(), nll, kd

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        logits, ids, sparse, uniform, log_normalizer, kept = ctx.saved_tensors  # type: ignore[attr-defined]
        scale = torch.where(kept, grad.to(sparse.dtype), 0.0)  # (N,)
        grad_logits = torch.empty_like(logits)  # (N, V), the one large tensor
        for rows in _row_chunks(logits):
            chunk = logits[rows].to(sparse.dtype, copy=True)  # (n, V)
            chunk.sub_(log_normalizer[rows, None]).exp_()
            chunk.sub_(uniform[rows, None])
            chunk.scatter_add_(1, ids[rows], -sparse[rows])
            grad_logits[rows] = chunk.mul_(scale[rows, None])
        return grad_logits, None, None, None, None, None, None


def _row_chunks(logits: Tensor) -> list[slice]:
    elements = _CHUNK_ELEMENTS.get(logits.device.type, _CHUNK_ELEMENTS_ELSEWHERE)
    step = max(1, elements // logits.size(1))
    return [slice(start, start + step) for start in range(0, logits.size(0), step)]


def _check_arguments(
    logits: Tensor,
    target: Tensor,
    topk_ids: Tensor,
    topk_logprobs: Tensor,
    alpha: float,
    temperature: float,
    label_smoothing: float,
) -> None:
    rows = logits.size(0)
    if logits.dim() != 2 or target.shape != (rows,):
        raise ValueError(
            "`logits` and `target` must be (N, V) and (N,), "
            f"but are {tuple(logits.shape)} and {tuple(target.shape)} instead."
        )
    if topk_ids.dim() != 2 or topk_ids.size(0) != rows or topk_ids.shape != topk_logprobs.shape:
        raise ValueError(
            f"`topk_ids` and `topk_logprobs` must both be ({rows}, K), "
            f"but are {tuple(topk_ids.shape)} and {tuple(topk_logprobs.shape)} instead."
        )
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"`alpha` must be in [0, 1], but is {alpha} instead.")
    if not temperature > 0.0:
        raise ValueError(f"`temperature` must be above 0, but is {temperature} instead.")
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"`label_smoothing` must be in [0, 1), but is {label_smoothing} instead.")
