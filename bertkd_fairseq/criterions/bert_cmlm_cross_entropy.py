"""Cross-entropy at the masked target positions (stage 1, paper equation 2)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics


@register_criterion("bert_cmlm_cross_entropy", dataclass=FairseqDataclass)
class BertCMLMCrossEntropy(FairseqCriterion):
    """Mean over masked tokens. It logs perplexity, and the accuracy without EOS, which is always right."""

    def forward(
        self, model: torch.nn.Module, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Return the loss summed over masked tokens (in nats), their number, and what is logged."""
        logits = model(**sample["net_input"]).float()  # (M, V)
        target = sample["target"]  # (M,)
        loss = F.cross_entropy(logits, target, reduction="sum" if reduce else "none")
        inner = target.ne(self.task.target_dictionary.eos())
        sample_size = target.numel()
        return (
            loss,
            sample_size,
            {
                "loss": loss.detach().sum(),
                "ntokens": sample["ntokens"],
                "nsentences": sample["nsentences"],
                "sample_size": sample_size,
                "masked_inner": inner.sum(),
                "masked_correct": (logits.argmax(1).eq(target) & inner).sum(),
            },
        )

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log loss in bits, perplexity, and masked accuracy in percent over all workers."""

        def total(key: str) -> float:
            return float(utils.item(sum(output.get(key, 0) for output in logging_outputs)))

        sample_size, inner = total("sample_size"), total("masked_inner")
        metrics.log_scalar("loss", total("loss") / sample_size / math.log(2), sample_size, round=3)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["loss"].avg))
        if inner > 0:
            metrics.log_scalar(
                "masked_accuracy", 100 * total("masked_correct") / inner, inner, round=2
            )

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Every logged value is a sum."""
        return True
