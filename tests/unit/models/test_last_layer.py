"""The last layer at the masked positions alone, against the stock layer of transformers at all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bertkd_fairseq import compat
from bertkd_fairseq.models.last_layer import last_layer_at

compat.apply()
from transformers import BertConfig  # noqa: E402
from transformers.models.bert.modeling_bert import BertLayer  # noqa: E402

HIDDEN = 12


def make_layer(dropout: float = 0.0) -> BertLayer:
    torch.manual_seed(1)
    config = BertConfig(
        hidden_size=HIDDEN,
        num_attention_heads=3,
        intermediate_size=20,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        attn_implementation="eager",
    )
    return BertLayer(config).double()


def make_batch() -> tuple[Tensor, Tensor, Tensor]:
    hidden = torch.randn(4, 7, HIDDEN, dtype=torch.float64)  # (N, S, H)
    attended = torch.arange(7) < torch.tensor([[7], [5], [3], [6]])  # (N, S)
    wanted = attended & (torch.rand(4, 7) < 0.4)
    wanted[1] = False  # a pair without a question
    wanted[0, 3:6] = True
    return hidden, attended, wanted


def stock(layer: BertLayer, hidden: Tensor, attended: Tensor, wanted: Tensor) -> Tensor:
    mask = torch.zeros(attended.shape, dtype=hidden.dtype)
    mask = mask.masked_fill(~attended, torch.finfo(hidden.dtype).min)[:, None, None, :]
    return layer(hidden, mask)[wanted]


@pytest.mark.parametrize("padded", [True, False])
def test_equals_the_stock_layer_and_its_gradients(padded: bool) -> None:
    layer = make_layer()
    hidden, attended, wanted = make_batch()
    if not padded:
        attended = torch.ones_like(attended)
    weight = torch.randn(int(wanted.sum()), HIDDEN, dtype=torch.float64)
    answers, gradients = [], []
    for way in (last_layer_at, stock):
        layer.zero_grad()
        states = hidden.clone().requires_grad_()
        answer = way(layer, states, attended, wanted)
        (answer * weight).sum().backward()
        answers.append(answer.detach())
        gradients.append([states.grad, *(parameter.grad for parameter in layer.parameters())])
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-12)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_no_question_at_all() -> None:
    hidden, attended, wanted = make_batch()
    assert last_layer_at(make_layer(), hidden, attended, wanted & False).shape == (0, HIDDEN)


def test_dropout_in_training_only() -> None:
    layer = make_layer(dropout=0.5)
    batch = make_batch()
    assert not torch.equal(last_layer_at(layer, *batch), last_layer_at(layer, *batch))
    layer.eval()
    torch.testing.assert_close(
        last_layer_at(layer, *batch), stock(layer, *batch), rtol=0, atol=1e-12
    )
