"""Loss correction of semiparametric distillation (Dao et al., ICLR 2021, arXiv 2104.09732).

A teacher that is wrong somewhere, or has memorised its training text, biases its student. The label says something of
this bias: with ``y`` the label as a one-hot vector and ``p`` the teacher's probabilities, every logit of the teacher
becomes::

    log p_v + gamma * (y_v - p_v)

so that a label that surprises the teacher rises, and what it believed in instead falls; where it was sure and right
nothing moves. ``gamma`` trades the teacher's bias for the label's noise. A label that the teacher can't say (p = 0)
isn't raised. Probabilities are those of T = 1, and the temperature comes after the correction.

**What is exact.** A store has ``p_v`` of K symbols and of the label, which becomes one entry more where it was none. Of
all others it has the sum ``t``. What they get follows from the way in which the loss represents them
(:mod:`bertkd_fairseq.loss`), and is exact for it:

- ``renormalize``: they have no place, so that the target is the softmax of the corrected K + 1 logits;
- ``ghost``: one symbol of probability t, whose logit becomes ``log t - gamma * t``;
- ``uniform``: n symbols of t / n each, whose logits become ``log(t / n) - gamma * t / n``.

Summed over true, unequal ``p_v``, the corrected mass of the others lies between ``t * exp(-gamma * p_K)``, with ``p_K``
the smallest entry, and ``t``: ``uniform`` is never outside of these bounds, ``ghost`` may be below them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def corrected_rows(
    topk_ids: Tensor,
    topk_logprobs: Tensor,
    log_tail: Tensor,
    target: Tensor,
    gold_logprob: Tensor,
    *,
    gamma: float,
    tail_symbols: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids (N, K + 1), log-probabilities (N, K + 1) and log tails (N,) of the corrected teacher.

    The last entry is the label where it is none of the K, and unused (``-inf``) elsewhere. Rows without a teacher,
    ``-inf`` throughout, stay so; all others sum to 1, tail included.

    Shapes: ``topk_ids`` (N, K) int64; ``topk_logprobs`` (N, K) and ``log_tail`` (N,) float, under the teacher's full
    softmax, worked on in at least float32; ``target`` (N,) int64; ``gold_logprob`` (N,) float: the teacher's of the
    target. ``tail_symbols``: V where the tail is spread evenly over all symbols that are no entries; None where it is
    one symbol.
    """
    dtype = torch.promote_types(topk_logprobs.dtype, torch.float32)
    logprobs, log_tail, gold = (x.to(dtype) for x in (topk_logprobs, log_tail, gold_logprob))
    stored = logprobs.isneginf().logical_not()  # (N, K)
    is_label = topk_ids.eq(target[:, None]) & stored  # (N, K)
    added = stored.any(1) & ~is_label.any(1) & ~gold.isneginf()  # (N,)
    entries = logprobs + gamma * (is_label.to(dtype) - logprobs.exp())
    label = torch.where(added, gold + gamma * (1 - gold.exp()), -torch.inf)
    rest = (log_tail.exp() - torch.where(added, gold.exp(), 0.0)).clamp(min=0)  # (N,)
    others = torch.ones_like(rest)
    if tail_symbols is not None:
        others = (tail_symbols - stored.sum(1) - added.long()).clamp(min=1).to(dtype)
    tail = rest.log() - gamma * rest / others
    both = torch.cat([entries, label[:, None]], dim=1)
    normalizer = torch.cat([both, tail[:, None]], dim=1).logsumexp(1)
    present = stored.any(1)
    normalizer = torch.where(present, normalizer, 0.0)
    ids = torch.cat([topk_ids, target[:, None]], dim=1)
    return ids, both - normalizer[:, None], torch.where(present, tail - normalizer, log_tail)
