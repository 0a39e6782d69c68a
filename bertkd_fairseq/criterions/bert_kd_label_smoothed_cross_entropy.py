"""The student's criterion: :func:`bertkd_fairseq.loss.bert_kd_loss` for fairseq (stage 3, paper section 3.3)."""

import math
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.logging import metrics
from fairseq.models import FairseqEncoderDecoderModel
from fairseq.models.nat import FairseqNATModel

from bertkd_fairseq.consistency import kl_divergence, symmetric_kl_divergence, token_cutoff
from bertkd_fairseq.errors import ConfigurationError, must_be, raise_all
from bertkd_fairseq.loss import (
    ALPHAS,
    CONSTANT,
    GHOST,
    LINEAR,
    RENORMALIZE,
    SCHEDULES,
    UNIFORM,
    AlphaSchedule,
    BertKDLoss,
    bert_kd_loss,
    is_alpha,
    option_problems,
)
from bertkd_fairseq.teacher_rows import TeacherRows

SAME, HARD = EOS_TARGETS = ("same", "hard")

_NO_ROWS = (
    "this criterion needs the teacher's rows in every training batch, but there are none. "
    "Use --task translation_bert_kd with --teacher-topk, or set --kd-alpha 0."
)

_OPTIONS = {
    "alpha": "--kd-alpha",
    "temperature": "--kd-temperature",
    "label_smoothing": "--label-smoothing",
    "tail": "--kd-tail",
}
"""What the command line calls the options of the loss."""

_WATCHED = (
    *("ntokens", "teacher_tokens", "kd_loss", "teacher_mass", "teacher_agreement", "kd_alpha"),
    *("tokens_with_rows", "consistency_loss"),
)


@dataclass
class BertKDLabelSmoothedCrossEntropyConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """Options of ``--criterion bert_kd_label_smoothed_cross_entropy``, beside fairseq's own."""

    kd_alpha: float = field(
        default=0.5,
        metadata={
            "help": f"weight of the teacher's soft targets, {ALPHAS}; 0: none (paper, equation 5)"
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
    kd_tail: str = field(
        default=RENORMALIZE,
        metadata={
            "help": f"what becomes of the teacher's mass outside its top K. {RENORMALIZE}: the K share it (paper). "
            f"{GHOST}: it goes to one symbol that stands for all others. {UNIFORM}: all others share it. The last two "
            "need --kd-temperature 1"
        },
    )
    kd_eos: str = field(
        default=SAME,
        metadata={
            "help": f"what EOS is trained on, which the teacher always knows. {SAME}: as any token (paper). {HARD}: "
            "train EOS on its label only. A high temperature would give most of its weight to wrong symbols"
        },
    )
    kd_alpha_schedule: str = field(
        default=CONSTANT,
        metadata={
            "help": f"{CONSTANT}: always --kd-alpha. {LINEAR}: from --kd-alpha to --kd-alpha-end"
        },
    )
    kd_alpha_end: Optional[float] = field(
        default=None, metadata={"help": "alpha at the end of a linear schedule"}
    )
    kd_alpha_updates: int = field(
        default=0, metadata={"help": "updates that a linear schedule takes"}
    )
    simcut_alpha: float = field(
        default=0.0,
        metadata={
            "help": "weight of SimCut consistency training beside distillation, 0: off "
            "(arXiv 2206.02368, section 3; its authors use 3)"
        },
    )
    simcut_p: float = field(
        default=0.05, metadata={"help": "share of tokens that SimCut blanks (its authors: 0.05)"}
    )
    rdrop_alpha: float = field(
        default=0.0,
        metadata={
            "help": "weight of R-Drop consistency training beside distillation, 0: off "
            "(arXiv 2106.14448, equation 4; its authors use 5)"
        },
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
    """:raises ConfigurationError: if the student has an adaptive softmax, which has no logits to distil into."""
    if getattr(getattr(model, "decoder", None), "adaptive_softmax", None) is not None:
        raise ConfigurationError(
            "the student must have a plain softmax, but has an adaptive one. "
            "Remove --adaptive-softmax-cutoff."
        )


def alpha_schedule(cfg: Any) -> AlphaSchedule:
    """Return the schedule of alpha that a criterion's configuration asks for."""
    kind, end = cfg.kd_alpha_schedule, cfg.kd_alpha_end
    return AlphaSchedule(cfg.kd_alpha, kind, end, cfg.kd_alpha_updates)


@register_criterion(
    "bert_kd_label_smoothed_cross_entropy", dataclass=BertKDLabelSmoothedCrossEntropyConfig
)
class BertKDLabelSmoothedCrossEntropy(LabelSmoothedCrossEntropyCriterion):
    """``alpha * KD + (1 - alpha) * label-smoothed cross-entropy``.

    A batch without teacher rows, as in validation, gets the label-smoothed cross-entropy alone.
    """

    def __init__(self, cfg: BertKDLabelSmoothedCrossEntropyConfig, task: Any) -> None:
        super().__init__(
            task, cfg.sentence_avg, cfg.label_smoothing, cfg.ignore_prefix_size, cfg.report_accuracy
        )
        raise_all(_problems(cfg))
        self.cfg = cfg
        self.schedule = alpha_schedule(cfg)
        self.alpha = self.schedule.at(0)
        self.eos = task.target_dictionary.eos()

    def train(self, mode: bool = True) -> "BertKDLabelSmoothedCrossEntropy":
        """As in torch; fairseq calls it before the first batch, of which it would keep a ``crash.pt``.

        :raises ConfigurationError: if training needs a teacher and the task is one of fairseq's, which have none.
        """
        if (
            mode
            and self.schedule.needs_teacher
            and type(self.task).__module__.startswith("fairseq.")
        ):
            raise ConfigurationError(_NO_ROWS)
        return super().train(mode)

    def set_num_updates(self, num_updates: int) -> None:
        """Take alpha from its schedule; the task calls this before every update."""
        self.alpha = self.schedule.at(num_updates)

    def forward(
        self, model: torch.nn.Module, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Return the loss summed over target tokens (in nats), the sample size, and what is logged."""
        net_output = model(**sample["net_input"])
        result = self.distill(model, net_output, sample)
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
            }
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
    ) -> BertKDLoss:
        """Flatten the batch to tokens and return its loss.

        :raises ConfigurationError: if there is nothing to distil, or nothing to distil into.
        """
        check_logits(model)
        rows = TeacherRows.from_sample(sample)
        if rows is None:
            if model.training and self.schedule.needs_teacher:
                raise ConfigurationError(_NO_ROWS)
            rows = TeacherRows.without_teacher(sample["target"], k=0)
        rows = rows.map(self._tokens)
        target = self._tokens(sample["target"])  # (tokens,)
        logprobs = rows.logprobs  # (tokens, K)
        if self.cfg.kd_eos == HARD:
            logprobs = logprobs.masked_fill(target.eq(self.eos).unsqueeze(1), float("-inf"))
        return bert_kd_loss(
            self._tokens(net_output[0]),
            target,
            rows.ids,
            logprobs,
            alpha=self.alpha,
            temperature=self.cfg.kd_temperature,
            label_smoothing=self.eps,
            ignore_index=self.padding_idx,
            tail=self.cfg.kd_tail,
            log_tail=rows.log_tail,
        )

    def _with_consistency(
        self, model: torch.nn.Module, net_output: Any, sample: dict[str, Any], result: BertKDLoss
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss with its consistency term, and the divergence itself, after a second forward pass."""
        logits = self._tokens(net_output[0])
        kept = self._tokens(sample["target"]).ne(self.padding_idx)
        if self.cfg.simcut_alpha > 0:
            with token_cutoff(model, self.cfg.simcut_p):
                other = model(**sample["net_input"])
            divergence = kl_divergence(logits, self._tokens(other[0]), kept)
            return result.loss + self.cfg.simcut_alpha * divergence, divergence
        other = model(**sample["net_input"])
        divergence = symmetric_kl_divergence(logits, self._tokens(other[0]), kept)
        both = (result.loss + self.distill(model, other, sample).loss) / 2
        return both + self.cfg.rdrop_alpha / 2 * divergence, divergence

    def _tokens(self, tensor: torch.Tensor) -> torch.Tensor:
        """Flatten (N, T, ...) to the tokens behind the prefix that is ignored: (tokens, ...)."""
        return tensor[:, self.ignore_prefix_size :].flatten(0, 1)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log as fairseq does, and more for batches with a teacher.

        ``kd_loss`` in bits, ``teacher_mass`` within the K entries and ``teacher_agreement`` of the predictions in
        percent, each per token that has a teacher; ``without_teacher``: the percentage that has none.
        """
        super().reduce_metrics(logging_outputs)
        logged = {name for output in logging_outputs for name in output}
        if not logged & {"tokens_with_rows", "consistency_loss"}:
            return
        sums = [sum(output.get(name, 0) for output in logging_outputs) for name in _WATCHED]
        tensors = [value for value in sums if torch.is_tensor(value)]
        device = tensors[0].device if tensors else None
        # All in one transfer: a GPU has to be waited for every time.
        values = torch.stack([torch.as_tensor(value, device=device).double() for value in sums])
        total = dict(zip(_WATCHED, values.tolist(), strict=True))

        def log(name: str, value: float, count: str, scale: float) -> None:
            if total[count] > 0:
                metrics.log_scalar(name, scale * value / total[count], total[count], round=3)

        bits = 1 / math.log(2)
        log("kd_loss", total["kd_loss"], "teacher_tokens", bits)
        log("teacher_mass", total["teacher_mass"], "teacher_tokens", 100)
        log("teacher_agreement", total["teacher_agreement"], "teacher_tokens", 100)
        missing = total["tokens_with_rows"] - total["teacher_tokens"]
        log("without_teacher", missing, "tokens_with_rows", 100)
        log("kd_alpha", total["kd_alpha"], "tokens_with_rows", 1)
        if "consistency_loss" in logged:
            log("consistency_loss", total["consistency_loss"], "ntokens", bits)


def _problems(cfg: BertKDLabelSmoothedCrossEntropyConfig) -> list[str]:
    problems = option_problems(
        alpha=cfg.kd_alpha,
        temperature=cfg.kd_temperature,
        label_smoothing=cfg.label_smoothing,
        tail=cfg.kd_tail,
        names=_OPTIONS,
    )
    wrong = [
        (cfg.kd_topk < 0, "--kd-topk", "at least 0", cfg.kd_topk),
        (cfg.kd_eos not in EOS_TARGETS, "--kd-eos", f"one of {', '.join(EOS_TARGETS)}", cfg.kd_eos),
        *_schedule_problems(cfg),
        (not cfg.simcut_alpha >= 0.0, "--simcut-alpha", "at least 0", cfg.simcut_alpha),
        (not 0.0 < cfg.simcut_p < 1.0, "--simcut-p", "between 0 and 1", cfg.simcut_p),
        (not cfg.rdrop_alpha >= 0.0, "--rdrop-alpha", "at least 0", cfg.rdrop_alpha),
        (cfg.ignore_prefix_size < 0, "--ignore-prefix-size", "at least 0", cfg.ignore_prefix_size),
    ]
    problems += [must_be(name, wanted, seen) for is_so, name, wanted, seen in wrong if is_so]
    if cfg.kd_alpha_schedule == CONSTANT and (cfg.kd_alpha_end is not None or cfg.kd_alpha_updates):
        problems.append(
            f"--kd-alpha-end and --kd-alpha-updates have no meaning without --kd-alpha-schedule {LINEAR}. "
            "Add it, or leave them out."
        )
    if cfg.simcut_alpha > 0 and cfg.rdrop_alpha > 0:
        problems.append("--simcut-alpha and --rdrop-alpha exclude each other. Leave one out.")
    return problems


def _schedule_problems(
    cfg: BertKDLabelSmoothedCrossEntropyConfig,
) -> list[tuple[bool, str, str, object]]:
    """Return for each option of the schedule whether it is wrong, its name, what is wanted and what is seen."""
    kind, end, updates = cfg.kd_alpha_schedule, cfg.kd_alpha_end, cfg.kd_alpha_updates
    linear, with_it = kind == LINEAR, f"with --kd-alpha-schedule {LINEAR}"
    kinds = f"one of {', '.join(SCHEDULES)}"
    return [
        (kind not in SCHEDULES, "--kd-alpha-schedule", kinds, kind),
        (linear and not is_alpha(end), "--kd-alpha-end", f"{ALPHAS} {with_it}", end),
        (linear and updates < 1, "--kd-alpha-updates", f"at least 1 {with_it}", updates),
    ]
