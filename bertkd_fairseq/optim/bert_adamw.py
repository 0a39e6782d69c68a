"""AdamW as BERT is trained with: no weight decay on biases and LayerNorm (paper, appendix A)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

from bertkd_fairseq.errors import ConfigurationError, must_be, outside, raise_all


@dataclass
class BertAdamWConfig(FairseqDataclass):
    """Options of ``--optimizer bert_adamw``."""

    adam_betas: str = field(default="(0.9, 0.999)", metadata={"help": "betas of Adam"})
    adam_eps: float = field(default=1e-6, metadata={"help": "epsilon of Adam"})
    weight_decay: float = field(
        default=0.01, metadata={"help": "decoupled weight decay of matrices; vectors have none"}
    )
    lr: List[float] = II("optimization.lr")


@register_optimizer("bert_adamw", dataclass=BertAdamWConfig)
class BertAdamW(FairseqOptimizer):
    """torch's own fused AdamW in two groups: matrices with weight decay, biases and LayerNorm without."""

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
        groups = [
            {"params": params, "weight_decay": decay}
            for params, decay in ((matrices, cfg.weight_decay), (vectors, 0.0))
            if params
        ]
        self._optimizer = torch.optim.AdamW(groups, fused=True, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """What the command line overrides in every group of a checkpoint's optimizer when training resumes."""
        lr = self.cfg.lr
        return {
            "lr": lr if isinstance(lr, (int, float)) else lr[0],
            "betas": tuple(_betas(self.cfg)),
            "eps": self.cfg.adam_eps,
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
        wanted = "two numbers from 0 to below 1, as '(0.9, 0.999)'"
        problems.append(must_be("--adam-betas", wanted, repr(cfg.adam_betas)))
    problems += outside("--adam-eps", cfg.adam_eps, at_least=0)
    return problems + outside("--weight-decay", cfg.weight_decay, at_least=0)
