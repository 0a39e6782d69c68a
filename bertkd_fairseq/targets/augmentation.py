"""Use a store as data augmentation: replace decoder inputs by tokens that the teacher finds likely there.

This follows Soft Contextual Data Augmentation (Gao et al., ACL 2019), with two differences. The teacher takes the place
of its language model. It mixes embeddings, but here one word is drawn, as in SwitchOut (Wang et al., EMNLP 2018). The
tokens to predict stay as they are. So the student learns to continue after words that are as likely as the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """``rate``: the probability that a decoder input is replaced. Draws depend on ``seed``, epoch and sentence only.

    ``never``: ids, such as EOS, that are never replaced and never replace another.
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
    """Return ``target`` (n,) with some tokens replaced by draws from the teacher's entries for them: (n,) int64.

    The entries are drawn by their probabilities at temperature 1, divided by the sum of these. A draw may be the token
    that was there. Tokens without a teacher stay.

    Shapes: ``topk_ids`` and ``topk_logprobs`` (n, K); ``uniforms`` (n, 2): random numbers in [0, 1). The first number
    of a token decides whether it is replaced, and the second what replaces it.
    """
    weights = np.exp(topk_logprobs.astype(np.float64))  # (n, K)
    weights[np.isin(topk_ids, augmentation.never)] = 0
    cumulated = np.cumsum(weights, axis=1)
    total = cumulated[:, -1:]
    # This stays below the total whatever rounding does, so no entry without weight is drawn.
    drawn = np.minimum(uniforms[:, 1:] * total, np.nextafter(total, 0))
    places = (cumulated <= drawn).sum(1).clip(max=topk_ids.shape[1] - 1)
    replaced = (uniforms[:, 0] < augmentation.rate) & (total[:, 0] > 0)
    replaced &= ~np.isin(target, augmentation.never)
    entries = np.take_along_axis(topk_ids, places[:, None], axis=1)[:, 0]
    return np.where(replaced, entries, target).astype(np.int64)
