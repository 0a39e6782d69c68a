"""The student's loss: the only distillation maths of the package (paper, section 3.3, equations 4 and 5).

Per target token, with ``p`` the student's softmax over the dictionary::

    L = alpha * KD + (1 - alpha) * LSCE
    KD = - sum_k w_k log p(id_k),    w = softmax(topk_logprobs / temperature) over the K stored entries
    LSCE = label-smoothed cross-entropy, as fairseq defines it

The temperature is the teacher's alone and there is no T^2 factor: footnote 8 of the paper.

The paper drops the teacher's mass ``t`` outside the K entries and lets the others take its place
(``renormalize``). Two other ways, at temperature 1 only, keep ``w_k = P_teacher(id_k)`` and give ``t`` a place:
``uniform`` spreads it over the other V - K symbols; ``ghost`` adds ``- t log(1 - sum_k p(id_k))``, one symbol more
that stands for all others.

All terms but the ghost are linear in ``log p``, so they are one cross-entropy against a soft target ``q`` that
sums to 1: ``L = logsumexp(z) - sum_v q_v z_v`` with gradient ``softmax(z) - q``. ``q`` has K + 1 sparse entries and
a uniform floor, so neither ``q`` nor ``log p`` is ever written out. The ghost's term is the same with the
logsumexp over the other symbols in the place of one logit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from bertkd_fairseq.errors import must_be

RENORMALIZE, GHOST, UNIFORM = TAILS = ("renormalize", "ghost", "uniform")
ALPHAS = "from 0 to 1"
"""The range of alpha, in words."""
CONSTANT, LINEAR = SCHEDULES = ("constant", "linear")
"""Kinds of :class:`AlphaSchedule`."""

# Rows are worked on in slices of about this many logits: temporary memory stays small whatever N and V are.
_CHUNK_ELEMENTS = {"cpu": 1 << 20}
_CHUNK_ELEMENTS_ELSEWHERE = 1 << 25


@dataclass(frozen=True)
class BertKDLoss:
    """Sums over the target tokens that are not padding; divide by their number for means.

    ``loss`` carries the gradient; ``nll_loss`` is the plain negative log-likelihood. Both in nats. Over the
    tokens that have a teacher, counted by ``teacher_tokens``: ``kd_loss`` in nats, ``teacher_mass`` the teacher's
    probability within its K entries, ``agreements`` how often the student's prediction is the teacher's.
    """

    loss: Tensor
    kd_loss: Tensor
    nll_loss: Tensor
    teacher_tokens: Tensor
    teacher_mass: Tensor
    agreements: Tensor


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
    tail: str = RENORMALIZE,
    log_tail: Tensor | None = None,
) -> BertKDLoss:
    """Return the distillation loss of the paper, summed over tokens (equations 4 and 5).

    A row of ``topk_logprobs`` that is ``-inf`` throughout (or K = 0) has no teacher and falls back to its hard
    label at full weight. With the default ``tail``, a constant added to a row changes nothing: raw logits serve
    as well. ``log_tail`` is the log of the teacher's mass outside the K entries.

    Shapes: ``logits`` (N, V), any float dtype, worked on in at least float32; ``target`` (N,) int64;
    ``topk_ids`` (N, K) int64; ``topk_logprobs`` (N, K) float; ``log_tail`` (N,) float.

    :raises ValueError: if shapes don't agree, an option is out of range, or ``tail`` lacks what it needs.
    """
    _check_shapes(logits, target, topk_ids, topk_logprobs, log_tail)
    problems = option_problems(
        alpha=alpha, temperature=temperature, label_smoothing=label_smoothing, tail=tail
    )
    if tail in (GHOST, UNIFORM) and log_tail is None:
        problems.append(f"`tail` {tail!r} needs `log_tail`, but that is missing.")
    if problems:
        raise ValueError(" ".join(problems))
    with torch.autocast(logits.device.type, enabled=False):
        kept = target.ne(ignore_index)  # (N,)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        if log_tail is None:
            log_tail = topk_logprobs.new_full(target.shape, float("-inf"))
        teacher = teacher_target(
            topk_logprobs.to(dtype), log_tail.to(dtype), temperature, tail, logits.size(1)
        )
        has_teacher = teacher.present & kept  # (N,)
        share = has_teacher.to(dtype) * alpha  # (N,) alpha of each row
        # fairseq spreads eps over the V - 1 wrong symbols, then adds the floor to the right one too.
        floor = label_smoothing / (logits.size(1) - 1)
        hard = (1.0 - label_smoothing - floor) * (1.0 - share)  # (N,)
        safe_target = target.masked_fill(~kept, 0)
        loss, nll, kd, agrees = _SoftTargetCrossEntropy.apply(
            logits,
            torch.cat(
                [safe_target[:, None], _distinct(topk_ids, topk_logprobs, teacher.best)], dim=1
            ),
            torch.cat([hard[:, None], share[:, None] * teacher.weights], dim=1),
            floor * (1.0 - share) + share * teacher.uniform,
            share * teacher.ghost,
            kept,
            teacher,
            label_smoothing > 0 or tail == UNIFORM,
            tail == GHOST,
        )
        zero = nll.new_zeros(())
        return BertKDLoss(
            loss=loss,
            kd_loss=torch.where(has_teacher, kd, zero).sum(),
            nll_loss=torch.where(kept, nll, zero).sum(),
            teacher_tokens=has_teacher.sum(),
            teacher_mass=torch.where(has_teacher, -log_tail.to(dtype).expm1(), zero).sum(),
            agreements=(has_teacher & agrees).sum(),
        )


def rank_first_loss(logits: Tensor, topk_ids: Tensor, topk_logprobs: Tensor) -> Tensor:
    """Return how far the teacher's first guess is from being the student's, summed over tokens.

    ``sum_v max(0, p_v - p_first)`` with ``p`` the student's probabilities: 0 where the guess is first among them, 1 at
    most. It ranks the teacher's first, and leaves the order of all others alone: the upper level of the ranking loss of
    TIE-KD (arXiv 2305.08096), which finds that this is what students learn from.

    Shapes: ``logits`` (N, V), any float dtype, worked on in at least float32; ``topk_ids``, ``topk_logprobs`` (N, K); a
    row that is ``-inf`` throughout has no teacher.
    """
    present = topk_logprobs.isneginf().logical_not().any(1)  # (N,)
    if not topk_ids.size(1):
        return logits.new_zeros((), dtype=torch.promote_types(logits.dtype, torch.float32))
    with torch.autocast(logits.device.type, enabled=False):
        first = topk_ids.gather(1, topk_logprobs.argmax(1, keepdim=True))  # (N, 1)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        p = logits.to(dtype).softmax(1)  # (N, V)
        above = (p - p.gather(1, first)).clamp(min=0).sum(1)  # (N,)
        return torch.where(present, above, 0.0).sum()


def option_problems(
    *,
    alpha: float,
    temperature: float,
    label_smoothing: float,
    tail: str,
    names: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Return a message for each option of :func:`bert_kd_loss` that is out of range.

    ``names``: what messages call an option, where that isn't its own name.
    """
    own_mass = "which need the teacher's own probabilities"
    at_one = f"1 with {names.get('tail', 'tail')} {GHOST} or {UNIFORM}, {own_mass}"
    wrong = [
        (not is_alpha(alpha), "alpha", ALPHAS, alpha),
        (not 0.0 < temperature < math.inf, "temperature", "above 0", temperature),
        (not 0.0 <= label_smoothing < 1.0, "label_smoothing", "from 0 to below 1", label_smoothing),
        (tail not in TAILS, "tail", f"one of {', '.join(TAILS)}", tail),
        (tail in (GHOST, UNIFORM) and temperature != 1, "temperature", at_one, temperature),
    ]
    return [
        must_be(names.get(name, name), wanted, seen) for is_so, name, wanted, seen in wrong if is_so
    ]


def is_alpha(value: float | None) -> bool:
    """Return whether ``value`` is within :data:`ALPHAS`."""
    return value is not None and 0.0 <= value <= 1.0


@dataclass(frozen=True)
class TeacherTarget:
    """The teacher's distribution over V symbols (equation 4), zero throughout where there is no teacher.

    ``weights`` (N, K): probability of each stored entry in excess of ``uniform`` (N,), the amount that every symbol
    gets. ``ghost`` (N,): probability of all symbols outside the entries together. ``present`` (N,) bool: the row has
    a teacher. ``best`` (N,): which of the K entries is the most probable.
    """

    weights: Tensor
    uniform: Tensor
    ghost: Tensor
    present: Tensor
    best: Tensor


def teacher_target(
    topk_logprobs: Tensor, log_tail: Tensor, temperature: float, tail: str, num_symbols: int
) -> TeacherTarget:
    """Return the teacher's target over ``num_symbols`` symbols.

    Shapes: ``topk_logprobs`` (N, K), ``log_tail`` (N,); both in the precision that is worked in.
    """
    stored = topk_logprobs.isneginf().logical_not()  # (N, K)
    present = stored.any(dim=1)  # (N,)
    scores = topk_logprobs / temperature
    if tail != RENORMALIZE:
        # Together: what float16 rounded must not make the whole more or less than 1.
        scores = torch.cat([scores, log_tail[:, None]], dim=1)
    softmax = scores.masked_fill(~present[:, None], 0.0).softmax(1)
    softmax = softmax.masked_fill(~present[:, None], 0.0)
    weights = softmax[:, : stored.size(1)]  # (N, K)
    uniform = ghost = torch.zeros_like(log_tail)
    if tail == GHOST:
        ghost = softmax[:, -1]
    if tail == UNIFORM:
        uniform = softmax[:, -1] / (num_symbols - stored.sum(1)).clamp(min=1)
        weights = torch.where(stored, weights - uniform[:, None], 0.0)
    best = topk_logprobs.argmax(1) if stored.size(1) else present.long()
    return TeacherTarget(weights, uniform, ghost, present, best)


class _SoftTargetCrossEntropy(torch.autograd.Function):
    """Cross-entropy against K + 1 sparse entries, a uniform floor and a ghost that sum to 1 in every kept row."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        logits: Tensor,
        ids: Tensor,
        sparse: Tensor,
        uniform: Tensor,
        ghost: Tensor,
        kept: Tensor,
        teacher: TeacherTarget,
        has_uniform: bool,
        has_ghost: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        picked = logits.gather(1, ids).to(sparse.dtype)  # (N, 1 + K)
        normalizer, total, others, largest = (torch.zeros_like(uniform) for _ in range(4))  # (N,)
        for rows in _row_chunks(logits):
            chunk = logits[rows].to(sparse.dtype)  # (n, V)
            torch.amax(chunk, dim=1, out=largest[rows])
            torch.logsumexp(chunk, dim=1, out=normalizer[rows])
            if has_uniform:
                torch.sum(chunk, dim=1, out=total[rows])
            if has_ghost:
                rest = chunk.scatter(1, ids[rows, 1:], float("-inf"))
                torch.logsumexp(rest, dim=1, out=others[rows])
        # Where no other symbol has any weight, they may not exist: -inf, which would spoil the products below.
        others = torch.where(teacher.ghost > 0, others, normalizer)
        loss = normalizer - _dot(sparse, picked) - uniform * total - ghost * others
        nll = normalizer - picked[:, 0]
        kd = normalizer - _dot(teacher.weights, picked[:, 1:])
        kd = kd - teacher.uniform * total - teacher.ghost * others
        agrees = (
            picked[:, 1:].gather(1, teacher.best[:, None]).squeeze(1) >= largest
            if picked.size(1) > 1
            else torch.zeros_like(kept)
        )
        ctx.save_for_backward(logits, ids, sparse, uniform, ghost, normalizer, others, kept)
        ctx.has_ghost = has_ghost  # type: ignore[attr-defined]
        ctx.mark_non_differentiable(nll, kd, agrees)
        return torch.where(kept, loss, 0.0).sum(), nll, kd, agrees

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        logits, ids, sparse, uniform, ghost, normalizer, others, kept = ctx.saved_tensors  # type: ignore[attr-defined]
        scale = torch.where(kept, grad.to(sparse.dtype), 0.0)  # (N,)
        grad_logits = torch.empty_like(logits)  # (N, V), the one large tensor
        for rows in _row_chunks(logits):
            chunk = logits[rows].to(sparse.dtype, copy=True)  # (n, V)
            if ctx.has_ghost:  # type: ignore[attr-defined]
                rest = chunk.sub(others[rows, None]).exp_().mul_(ghost[rows, None])
                rest.scatter_(1, ids[rows, 1:], 0.0)
            chunk.sub_(normalizer[rows, None]).exp_()
            chunk.sub_(uniform[rows, None])
            chunk.scatter_add_(1, ids[rows], -sparse[rows])
            if ctx.has_ghost:  # type: ignore[attr-defined]
                chunk.sub_(rest)
            grad_logits[rows] = chunk.mul_(scale[rows, None])
        return grad_logits, *(None,) * 8


def _dot(weights: Tensor, values: Tensor) -> Tensor:
    """Return the row sums of a product in which entries without weight don't count: 0 * -inf is not 0."""
    return torch.where(weights != 0, weights * values, 0.0).sum(1)


def _distinct(topk_ids: Tensor, topk_logprobs: Tensor, best: Tensor) -> Tensor:
    """Return the ids with those of unused entries replaced by the best one's: no other symbol is meant by them."""
    if not topk_ids.size(1):
        return topk_ids
    return torch.where(topk_logprobs.isneginf(), topk_ids.gather(1, best[:, None]), topk_ids)


def _row_chunks(logits: Tensor) -> list[slice]:
    elements = _CHUNK_ELEMENTS.get(logits.device.type, _CHUNK_ELEMENTS_ELSEWHERE)
    step = max(1, elements // logits.size(1))
    return [slice(start, start + step) for start in range(0, logits.size(0), step)]


def _check_shapes(
    logits: Tensor,
    target: Tensor,
    topk_ids: Tensor,
    topk_logprobs: Tensor,
    log_tail: Tensor | None,
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
    if log_tail is not None and log_tail.shape != (rows,):
        raise ValueError(f"`log_tail` must be ({rows},), but is {tuple(log_tail.shape)} instead.")


@dataclass(frozen=True)
class AlphaSchedule:
    """``start`` throughout, or linear from ``start`` to ``end`` over ``updates`` and ``end`` from then on."""

    start: float
    kind: str = CONSTANT
    end: float | None = None
    updates: int = 0

    def at(self, update: int) -> float:
        """Return alpha at an update, counted from 0."""
        if self.kind == CONSTANT or self.end is None:
            return self.start
        passed = min(update / self.updates, 1.0)
        return self.start + passed * (self.end - self.start)

    @property
    def needs_teacher(self) -> bool:
        """Whether alpha is ever above 0."""
        return max(self.start, self.at(self.updates)) > 0
