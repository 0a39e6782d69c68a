"""AdamW without weight decay on vectors, against the update written out."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.optim.bert_adamw import BertAdamW


def settings(**changes: object) -> SimpleNamespace:
    values = {"adam_betas": "(0.9, 0.999)", "adam_eps": 1e-6, "weight_decay": 0.01, "lr": [0.1]}
    return SimpleNamespace(**{**values, **changes})


def test_one_update_decays_matrices_only() -> None:
    matrix = torch.nn.Parameter(torch.randn(3, 4, dtype=torch.float64))
    bias = torch.nn.Parameter(torch.randn(4, dtype=torch.float64))
    expected = []
    for param, decay in ((matrix, 0.01), (bias, 0.0)):
        param.grad = torch.randn_like(param)
        mean, square = 0.1 * param.grad, 0.001 * param.grad**2
        step = (mean / 0.1) / ((square / 0.001).sqrt() + 1e-6)
        expected.append(param.detach() * (1 - 0.1 * decay) - 0.1 * step)
    BertAdamW(settings(), [bias, matrix]).step()
    for param, value in zip((matrix, bias), expected, strict=True):
        torch.testing.assert_close(param.detach(), value, rtol=1e-12, atol=1e-12)


def test_resuming_overrides_the_learning_rate_but_not_the_groups_decay() -> None:
    params = [torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = BertAdamW(settings(lr=[0.5]), params)
    state = BertAdamW(settings(), params).state_dict()
    optimizer.load_state_dict(state, optimizer.optimizer_config)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    assert all(math.isclose(group["lr"], 0.5) for group in optimizer.param_groups)


def test_flattened_parameters_are_refused() -> None:
    with pytest.raises(ConfigurationError) as error:
        BertAdamW(settings(), [torch.nn.Parameter(torch.ones(100))])
    assert str(error.value) == (
        "--optimizer bert_adamw needs parameters as they are, but fairseq flattened them. "
        "Add --fp16-no-flatten-grads."
    )
