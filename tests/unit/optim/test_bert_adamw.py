"""AdamW without weight decay on vectors, against the update written out; the rates of its groups."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import Parameter

from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.optim.bert_adamw import BertAdamW, BertAdamWConfig

GROUPS = ("rows", "embeddings", "layer_0", "layer_1", "head")


def settings(**changes: object) -> BertAdamWConfig:
    return BertAdamWConfig(**{"lr": [0.1], **changes})  # type: ignore[arg-type]


def named_parameters() -> list[Parameter]:
    """A matrix and a bias of each group."""
    parameters = []
    for group in GROUPS:
        for shape in ((2, 2), (2,)):
            parameter = Parameter(torch.ones(shape))
            parameter.param_group = group  # type: ignore[attr-defined]
            parameters.append(parameter)
    return parameters


def rates(optimizer: BertAdamW) -> dict[str, float]:
    """Return the learning rate of each group, checked to be that of its matrix and its bias."""
    found: dict[str, set[float]] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.01 if parameter.dim() > 1 else 0.0)
            found.setdefault(parameter.param_group, set()).add(group["lr"])
    return {name: rate for name, (rate,) in found.items()}


def test_one_update_decays_matrices_only() -> None:
    matrix = Parameter(torch.randn(3, 4, dtype=torch.float64))
    bias = Parameter(torch.randn(4, dtype=torch.float64))
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
    params = [Parameter(torch.ones(2, 2)), Parameter(torch.ones(2))]
    optimizer = BertAdamW(settings(lr=[0.5]), params)
    state = BertAdamW(settings(), params).state_dict()
    optimizer.load_state_dict(state, optimizer.optimizer_config)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    assert all(math.isclose(group["lr"], 0.5) for group in optimizer.param_groups)


def test_flattened_parameters_are_refused() -> None:
    with pytest.raises(ConfigurationError) as error:
        BertAdamW(settings(), [Parameter(torch.ones(100))])
    assert str(error.value) == (
        "--optimizer bert_adamw needs parameters as they are, but fairseq flattened them. "
        "Add --fp16-no-flatten-grads."
    )


def test_by_default_there_are_two_groups_of_one_rate() -> None:
    optimizer = BertAdamW(settings(), named_parameters())
    assert len(list(optimizer.param_groups)) == 2
    assert set(rates(optimizer).values()) == {0.1}


@pytest.mark.parametrize(
    ("options", "multiples"),
    [
        ({"head_lr_scale": 4.0}, (1, 1, 1, 1, 4)),
        ({"rows_lr_scale": 3.0}, (3, 1, 1, 1, 1)),
        ({"layer_decay": 0.5}, (1 / 8, 1 / 8, 1 / 4, 1 / 2, 1)),
        (
            {"layer_decay": 0.5, "rows_lr_scale": 1.0, "head_lr_scale": 2.0},
            (1, 1 / 8, 1 / 4, 1 / 2, 2),
        ),
    ],
)
def test_groups_have_multiples_of_whatever_rate_is_set(
    options: dict[str, float], multiples: tuple[float, ...]
) -> None:
    optimizer = BertAdamW(settings(**options), named_parameters())
    for rate in (0.1, 0.05):
        optimizer.set_lr(rate)
        assert rates(optimizer) == pytest.approx(
            {group: rate * multiple for group, multiple in zip(GROUPS, multiples, strict=True)}
        )
        assert optimizer.get_lr() == pytest.approx(rate)


def test_each_parameter_moves_at_its_rate() -> None:
    """Adam's first update of a parameter is the rate itself, whatever the gradient."""
    parameters = named_parameters()
    optimizer = BertAdamW(settings(layer_decay=0.5, weight_decay=0.0), parameters)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 7.0)
    optimizer.step()
    moved = {p.param_group: float(1 - p.detach().flatten()[0]) for p in parameters}  # type: ignore[attr-defined]
    wanted = {"rows": 1 / 8, "embeddings": 1 / 8, "layer_0": 1 / 4, "layer_1": 1 / 2, "head": 1}
    assert moved == pytest.approx({group: 0.1 * value for group, value in wanted.items()}, rel=1e-4)


def test_resuming_keeps_the_multiples_of_the_command_line() -> None:
    state = BertAdamW(settings(head_lr_scale=4.0), named_parameters()).state_dict()
    optimizer = BertAdamW(settings(lr=[0.5], head_lr_scale=2.0), named_parameters())
    optimizer.load_state_dict(state, optimizer.optimizer_config)
    assert rates(optimizer)["head"] == pytest.approx(1.0)
    assert rates(optimizer)["layer_1"] == pytest.approx(0.5)


def test_resuming_with_other_groups_is_refused() -> None:
    state = BertAdamW(settings(), named_parameters()).state_dict()
    with pytest.raises(ConfigurationError) as error:
        BertAdamW(settings(layer_decay=0.9), named_parameters()).load_state_dict(state)
    assert str(error.value) == (
        "`grouping of parameters` must be the one with which this training began, but is another instead. Give "
        "--layer-decay, --rows-lr-scale, --head-lr-scale and --freeze-embeddings as then, or --reset-optimizer."
    )


def test_a_model_that_names_no_groups_has_one_rate() -> None:
    plain = [Parameter(torch.ones(2, 2)), Parameter(torch.ones(2))]
    with pytest.raises(ConfigurationError) as error:
        BertAdamW(settings(layer_decay=0.9), plain)
    assert str(error.value) == (
        "`--arch` must be bert_cmlm_teacher with --layer-decay, --rows-lr-scale or --head-lr-scale, "
        "but is another instead."
    )


def test_settings_out_of_range_are_named_together() -> None:
    wrong = settings(layer_decay=0.0, rows_lr_scale=-1.0, head_lr_scale=math.nan)
    with pytest.raises(ConfigurationError) as error:
        BertAdamW(wrong, named_parameters())
    assert str(error.value) == (
        "3 problems:\n"
        "  1. `--layer-decay` must be above 0 and at most 1, but is 0.0 instead.\n"
        "  2. `--rows-lr-scale` must be above 0, but is -1.0 instead.\n"
        "  3. `--head-lr-scale` must be above 0, but is nan instead."
    )
