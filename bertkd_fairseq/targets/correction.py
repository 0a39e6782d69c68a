"""Loss correction of semiparametric distillation (Dao et al., ICLR 2021, arXiv 2104.09732).

A teacher that is wrong somewhere, or has memorised its training text, biases its student. The label tells something
about this bias. Let ``y`` be the label as a one-hot vector and ``p`` the teacher's probabilities. Then every logit of
the teacher becomes::

    log p_v + gamma * (y_v - p_v)

So a label that surprises the teacher rises, and what the teacher believed in instead falls. If the teacher was sure and
right, nothing moves. A larger ``gamma`` takes away more of the teacher's bias, and lets in more of the label's noise. A
label that the teacher finds impossible (p = 0) isn't raised. The probabilities are those of T = 1, and the temperature
is applied after the correction.

**What is exact.** A store has ``p_v`` of K symbols and of the label. If the label is none of the K, it becomes one
entry more. Of all other symbols the store has only the sum ``t``. Their correction depends on how the loss represents
them (:mod:`bertkd_fairseq.loss`), and is exact for each way:

- ``renormalize``: they have no part, and the target is the softmax of the corrected K + 1 logits.
- ``ghost``: they are one symbol of probability t, and its logit becomes ``log t - gamma * t``.
- ``uniform``: they are n symbols of t / n each, and the logit of each becomes ``log(t / n) - gamma * t / n``.

The true ``p_v`` of the other symbols are unequal. Their corrected mass lies between ``t * exp(-gamma * p_K)`` and
``t``, where ``p_K`` is the smallest entry. The mass under ``uniform`` is always within these bounds, but the mass under
``ghost`` may be below them.
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

    If the label is none of the K entries, the last entry is the label; otherwise it is unused (``-inf``). Rows without
    a teacher are ``-inf`` throughout and stay so. All other rows sum to 1, tail included.

    Shapes: ``topk_ids`` (N, K) int64; ``topk_logprobs`` (N, K) and ``log_tail`` (N,) float, under the teacher's full
    softmax; ``target`` (N,) int64; ``gold_logprob`` (N,) float: the teacher's log-probability of the target. The
    computation is in at least float32.

    ``tail_symbols``: V if the tail is spread evenly over all symbols that are no entries; None if the tail is one
    symbol.
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
