"""BERT's last layer where it is needed: at the positions to predict, one in fourteen or so.

All earlier layers need every position. Of the last one only the keys and values do; its queries, its feed-forward
part and its normalisations pay for the masked positions alone. Same numbers, a seventh less work for 6 layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def last_layer_at(layer: Any, hidden: Tensor, attended: Tensor, wanted: Tensor) -> Tensor:
    """Return the output of ``layer`` (transformers' ``BertLayer``) at M of its positions, row by row: (M, H).

    Shapes: ``hidden`` (N, S, H); ``attended`` (N, S) bool, false on padding; ``wanted`` (N, S) bool, M true.
    """
    attention = layer.attention.self
    most = int(wanted.sum(1).max()) if wanted.numel() else 0
    # Each row's wanted positions first, in their order.
    order = wanted.int().argsort(dim=1, descending=True, stable=True)[:, :most]  # (N, W)
    real = wanted.gather(1, order)  # (N, W)
    asking = hidden.gather(1, order.unsqueeze(2).expand(-1, -1, hidden.size(2)))  # (N, W, H)

    def heads(states: Tensor) -> Tensor:
        size = (attention.num_attention_heads, attention.attention_head_size)
        return states.unflatten(2, size).transpose(1, 2)  # (N, heads, ..., H / heads)

    # Scaled before the product, which float16 might not hold otherwise.
    queries = heads(attention.query(asking)) * attention.attention_head_size**-0.5
    scores = queries @ heads(attention.key(hidden)).transpose(2, 3)  # (N, heads, W, S)
    scores = scores.masked_fill(~attended[:, None, None, :], torch.finfo(scores.dtype).min)
    weights = functional.dropout(scores.softmax(3), attention.dropout.p, layer.training)
    context = (weights @ heads(attention.value(hidden))).transpose(1, 2).flatten(2)  # (N, W, H)
    attended_to = layer.attention.output(context[real], asking[real])  # (M, H)
    return layer.feed_forward_chunk(attended_to)
