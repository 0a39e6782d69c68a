"""Compute BERT's last layer only at the positions to predict, about one in fourteen.

The earlier layers have to be computed at every position. In the last one, only the keys and values are needed
everywhere. The queries, the feed-forward part and the normalisations are computed at the masked positions alone. The
numbers are the same, and 6 layers need a seventh less work.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def last_layer_at(layer: Any, hidden: Tensor, attended: Tensor, wanted: Tensor) -> Tensor:
    """Return the output of ``layer`` (transformers' ``BertLayer``) at M of its positions, sentence by sentence: (M, H).

    Shapes: ``hidden`` (N, S, H); ``attended`` (N, S) bool, false on padding; ``wanted`` (N, S) bool with M true.
    """
    attention = layer.attention.self
    most = int(wanted.sum(1).max()) if wanted.numel() else 0
    # For each sentence: its wanted positions first, in their order.
    order = wanted.int().argsort(dim=1, descending=True, stable=True)[:, :most]  # (N, W)
    real = wanted.gather(1, order)  # (N, W)
    asking = hidden.gather(1, order.unsqueeze(2).expand(-1, -1, hidden.size(2)))  # (N, W, H)

    def heads(states: Tensor) -> Tensor:
        size = (attention.num_attention_heads, attention.attention_head_size)
        return states.unflatten(2, size).transpose(1, 2)  # (N, heads, ..., H / heads)

    # Queries are scaled before the product, because the unscaled product could exceed the range of float16.
    queries = heads(attention.query(asking)) * attention.attention_head_size**-0.5
    scores = queries @ heads(attention.key(hidden)).transpose(2, 3)  # (N, heads, W, S)
    scores = scores.masked_fill(~attended[:, None, None, :], torch.finfo(scores.dtype).min)
    weights = functional.dropout(scores.softmax(3), attention.dropout.p, layer.training)
    context = (weights @ heads(attention.value(hidden))).transpose(1, 2).flatten(2)  # (N, W, H)
    attended_to = layer.attention.output(context[real], asking[real])  # (M, H)
    return layer.feed_forward_chunk(attended_to)
