"""The student's criterion: :func:`bertkd_fairseq.loss.bert_kd_loss` for fairseq (stage 3, paper section 3.3)."""

import math
from dataclasses import replace
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.logging import metrics
from fairseq.models import FairseqEncoderDecoderModel
from fairseq.models.nat import FairseqNATModel

from bertkd_fairseq.consistency import kl_divergence, symmetric_kl_divergence, token_cutoff
from bertkd_fairseq.criterions.distillation_options import (
    HARD,
    BertKDLabelSmoothedCrossEntropyConfig,
    alpha_schedule,
    distillation_problems,
    gold_problem,
    token_selection,
)
from bertkd_fairseq.errors import ConfigurationError, must_be, raise_all
from bertkd_fairseq.loss import UNIFORM, BertKDLoss, bert_kd_loss, rank_first_loss
from bertkd_fairseq.targets.correction import corrected_rows
from bertkd_fairseq.teacher_rows import TeacherRows

_NO_ROWS = (
    "this criterion needs the teacher's rows in every training batch, but there are none. "
    "Use --task translation_bert_kd with --teacher-topk, or set --kd-alpha 0."
)

_OLD_ROWS = "one whose rows have none"

_WATCHED = (
    *("ntokens", "teacher_tokens", "kd_loss", "teacher_mass", "teacher_agreement", "kd_alpha"),
    *("tokens_with_rows", "consistency_loss", "kd_candidates", "kd_rank_loss"),
    *("kd_augmented", "label_smoothed_loss"),
)


def check_student(model: torch.nn.Module, cfg: Any) -> None:
    """Check, before the first batch, that this criterion can train ``model``.

    :raises ConfigurationError: if it isn't left-to-right, has no logits, or lacks what SimCut needs.
    """
    if not isinstance(model, FairseqEncoderDecoderModel) or isinstance(model, FairseqNATModel):
        wanted = "a left-to-right encoder-decoder, such as transformer"
        raise ConfigurationError(must_be("--arch", wanted, type(model).__name__))
    check_logits(model)
    if cfg.simcut_alpha > 0:
        with token_cutoff(model, cfg.simcut_p):
            pass


def check_logits(model: torch.nn.Module) -> None:
    """Check that ``model`` has logits.

    :raises ConfigurationError: if the student has an adaptive softmax, which has no logits to distil into.
    """
    if getattr(getattr(model, "decoder", None), "adaptive_softmax", None) is not None:
        raise ConfigurationError(
            "the student must have a plain softmax, but has an adaptive one. "
            "Remove --adaptive-softmax-cutoff."
        )


@register_criterion(
    "bert_kd_label_smoothed_cross_entropy", dataclass=BertKDLabelSmoothedCrossEntropyConfig
)
class BertKDLabelSmoothedCrossEntropy(LabelSmoothedCrossEntropyCriterion):
    """``alpha * KD + (1 - alpha) * label-smoothed cross-entropy``.

    A batch without teacher rows, as in validation, gets only the label-smoothed cross-entropy.
    """

    def __init__(self, cfg: BertKDLabelSmoothedCrossEntropyConfig, task: Any) -> None:
        super().__init__(
            task, cfg.sentence_avg, cfg.label_smoothing, cfg.ignore_prefix_size, cfg.report_accuracy
        )
        raise_all(distillation_problems(cfg))
        self.cfg = cfg
        self.schedule = alpha_schedule(cfg)
        self.alpha = self.schedule.at(0)
        self.selection = token_selection(cfg)
        self.eos = task.target_dictionary.eos()

    def train(self, mode: bool = True) -> "BertKDLabelSmoothedCrossEntropy":
        """Do as torch does, after a check. fairseq calls it before the first batch, so no ``crash.pt`` is written.

        :raises ConfigurationError: if training needs a teacher, but the task is one of fairseq's, which has none.
        """
        if (
            mode
            and self.schedule.needs_teacher
            and type(self.task).__module__.startswith("fairseq.")
        ):
            raise ConfigurationError(_NO_ROWS)
        return super().train(mode)

    def set_num_updates(self, num_updates: int) -> None:
        """Take alpha from its schedule. The task calls this before every update."""
        self.alpha = self.schedule.at(num_updates)

    def forward(
        self, model: torch.nn.Module, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Return the loss summed over target tokens (in nats), the sample size, and what is logged."""
        net_output = model(**sample["net_input"])
        result, watched = self.distill(model, net_output, sample)
        sample_size = sample["target"].size(0) if self.sentence_avg else sample["ntokens"]
        logging_output = {
            "nll_loss": result.nll_loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["target"].size(0),
            "sample_size": sample_size,
        }
        if TeacherRows.from_sample(sample) is not None:
            logging_output |= {
                "tokens_with_rows": sample["ntokens"],
                "teacher_tokens": result.teacher_tokens,
                "kd_loss": result.kd_loss.detach(),
                "teacher_mass": result.teacher_mass,
                "teacher_agreement": result.agreements,
                "kd_alpha": self.alpha * sample["ntokens"],
                **watched,
            }
            if self.cfg.kd_augment > 0:
                logging_output["kd_augmented"] = sample.get("augmented_tokens", 0)
        loss = result.loss
        if model.training and (self.cfg.simcut_alpha > 0 or self.cfg.rdrop_alpha > 0):
            loss, consistency = self._with_consistency(model, net_output, sample, result)
            logging_output["consistency_loss"] = consistency.detach()
        logging_output["loss"] = loss.detach()
        if self.report_accuracy:
            logging_output["n_correct"], logging_output["total"] = self.compute_accuracy(
                model, net_output, sample
            )
        return loss, sample_size, logging_output

    def distill(
        self, model: torch.nn.Module, net_output: Any, sample: dict[str, Any]
    ) -> tuple[BertKDLoss, dict[str, torch.Tensor]]:
        """Flatten the batch to tokens, and return its loss and what else is logged.

        :raises ConfigurationError: if there is nothing to distil, or nothing to distil into.
        """
        check_logits(model)
        rows = TeacherRows.from_sample(sample)
        if rows is None:
            if model.training and self.schedule.needs_teacher:
                raise ConfigurationError(_NO_ROWS)
            rows = TeacherRows.without_teacher(sample["target"], k=0)
        rows = rows.map(self._tokens)
        logits = self._tokens(net_output[0])
        target = self._tokens(sample["target"])  # (tokens,)
        if self.cfg.kd_eos == HARD:
            rows = rows.only(target.ne(self.eos))
        selected, watched = self._select(logits, target, rows)
        corrected = self._correct(logits, target, selected)
        result = bert_kd_loss(
            logits,
            target,
            corrected.ids,
            corrected.logprobs,
            alpha=self.alpha,
            temperature=self.cfg.kd_temperature,
            label_smoothing=self.eps,
            ignore_index=self.padding_idx,
            tail=self.cfg.kd_tail,
            log_tail=corrected.log_tail,
        )
        # Both are sums, so what the teacher has no part in is what remains.
        watched["label_smoothed_loss"] = (result.loss - self.alpha * result.kd_loss).detach()
        if self.cfg.kd_rank_first > 0:
            first = selected.only(target.ne(self.padding_idx))
            ranking = rank_first_loss(logits, first.ids, first.logprobs)
            watched["kd_rank_loss"] = ranking.detach()
            weight = self.alpha * self.cfg.kd_rank_first
            result = replace(result, loss=result.loss + weight * ranking)
        return result, watched

    def _select(
        self, logits: torch.Tensor, target: torch.Tensor, rows: TeacherRows
    ) -> tuple[TeacherRows, dict[str, torch.Tensor]]:
        """Return the rows of the tokens that learn from the teacher, and the number of tokens to select from."""
        if self.selection.is_all:
            return rows, {}
        if self.cfg.kd_better_only and rows.gold_logprob is None:
            raise ConfigurationError(gold_problem(self.cfg, _OLD_ROWS))
        rows = rows.only(target.ne(self.padding_idx))
        candidates = rows.logprobs.isneginf().logical_not().any(1).sum()
        chosen = self.selection.chosen(logits, target, rows.ids, rows.logprobs, rows.gold_logprob)
        return rows.only(chosen), {"kd_candidates": candidates}

    def _correct(
        self, logits: torch.Tensor, target: torch.Tensor, rows: TeacherRows
    ) -> TeacherRows:
        if not self.cfg.kd_loss_correction > 0:
            return rows
        if rows.gold_logprob is None:
            raise ConfigurationError(gold_problem(self.cfg, _OLD_ROWS))
        ids, logprobs, log_tail = corrected_rows(
            *(rows.ids, rows.logprobs, rows.log_tail, target, rows.gold_logprob),
            gamma=self.cfg.kd_loss_correction,
            tail_symbols=logits.size(1) if self.cfg.kd_tail == UNIFORM else None,
        )
        return TeacherRows(ids, logprobs, log_tail)

    def _with_consistency(
        self, model: torch.nn.Module, net_output: Any, sample: dict[str, Any], result: BertKDLoss
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Make a second forward pass. Return the loss with its consistency term, and the divergence itself."""
        logits = self._tokens(net_output[0])
        kept = self._tokens(sample["target"]).ne(self.padding_idx)
        if self.cfg.simcut_alpha > 0:
            with token_cutoff(model, self.cfg.simcut_p):
                other = model(**sample["net_input"])
            divergence = kl_divergence(logits, self._tokens(other[0]), kept)
            return result.loss + self.cfg.simcut_alpha * divergence, divergence
        other = model(**sample["net_input"])
        divergence = symmetric_kl_divergence(logits, self._tokens(other[0]), kept)
        both = (result.loss + self.distill(model, other, sample)[0].loss) / 2
        return both + self.cfg.rdrop_alpha / 2 * divergence, divergence

    def _tokens(self, tensor: torch.Tensor) -> torch.Tensor:
        """Flatten (N, T, ...) to the tokens after the ignored prefix: (tokens, ...)."""
        return tensor[:, self.ignore_prefix_size :].flatten(0, 1)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log what fairseq logs, and for batches with a teacher more.

        Each is a weighted mean, in the units of ``docs/tracking.md``. ``kd_loss`` goes over the tokens that learn from
        the teacher; in ``label_smoothed_loss`` each token weighs what its reference has in the loss.
        """
        super().reduce_metrics(logging_outputs)
        logged = {name for output in logging_outputs for name in output}
        if not logged & {"tokens_with_rows", "consistency_loss"}:
            return
        sums = [sum(output.get(name, 0) for output in logging_outputs) for name in _WATCHED]
        tensors = [value for value in sums if torch.is_tensor(value)]
        device = tensors[0].device if tensors else None
        # All values go in one transfer, because each transfer waits for the GPU.
        values = torch.stack([torch.as_tensor(value, device=device).double() for value in sums])
        total = dict(zip(_WATCHED, values.tolist(), strict=True))

        def log(name: str, value: float, weight: float, scale: float) -> None:
            if weight > 0:
                metrics.log_scalar(name, scale * value / weight, weight, round=3)

        bits = 1 / math.log(2)
        tokens, learning = total["tokens_with_rows"], total["teacher_tokens"]
        log("kd_loss", total["kd_loss"], learning, bits)
        if tokens > 0:
            hard_weight = tokens - learning * total["kd_alpha"] / tokens
            log("label_smoothed_loss", total["label_smoothed_loss"], hard_weight, bits)
        log("teacher_mass", total["teacher_mass"], learning, 100)
        log("teacher_agreement", total["teacher_agreement"], learning, 100)
        log("without_teacher", tokens - learning, tokens, 100)
        log("kd_alpha", total["kd_alpha"], tokens, 1)
        if "kd_augmented" in logged:
            log("kd_augmented", total["kd_augmented"], tokens, 100)
        log("kd_selected", learning, total["kd_candidates"], 100)
        if "kd_rank_loss" in logged:
            log("kd_rank_loss", total["kd_rank_loss"], learning, 1)
        if "consistency_loss" in logged:
            log("consistency_loss", total["consistency_loss"], total["ntokens"], bits)
