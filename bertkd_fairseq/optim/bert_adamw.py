"""AdamW as BERT is trained with: no weight decay on biases and LayerNorm (paper, appendix A)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, List, Optional

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

from bertkd_fairseq.errors import ConfigurationError, must_be, outside, raise_all
from bertkd_fairseq.param_groups import num_layers, rate_scale


@dataclass
class BertAdamWConfig(FairseqDataclass):
    """Options of ``--optimizer bert_adamw``."""

    adam_betas: str = field(default="(0.9, 0.999)", metadata={"help": "betas of Adam"})
    adam_eps: float = field(default=1e-6, metadata={"help": "epsilon of Adam"})
    weight_decay: float = field(
        default=0.01, metadata={"help": "decoupled weight decay of matrices; vectors have none"}
    )
    layer_decay: float = field(
        default=1.0,
        metadata={
            "help": "learning rate of each layer to that of the one above; the head's is --lr"
        },
    )
    rows_lr_scale: Optional[float] = field(
        default=None,
        metadata={
            "help": "learning rate of the input embeddings of symbols, as a multiple of --lr; "
            "with --layer-decay what that says if not given"
        },
    )
    head_lr_scale: float = field(
        default=1.0,
        metadata={"help": "learning rate of head and output layer, as a multiple of --lr"},
    )
    lr: List[float] = II("optimization.lr")


@register_optimizer("bert_adamw", dataclass=BertAdamWConfig)
class BertAdamW(FairseqOptimizer):
    """torch's own fused AdamW in two groups: matrices with weight decay, biases and LayerNorm without.

    Where rates differ, there are two such groups for each rate; models say what a parameter is as ``param_group``
    (:mod:`~bertkd_fairseq.param_groups`), fairseq's own attribute.
    """

    def __init__(self, cfg: BertAdamWConfig, params: Iterable[torch.nn.Parameter]) -> None:
        super().__init__(cfg)
        raise_all(_problems(cfg))
        params = list(params)
        matrices = [param for param in params if param.dim() > 1]
        vectors = [param for param in params if param.dim() <= 1]
        if not matrices:
            # fairseq's --fp16 flattens all parameters into one vector, where the two kinds can't be told apart.
            raise ConfigurationError(
                "--optimizer bert_adamw needs parameters as they are, but fairseq flattened them. "
                "Add --fp16-no-flatten-grads."
            )
        scales = _scales(cfg, params)
        groups = [
            ({"params": chosen, "weight_decay": decay}, scale)
            for scale in sorted(set(scales.values()))
            for kind, decay in ((matrices, cfg.weight_decay), (vectors, 0.0))
            if (chosen := [param for param in kind if scales[param] == scale])
        ]
        # Not in the groups themselves, which a checkpoint would replace by its own.
        self._scales = [scale for _, scale in groups]
        options = self.optimizer_config
        self._optimizer = torch.optim.AdamW([group for group, _ in groups], fused=True, **options)
        self.set_lr(options["lr"])

    def set_lr(self, lr: float) -> None:
        """Set the learning rate; each group has its multiple."""
        for group, scale in zip(self.param_groups, self._scales, strict=True):
            group["lr"] = lr * scale

    def get_lr(self) -> float:
        """Return the learning rate of which the groups have multiples."""
        return float(self.param_groups[0]["lr"]) / self._scales[0]

    def load_state_dict(self, state_dict: Any, optimizer_overrides: Any = None) -> None:
        """As in fairseq.

        :raises ConfigurationError: if training began with other groups.
        """
        saved = [len(group["params"]) for group in state_dict["param_groups"]]
        if saved != [len(group["params"]) for group in self.param_groups]:
            wanted = "the one with which this training began"
            options = "--layer-decay, --rows-lr-scale, --head-lr-scale and --freeze-embeddings"
            hint = f"Give {options} as then, or --reset-optimizer."
            raise ConfigurationError(must_be("grouping of parameters", wanted, "another", hint))
        super().load_state_dict(state_dict, optimizer_overrides)
        self.set_lr(self.optimizer_config["lr"])

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """What the command line overrides in every group of a checkpoint's optimizer when training resumes."""
        lr = self.cfg.lr
        return {
            "lr": lr if isinstance(lr, (int, float)) else lr[0],
            "betas": tuple(_betas(self.cfg)),
            "eps": self.cfg.adam_eps,
        }


def _scales(
    cfg: BertAdamWConfig, params: list[torch.nn.Parameter]
) -> dict[torch.nn.Parameter, float]:
    """Return the multiple of the learning rate that each parameter has.

    :raises ConfigurationError: if rates are to differ, but the model's parameters don't say what they are.
    """
    if cfg.layer_decay == cfg.head_lr_scale == 1.0 and cfg.rows_lr_scale in (None, 1.0):
        return dict.fromkeys(params, 1.0)
    groups = {param: getattr(param, "param_group", None) for param in params}
    if None in groups.values():
        wanted = "bert_cmlm_teacher with --layer-decay, --rows-lr-scale or --head-lr-scale"
        raise ConfigurationError(must_be("--arch", wanted, "another"))
    layers = num_layers({str(group) for group in groups.values()})
    return {
        param: rate_scale(
            str(group),
            layers,
            layer_decay=cfg.layer_decay,
            rows=cfg.rows_lr_scale,
            head=cfg.head_lr_scale,
        )
        for param, group in groups.items()
    }


def _betas(cfg: BertAdamWConfig) -> list[float]:
    """:raises ValueError: if they aren't numbers."""
    return [float(beta) for beta in cfg.adam_betas.strip("()[] ").split(",")]


def _problems(cfg: BertAdamWConfig) -> list[str]:
    try:
        betas = _betas(cfg)
    except ValueError:
        betas = []
    problems = []
    if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
        wanted = "two numbers from 0 to below 1, such as '(0.9, 0.999)'"
        problems.append(must_be("--adam-betas", wanted, repr(cfg.adam_betas)))
    problems += outside("--adam-eps", cfg.adam_eps, at_least=0)
    problems += outside("--weight-decay", cfg.weight_decay, at_least=0)
    problems += outside("--layer-decay", cfg.layer_decay, above=0, at_most=1)
    for option, scale in (("rows", cfg.rows_lr_scale), ("head", cfg.head_lr_scale)):
        if scale is not None and not 0.0 < scale < math.inf:
            problems.append(must_be(f"--{option}-lr-scale", "above 0", scale))
    return problems
