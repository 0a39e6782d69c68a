"""The options of distillation: those of the criterion, and what they need from a store."""

import math
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterionConfig,
)

from bertkd_fairseq.errors import must_be
from bertkd_fairseq.loss import (
    ALPHAS,
    CONSTANT,
    GHOST,
    LINEAR,
    RENORMALIZE,
    SCHEDULES,
    UNIFORM,
    AlphaSchedule,
    is_alpha,
    option_problems,
)
from bertkd_fairseq.targets.selection import (
    ALL,
    SELECTIONS,
    SHARE,
    STUDENT_LOSS,
    TEACHER_CONFIDENCE,
    TEACHER_RIGHT,
    TokenSelection,
)

SAME, HARD = EOS_TARGETS = ("same", "hard")

_OPTIONS = {
    "alpha": "--kd-alpha",
    "temperature": "--kd-temperature",
    "label_smoothing": "--label-smoothing",
    "tail": "--kd-tail",
}
"""The names of the options of the loss on the command line."""


@dataclass
class BertKDLabelSmoothedCrossEntropyConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """The options of ``--criterion bert_kd_label_smoothed_cross_entropy``, beside fairseq's own."""

    kd_alpha: float = field(
        default=0.5,
        metadata={
            "help": f"weight of the teacher's soft targets, {ALPHAS}. 0: no soft targets (paper, equation 5)"
        },
    )
    kd_temperature: float = field(
        default=10.0,
        metadata={
            "help": "temperature of the teacher's softmax. The student's has none (footnote 8)"
        },
    )
    kd_topk: int = field(
        default=0,
        metadata={"help": "use only the teacher's k largest entries. 0: all that the store holds"},
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
            "help": f"how EOS is trained, which the teacher always knows. {SAME}: like any token (paper). {HARD}: only "
            "on its label. A high temperature would give most of its weight to wrong symbols"
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
    kd_token_selection: str = field(
        default=ALL,
        metadata={
            "help": "which tokens learn from the teacher. The others learn only from their hard label. "
            f"{ALL}: all tokens. {STUDENT_LOSS}: the share --kd-token-share of a batch that the student finds hardest "
            f"(arXiv 2105.12967, 2202.13663). {TEACHER_CONFIDENCE}: the same share, of the tokens on which the teacher "
            f"is surest. {TEACHER_RIGHT}: the tokens on which its first guess is the label"
        },
    )
    kd_token_share: Optional[float] = field(
        default=None,
        metadata={"help": f"share of the tokens of a batch to select; {SHARE} if not given"},
    )
    kd_better_only: bool = field(
        default=False,
        metadata={
            "help": "a token learns from the teacher only if the teacher gives its label a higher probability than the "
            "student does. This needs a store of format 2"
        },
    )
    kd_loss_correction: float = field(
        default=0.0,
        metadata={
            "help": "gamma of loss correction, which adds gamma * (label - p) to the teacher's logits. 0: off "
            "(arXiv 2104.09732). This needs a store of format 2"
        },
    )
    kd_rank_first: float = field(
        default=0.0,
        metadata={
            "help": "weight, multiplied by alpha, of a loss for symbols that the student ranks above the teacher's "
            "first guess. 0: off (TIE-KD, arXiv 2305.08096)"
        },
    )
    kd_augment: float = field(
        default=0.0,
        metadata={
            "help": "probability that training replaces a decoder input by a token that the teacher finds likely "
            "there. 0: off (Gao et al., ACL 2019). This needs a store, even with --kd-alpha 0"
        },
    )
    simcut_alpha: float = field(
        default=0.0,
        metadata={
            "help": "weight of SimCut consistency training beside distillation. 0: off "
            "(arXiv 2206.02368, section 3; its authors use 3)"
        },
    )
    simcut_p: float = field(
        default=0.05, metadata={"help": "share of tokens that SimCut blanks (its authors: 0.05)"}
    )
    rdrop_alpha: float = field(
        default=0.0,
        metadata={
            "help": "weight of R-Drop consistency training beside distillation. 0: off "
            "(arXiv 2106.14448, equation 4; its authors use 5)"
        },
    )


def alpha_schedule(cfg: Any) -> AlphaSchedule:
    """Return the schedule of alpha that a criterion's configuration asks for."""
    kind, end = cfg.kd_alpha_schedule, cfg.kd_alpha_end
    return AlphaSchedule(cfg.kd_alpha, kind, end, cfg.kd_alpha_updates)


def token_selection(cfg: Any) -> TokenSelection:
    """Return the selection of tokens that a criterion's configuration asks for."""
    share = SHARE if cfg.kd_token_share is None else cfg.kd_token_share
    return TokenSelection(cfg.kd_token_selection, share, cfg.kd_better_only)


def gold_problem(cfg: Any, seen: str) -> str:
    """Return the message for options in use that need the teacher's p(label), which ``seen`` lacks; or nothing."""
    in_use = {
        "--kd-better-only": cfg.kd_better_only,
        "--kd-loss-correction": cfg.kd_loss_correction > 0,
    }
    names = " and ".join(name for name, used in in_use.items() if used)
    if not names:
        return ""
    wanted = (
        f"a store of format 2 for {names}: with the teacher's probability of every target token"
    )
    return must_be("--teacher-topk", wanted, seen, "Dump it again with `bertkd dump-topk --force`.")


def distillation_problems(cfg: BertKDLabelSmoothedCrossEntropyConfig) -> list[str]:
    """Return a message for every option that can't work."""
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
        *_selection_problems(cfg),
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
    if cfg.kd_token_share is not None and cfg.kd_token_selection in (ALL, TEACHER_RIGHT):
        problems.append(
            "--kd-token-share has no meaning without --kd-token-selection "
            f"{STUDENT_LOSS} or {TEACHER_CONFIDENCE}. Add one, or leave it out."
        )
    if cfg.simcut_alpha > 0 and cfg.rdrop_alpha > 0:
        problems.append("--simcut-alpha and --rdrop-alpha exclude each other. Leave one out.")
    return problems


def _schedule_problems(
    cfg: BertKDLabelSmoothedCrossEntropyConfig,
) -> list[tuple[bool, str, str, object]]:
    """Return four things for each option of the schedule: whether it is wrong, its name, what is wanted and seen."""
    kind, end, updates = cfg.kd_alpha_schedule, cfg.kd_alpha_end, cfg.kd_alpha_updates
    linear, with_it = kind == LINEAR, f"with --kd-alpha-schedule {LINEAR}"
    kinds = f"one of {', '.join(SCHEDULES)}"
    return [
        (kind not in SCHEDULES, "--kd-alpha-schedule", kinds, kind),
        (linear and not is_alpha(end), "--kd-alpha-end", f"{ALPHAS} {with_it}", end),
        (linear and updates < 1, "--kd-alpha-updates", f"at least 1 {with_it}", updates),
    ]


def _selection_problems(
    cfg: BertKDLabelSmoothedCrossEntropyConfig,
) -> list[tuple[bool, str, str, object]]:
    """Return the same for the options that select tokens or change their targets."""
    kind, share = cfg.kd_token_selection, cfg.kd_token_share
    gamma, weight = cfg.kd_loss_correction, cfg.kd_rank_first
    kinds, finite = f"one of {', '.join(SELECTIONS)}", "at least 0 and finite"
    wrong_share = share is not None and not 0.0 < share <= 1.0
    return [
        (kind not in SELECTIONS, "--kd-token-selection", kinds, kind),
        (wrong_share, "--kd-token-share", "above 0 and at most 1", share),
        (not 0.0 <= gamma < math.inf, "--kd-loss-correction", finite, gamma),
        (not 0.0 <= weight < math.inf, "--kd-rank-first", finite, weight),
        (not 0.0 <= cfg.kd_augment <= 1.0, "--kd-augment", "from 0 to 1", cfg.kd_augment),
    ]
