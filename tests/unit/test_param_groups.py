"""Groups by transformers' names, and their learning rates against the formula written out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.param_groups import (
    EMBEDDINGS,
    HEAD,
    ROWS,
    group_in_encoder,
    layer_group,
    num_layers,
    rate_scale,
)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("bert.embeddings.position_embeddings.weight", "embeddings"),
        ("bert.embeddings.LayerNorm.bias", "embeddings"),
        ("bert.encoder.layer.10.attention.self.query.weight", "layer_10"),
        ("body.transformer.layer.0.ffn.lin1.weight", "layer_0"),
        ("body.layers.3.mlp.Wi.weight", "layer_3"),
        ("body.encoder.albert_layer_groups.0.albert_layers.0.ffn.bias", "layer_0"),
        ("body.encoder.embedding_hidden_mapping_in.weight", "embeddings"),
        ("body.embeddings_project.weight", "embeddings"),
        ("body.encoder.rel_embeddings.weight", "embeddings"),
        ("body.layer_norm_emb.weight", "embeddings"),
        ("body.final_norm.weight", "layer_11"),
        ("body.encoder.conv.conv.weight", "layer_11"),
    ],
)
def test_names_say_the_group(name: str, group: str) -> None:
    assert group_in_encoder(name, 12) == group


def test_layers_are_counted_from_the_groups() -> None:
    assert num_layers({ROWS, EMBEDDINGS, HEAD, "layer_0", "layer_10", "layer_9"}) == 11
    assert num_layers({ROWS, HEAD}) == 0


@given(st.integers(1, 30), st.floats(0.1, 1.0), st.floats(0.1, 10.0))
def test_each_layer_has_a_share_of_the_one_above(layers: int, decay: float, head: float) -> None:
    def scale(group: str, rows: float | None = None) -> float:
        return rate_scale(group, layers, layer_decay=decay, rows=rows, head=head)

    rate = 1.0
    for layer in reversed(range(layers)):
        rate *= decay
        assert scale(layer_group(layer)) == pytest.approx(rate)
    assert scale(EMBEDDINGS) == scale(ROWS) == pytest.approx(rate * decay)
    assert scale(ROWS, rows=3.0) == 3.0
    assert scale(HEAD) == head
