"""Group a teacher's parameters by depth, and give each group a learning rate as a multiple of ``--lr``.

The teacher sets the attribute ``param_group`` of each parameter to the name of its group, because fairseq's
``composite`` optimizer reads that attribute. ``bert_adamw`` gives each group its learning rate.
"""

from __future__ import annotations

import re

ROWS = "rows"
"""Input embeddings of the dictionary's symbols."""

EMBEDDINGS = "embeddings"
"""Everything else below the first layer: embeddings of positions and token types, and their normalisation."""

HEAD = "head"
"""Everything above the last layer: the head and the output layer."""

_LAYER = "layer_"


def layer_group(layer: int) -> str:
    """Return the group of a layer, counted from 0."""
    return f"{_LAYER}{layer}"


def group_in_encoder(name: str, num_layers: int) -> str:
    """Return the group of an encoder's parameter, by its name in transformers.

    The layers are in a list, so the first number in a name is the number of the layer. A parameter without a number is
    part of the embeddings, or is used after the last layer and belongs to the last layer's group.
    """
    number = re.search(r"\.(\d+)\.", name)
    if number:
        return layer_group(int(number[1]))
    return EMBEDDINGS if "emb" in name else layer_group(num_layers - 1)


def num_layers(groups: set[str]) -> int:
    """Return the number of layers of a model that has these groups."""
    layers = [int(group.removeprefix(_LAYER)) for group in groups if group.startswith(_LAYER)]
    return max(layers, default=-1) + 1


def rate_scale(
    group: str, num_layers: int, *, layer_decay: float, rows: float | None, head: float
) -> float:
    """Return the learning rate of a group as a multiple of ``--lr``.

    The last layer has the multiple ``layer_decay``. Each layer below it has ``layer_decay`` times the multiple of the
    layer above, and so have the embeddings (ELECTRA, arXiv 2003.10555, appendix B). ``head`` is the multiple of the
    head, and ``rows``, if given, that of the rows. The decay doesn't change these two.
    """
    if group == HEAD:
        return head
    if group == ROWS and rows is not None:
        return rows
    depth = 0 if group in (ROWS, EMBEDDINGS) else 1 + int(group.removeprefix(_LAYER))
    return layer_decay ** (num_layers + 1 - depth)
