"""Decoder inputs replaced by what the teacher finds likely in their place: a store as data augmentation.

After Soft Contextual Data Augmentation (Gao et al., ACL 2019). Its language model is the teacher here, and where it
mixes embeddings, one word is drawn, as in SwitchOut (Wang et al., EMNLP 2018). What is to be predicted stays: the
student learns to go on from words that might as well have stood there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """``rate``: the probability that a decoder input is replaced, by ``seed``, epoch and sentence alone.

    ``never``: ids that neither are replaced nor replace anything, as EOS.
    """

    rate: float
    seed: int
    never: Sequence[int] = ()


def likely_tokens(
    target: np.ndarray,
    topk_ids: np.ndarray,
    topk_logprobs: np.ndarray,
    uniforms: np.ndarray,
    augmentation: Augmentation,
) -> np.ndarray:
    """Return ``target`` (n,) with some tokens replaced by a draw from the teacher's entries of their place: (n,) int64.

    The draw is by the entries' probabilities, at temperature 1, divided by their sum; it may be the token that was
    there. Tokens without a teacher stay.

    Shapes: ``topk_ids`` and ``topk_logprobs`` (n, K); ``uniforms`` (n, 2): random numbers in [0, 1), the first for
    whether a token is replaced, the second for what replaces it.
    """
    weights = np.exp(topk_logprobs.astype(np.float64))  # (n, K)
    weights[np.isin(topk_ids, augmentation.never)] = 0
    cumulated = np.cumsum(weights, axis=1)
    total = cumulated[:, -1:]
    # Below the total whatever rounding does, so that no entry without weight is drawn.
    drawn = np.minimum(uniforms[:, 1:] * total, np.nextafter(total, 0))
    places = (cumulated <= drawn).sum(1).clip(max=topk_ids.shape[1] - 1)
    replaced = (uniforms[:, 0] < augmentation.rate) & (total[:, 0] > 0)
    replaced &= ~np.isin(target, augmentation.never)
    entries = np.take_along_axis(topk_ids, places[:, None], axis=1)[:, 0]
    return np.where(replaced, entries, target).astype(np.int64)
