"""The student's criterion: :func:`bertkd_fairseq.loss.bert_kd_loss` for fairseq (stage 3, paper section 3.3)."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq import utils
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.logging import metrics

from bertkd_fairseq.errors import ConfigurationError, must_be, raise_all
from bertkd_fairseq.loss import BertKDLoss, bert_kd_loss


@dataclass
class BertKDLabelSmoothedCrossEntropyConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """Options of ``--criterion bert_kd_label_smoothed_cross_entropy``, beside fairseq's own."""

    kd_alpha: float = field(
        default=0.5,
        metadata={
            "help": "weight of the teacher's soft targets, 0 (plain) to 1 (paper, equation 5)"
        },
    )
    kd_temperature: float = field(
        default=10.0,
        metadata={
            "help": "temperature of the teacher's softmax, not of the student's (footnote 8)"
        },
    )
    kd_topk: int = field(
        default=0,
        metadata={"help": "use only the teacher's k largest entries; 0: all that the store holds"},
    )


@register_criterion(
    "bert_kd_label_smoothed_cross_entropy", dataclass=BertKDLabelSmoothedCrossEntropyConfig
)
class BertKDLabelSmoothedCrossEntropy(LabelSmoothedCrossEntropyCriterion):
    """``alpha * KD + (1 - alpha) * label-smoothed cross-entropy``.

    A batch without teacher rows, as in validation, gets the label-smoothed cross-entropy alone.
    """

    def __init__(
        self,
        task: Any,
        sentence_avg: bool,
        label_smoothing: float,
        kd_alpha: float,
        kd_temperature: float,
        kd_topk: int,
        ignore_prefix_size: int = 0,
        report_accuracy: bool = False,
    ) -> None:
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        wrong = [
            (not 0.0 <= kd_alpha <= 1.0, "--kd-alpha", "from 0 to 1", kd_alpha),
            (not kd_temperature > 0.0, "--kd-temperature", "above 0", kd_temperature),
            (kd_topk < 0, "--kd-topk", "at least 0", kd_topk),
            (
                not 0.0 <= label_smoothing < 1.0,
                "--label-smoothing",
                "from 0 to below 1",
                label_smoothing,
            ),
        ]
        raise_all(must_be(name, wanted, seen) for is_wrong, name, wanted, seen in wrong if is_wrong)
        self.kd_alpha = kd_alpha
        self.kd_temperature = kd_temperature

    def forward(
        self, model: torch.nn.Module, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Return the loss summed over target tokens (in nats), the sample size, and what is logged."""
        net_output = model(**sample["net_input"])
        result = self.distill(model, net_output, sample)
        sample_size = sample["target"].size(0) if self.sentence_avg else sample["ntokens"]
        logging_output = {
            "loss": result.loss.detach(),
            "nll_loss": result.nll_loss.detach(),
            "kd_loss": result.kd_loss.detach(),
            "teacher_tokens": result.teacher_tokens,
            "ntokens": sample["ntokens"],
            "nsentences": sample["target"].size(0),
            "sample_size": sample_size,
        }
        if self.report_accuracy:
            logging_output["n_correct"], logging_output["total"] = self.compute_accuracy(
                model, net_output, sample
            )
        return result.loss, sample_size, logging_output

    def distill(
        self, model: torch.nn.Module, net_output: Any, sample: dict[str, Any]
    ) -> BertKDLoss:
        """Flatten the batch to tokens and return its loss.

        :raises ConfigurationError: if the student has an adaptive softmax, which has no logits to distil into.
        """
        if getattr(getattr(model, "decoder", None), "adaptive_softmax", None) is not None:
            raise ConfigurationError(
                "the student must have a plain softmax. Remove --adaptive-softmax-cutoff."
            )
        logits = net_output[0]  # (N, T, V)
        target = model.get_targets(sample, net_output)  # type: ignore[operator]  # (N, T)
        ids = sample.get("teacher_ids")
        if ids is None and model.training and self.kd_alpha > 0:
            raise ConfigurationError(
                "this criterion needs the teacher's rows in every training batch, but there are none. "
                "Use --task translation_bert_kd with --teacher-topk, or set --kd-alpha 0."
            )
        if ids is None:
            ids = target.new_empty((*target.shape, 0))
            logprobs = logits.new_empty(ids.shape)
        else:
            logprobs = sample["teacher_logprobs"]  # (N, T, K)
        prefix = self.ignore_prefix_size
        logits, target, ids, logprobs = (
            tensor[:, prefix:].flatten(0, 1) for tensor in (logits, target, ids, logprobs)
        )
        return bert_kd_loss(
            logits,
            target,
            ids,
            logprobs,
            alpha=self.kd_alpha,
            temperature=self.kd_temperature,
            label_smoothing=self.eps,
            ignore_index=self.padding_idx,
        )

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log as fairseq does, and ``kd_loss`` in bits per token that has a teacher."""
        super().reduce_metrics(logging_outputs)
        teacher_tokens = utils.item(
            sum(output.get("teacher_tokens", 0) for output in logging_outputs)
        )
        if teacher_tokens > 0:
            kd_loss = utils.item(sum(output.get("kd_loss", 0) for output in logging_outputs))
            metrics.log_scalar(
                "kd_loss", kd_loss / teacher_tokens / math.log(2), teacher_tokens, round=3
            )
