"""Groups of a teacher's parameters, by their depth, and the learning rate of each as a multiple of ``--lr``.

The teacher writes a group's name on each parameter as ``param_group``, which is where fairseq's ``composite`` optimizer
looks for it; ``bert_adamw`` gives each group its rate.
"""

from __future__ import annotations

import re

ROWS = "rows"
"""Input embeddings of the dictionary's symbols."""

EMBEDDINGS = "embeddings"
"""All else below the first layer: embeddings of positions and token types, and their normalisation."""

HEAD = "head"
"""All above the last layer: the head and the output layer."""

_LAYER = "layer_"


def layer_group(layer: int) -> str:
    """Return the group of a layer, counted from 0."""
    return f"{_LAYER}{layer}"


def group_in_encoder(name: str, num_layers: int) -> str:
    """Return the group of an encoder's parameter by the name that transformers gives it.

    Layers stand in lists, so that the first number in a name is the layer. What stands in none is an
    embedding, or belongs to what comes out of the last layer.
    """
    number = re.search(r"\.(\d+)\.", name)
    if number:
        return layer_group(int(number[1]))
    return EMBEDDINGS if "emb" in name else layer_group(num_layers - 1)


def num_layers(groups: set[str]) -> int:
    """Return how many layers a model has whose groups these are."""
    layers = [int(group.removeprefix(_LAYER)) for group in groups if group.startswith(_LAYER)]
    return max(layers, default=-1) + 1


def rate_scale(
    group: str, num_layers: int, *, layer_decay: float, rows: float | None, head: float
) -> float:
    """Return the learning rate of a group as a multiple of ``--lr``.

    Each layer has ``layer_decay`` times the rate of the one above, from the last one, which has ``layer_decay``
    itself, down to the embeddings (ELECTRA, arXiv 2003.10555, appendix B). ``head`` and, where given, ``rows``
    are the multiples of these groups whatever the decay.
    """
    if group == HEAD:
        return head
    if group == ROWS and rows is not None:
        return rows
    depth = 0 if group in (ROWS, EMBEDDINGS) else 1 + int(group.removeprefix(_LAYER))
    return layer_decay ** (num_layers + 1 - depth)
