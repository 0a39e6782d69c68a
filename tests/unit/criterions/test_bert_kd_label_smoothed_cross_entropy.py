"""The student's criterion around the loss: alpha's schedule, EOS, consistency training, and what is logged."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.logging import metrics
from torch import Tensor

from bertkd_fairseq import compat

compat.apply()
from bertkd_fairseq.criterions.bert_kd_label_smoothed_cross_entropy import (  # noqa: E402
    BertKDLabelSmoothedCrossEntropy,
    BertKDLabelSmoothedCrossEntropyConfig,
)
from bertkd_fairseq.errors import ConfigurationError  # noqa: E402
from bertkd_fairseq.loss import bert_kd_loss  # noqa: E402

PAD, EOS, SYMBOLS, K = 1, 2, 11, 3


class Student(torch.nn.Module):
    """Says one prepared answer after the other, (N, T, V) each, whatever it is asked."""

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked = 0
        self.embed_tokens = torch.nn.Embedding(SYMBOLS, SYMBOLS, dtype=torch.float64)

    def forward(self, **net_input: Any) -> tuple[Tensor, None]:
        self.asked += 1
        return self.answers[self.asked - 1], None


def make_criterion(**options: Any) -> BertKDLabelSmoothedCrossEntropy:
    dictionary = Dictionary()
    cfg = BertKDLabelSmoothedCrossEntropyConfig(
        label_smoothing=0.1, **{"sentence_avg": False, **options}
    )
    return BertKDLabelSmoothedCrossEntropy(cfg, SimpleNamespace(target_dictionary=dictionary))


def make_batch() -> tuple[dict[str, Any], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    target = torch.tensor([[5, 6, EOS], [7, EOS, PAD]])
    teacher = torch.randn(2, 3, SYMBOLS, generator=generator, dtype=torch.float64).log_softmax(2)
    logprobs, ids = teacher.topk(K, dim=2)
    answers = [
        torch.randn(2, 3, SYMBOLS, generator=generator, dtype=torch.float64) for _ in range(2)
    ]
    sample = {
        "net_input": {},
        "target": target,
        "ntokens": 5,
        "teacher_ids": ids,
        "teacher_logprobs": logprobs.masked_fill(target.eq(PAD)[..., None], -math.inf),
        "teacher_log_tail": (-logprobs.exp().sum(2)).log1p(),
        "teacher_gold_logprob": teacher.gather(2, target[..., None]).squeeze(2),
    }
    return sample, answers


def reference(sample: dict[str, Any], answer: Tensor, alpha: float = 0.5, **changes: Any) -> Tensor:
    sample = {**sample, **changes}
    return bert_kd_loss(
        answer.flatten(0, 1),
        sample["target"].flatten(),
        sample["teacher_ids"].flatten(0, 1),
        sample["teacher_logprobs"].flatten(0, 1),
        alpha=alpha,
        temperature=10.0,
        label_smoothing=0.1,
        ignore_index=PAD,
    ).loss


def naive_kl(first: Tensor, second: Tensor, target: Tensor) -> float:
    total = 0.0
    for p, q, gold in zip(
        first.softmax(2).flatten(0, 1),
        second.softmax(2).flatten(0, 1),
        target.flatten(),
        strict=True,
    ):
        if int(gold) != PAD:
            total += sum(float(a) * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total


def test_a_linear_alpha_follows_the_updates() -> None:
    sample, (answer, _) = make_batch()
    options = {"kd_alpha_schedule": "linear", "kd_alpha_end": 0.1, "kd_alpha_updates": 10}
    criterion = make_criterion(kd_alpha=0.9, **options)
    for update, alpha in ((0, 0.9), (5, 0.5), (10, 0.1), (99, 0.1)):
        criterion.set_num_updates(update)
        loss, _, logged = criterion(Student(answer), sample)
        torch.testing.assert_close(loss, reference(sample, answer, alpha), rtol=1e-12, atol=0)
        assert logged["kd_alpha"] == pytest.approx(5 * alpha)


def test_alpha_may_rise_too() -> None:
    options = {"kd_alpha_schedule": "linear", "kd_alpha_end": 0.8, "kd_alpha_updates": 4}
    criterion = make_criterion(kd_alpha=0.0, **options)
    assert criterion.schedule.needs_teacher
    alphas = []
    for update in (0, 1, 4, 5):
        criterion.set_num_updates(update)
        alphas.append(criterion.alpha)
    assert alphas == pytest.approx([0.0, 0.2, 0.8, 0.8])


def test_hard_eos_has_its_hard_label_alone() -> None:
    sample, (answer, _) = make_batch()
    loss, _, logged = make_criterion(kd_eos="hard")(Student(answer), sample)
    without = sample["teacher_logprobs"].masked_fill(sample["target"].eq(EOS)[..., None], -math.inf)
    wanted = reference(sample, answer, teacher_logprobs=without)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    assert int(logged["teacher_tokens"]) == 3


def test_simcut_adds_the_divergence_from_the_cut_input() -> None:
    sample, (answer, cut) = make_batch()
    loss, _, logged = make_criterion(simcut_alpha=3.0)(Student(answer, cut), sample)
    divergence = naive_kl(answer, cut, sample["target"])
    wanted = float(reference(sample, answer)) + 3.0 * divergence
    assert float(loss) == pytest.approx(wanted, rel=1e-12)
    assert float(logged["consistency_loss"]) == pytest.approx(divergence, rel=1e-12)


def test_simcut_asks_the_second_time_with_embeddings_cut() -> None:
    """A student without dropout: only what was cut can make it say something else."""
    sample, _ = make_batch()

    class Embedder(Student):
        def forward(self, **net_input: Any) -> tuple[Tensor, None]:
            return self.embed_tokens(sample["target"]), None

    divergence = make_criterion(simcut_alpha=1.0, simcut_p=0.9)(Embedder(), sample)[2]
    assert float(divergence["consistency_loss"]) > 0
    same = make_criterion(simcut_alpha=1.0, simcut_p=1e-9)(Embedder(), sample)[2]
    assert float(same["consistency_loss"]) == 0


def test_rdrop_is_the_mean_of_two_passes_and_of_both_divergences() -> None:
    sample, (first, second) = make_batch()
    loss, _, _ = make_criterion(rdrop_alpha=5.0)(Student(first, second), sample)
    losses = (float(reference(sample, first)) + float(reference(sample, second))) / 2
    target = sample["target"]
    both = naive_kl(first, second, target) + naive_kl(second, first, target)
    assert float(loss) == pytest.approx(losses + 5.0 / 4 * both, rel=1e-12)


@pytest.mark.parametrize("option", ["simcut_alpha", "rdrop_alpha"])
def test_validation_asks_once(option: str) -> None:
    sample, (answer, _) = make_batch()
    student = Student(answer).eval()
    make_criterion(**{option: 1.0})(student, sample)
    assert student.asked == 1


def test_what_is_logged_of_two_workers_is_what_one_would_log() -> None:
    sample, (answer, other) = make_batch()
    criterion = make_criterion(kd_eos="hard")
    outputs = [criterion(Student(each), sample)[2] for each in (answer, other)]
    with metrics.aggregate() as aggregate:
        criterion.reduce_metrics(outputs)
    values = aggregate.get_smoothed_values()
    assert set(values) >= {"loss", "nll_loss", "ppl", "kd_loss", "teacher_mass"}
    mass = 1 - sample["teacher_log_tail"].exp()
    has_teacher = sample["target"].gt(EOS)
    assert values["teacher_mass"] == pytest.approx(100 * float(mass[has_teacher].mean()), abs=1e-3)
    firsts = sample["teacher_ids"][..., 0][has_teacher]
    agreeing = [each.argmax(2)[has_teacher].eq(firsts) for each in (answer, other)]
    wanted = 100 * float(torch.cat(agreeing).double().mean())
    assert values["teacher_agreement"] == pytest.approx(wanted, abs=1e-3)
    assert values["without_teacher"] == pytest.approx(100 * 4 / 10)
    assert values["kd_alpha"] == 0.5


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("more", [{}, {"kd_eos": "hard"}, {"kd_rank_first": 2.0}])
def test_the_label_smoothed_loss_is_a_mean_by_the_weight_of_the_reference(
    alpha: float, more: dict[str, Any]
) -> None:
    sample, (answer, _) = make_batch()
    criterion = make_criterion(kd_alpha=alpha, **more)
    with metrics.aggregate() as aggregate:
        criterion.reduce_metrics([{**criterion(Student(answer), sample)[2], "nsentences": 2}])
    losses, weights = [], []
    for logits, gold in zip(answer.flatten(0, 1), sample["target"].flatten(), strict=True):
        if int(gold) == PAD:
            continue
        eps = 0.1 / (SYMBOLS - 1)
        nats = [float(logits.logsumexp(0) - logit) for logit in logits]
        losses.append((0.9 - eps) * nats[int(gold)] + eps * sum(nats))
        hard = int(gold) == EOS and "kd_eos" in more
        weights.append(1.0 if hard else 1 - alpha)
    values = aggregate.get_smoothed_values()
    if not sum(weights):  # nobody learns from the reference
        assert "label_smoothed_loss" not in values
        return
    mean = sum(w * x for w, x in zip(weights, losses, strict=True)) / sum(weights)
    assert values["label_smoothed_loss"] == pytest.approx(mean / math.log(2), abs=6e-4)


def test_a_batch_without_rows_logs_nothing_of_the_teacher() -> None:
    sample, (answer, _) = make_batch()
    for name in ("teacher_ids", "teacher_logprobs", "teacher_log_tail"):
        del sample[name]
    criterion = make_criterion()
    with metrics.aggregate() as aggregate:
        criterion.reduce_metrics([criterion(Student(answer).eval(), sample)[2]])
    names = set(aggregate.get_smoothed_values())
    assert names == {"loss", "nll_loss", "ppl"}


def test_tokens_that_are_not_selected_have_their_hard_label_alone() -> None:
    sample, (answer, _) = make_batch()
    firsts = sample["teacher_ids"].gather(2, sample["teacher_logprobs"].argmax(2, keepdim=True))
    sample["target"][0, 0] = int(firsts[0, 0])
    right = firsts.squeeze(2).eq(sample["target"])
    assert 0 < int(right.sum()) < 5
    criterion = make_criterion(kd_token_selection="teacher-right")
    loss, _, logged = criterion(Student(answer), sample)
    without = sample["teacher_logprobs"].masked_fill(~right[..., None], -math.inf)
    wanted = reference(sample, answer, teacher_logprobs=without)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    assert int(logged["kd_candidates"]) == 5  # padding is no candidate
    assert int(logged["teacher_tokens"]) == int(right.sum())


def test_better_only_leaves_out_what_the_student_knows_better() -> None:
    sample, (answer, _) = make_batch()
    own = answer.log_softmax(2).gather(2, sample["target"][..., None]).squeeze(2)
    better = sample["teacher_gold_logprob"] > own
    kept = sample["target"].ne(PAD)
    assert 0 < int(better[kept].sum()) < 5
    loss, _, logged = make_criterion(kd_better_only=True)(Student(answer), sample)
    without = sample["teacher_logprobs"].masked_fill(~better[..., None], -math.inf)
    wanted = reference(sample, answer, teacher_logprobs=without)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    assert int(logged["teacher_tokens"]) == int(better[kept].sum())


def test_ranking_is_weighed_within_alpha() -> None:
    sample, (answer, _) = make_batch()
    loss, _, logged = make_criterion(kd_rank_first=2.0, kd_alpha=0.3)(Student(answer), sample)
    p, ranking = answer.softmax(2), 0.0
    firsts = sample["teacher_ids"][..., 0]
    for n, t in sample["target"].ne(PAD).nonzero().tolist():
        above = [float(q - p[n, t, firsts[n, t]]) for q in p[n, t]]
        ranking += sum(x for x in above if x > 0)
    assert float(logged["kd_rank_loss"]) == pytest.approx(ranking, rel=1e-12)
    wanted = float(reference(sample, answer, 0.3)) + 0.3 * 2.0 * ranking
    assert float(loss) == pytest.approx(wanted, rel=1e-12)


ALL_ON = {
    "kd_token_selection": "student-loss",
    "kd_token_share": 0.6,
    "kd_better_only": True,
    "kd_loss_correction": 1.5,
    "kd_rank_first": 2.0,
}


@pytest.mark.parametrize("rows", [True, False])
def test_without_alpha_nothing_of_the_teacher_is_left(rows: bool) -> None:
    """Byte by byte, the gradient too."""
    sample, (answer, _) = make_batch()
    if not rows:
        sample = {name: value for name, value in sample.items() if "teacher" not in name}
    found = []
    for options in ({}, ALL_ON):
        logits = answer.float().requires_grad_()
        loss = make_criterion(kd_alpha=0.0, **options)(Student(logits), sample)[0]
        loss.backward()
        found.append((loss.detach(), logits.grad))
    (plain, plain_gradient), (loss, gradient) = found
    assert torch.equal(loss, plain) and torch.equal(gradient, plain_gradient)


def test_everything_together_and_the_sums_of_two_workers() -> None:
    sample, answers = make_batch()
    criterion = make_criterion(kd_eos="hard", **ALL_ON)
    outputs = [criterion(Student(each), sample)[2] for each in answers]
    with metrics.aggregate() as aggregate:
        criterion.reduce_metrics(outputs)
    values = aggregate.get_smoothed_values()
    chosen = sum(int(output["teacher_tokens"]) for output in outputs)
    assert 0 < chosen < 6 and sum(int(output["kd_candidates"]) for output in outputs) == 6
    assert values["kd_selected"] == pytest.approx(100 * chosen / 6, abs=1e-3)
    assert values["without_teacher"] == pytest.approx(100 * (10 - chosen) / 10)
    ranking = sum(float(output["kd_rank_loss"]) for output in outputs)
    assert values["kd_rank_loss"] == pytest.approx(ranking / chosen, abs=1e-3)
    rdrop = make_criterion(rdrop_alpha=1.0, **ALL_ON)
    assert torch.isfinite(rdrop(Student(*answers), sample)[0])


@pytest.mark.parametrize("options", [{"kd_better_only": True}, {"kd_loss_correction": 1.0}])
def test_rows_of_format_1_are_refused_where_they_do_not_do(options: dict[str, Any]) -> None:
    sample, (answer, _) = make_batch()
    del sample["teacher_gold_logprob"]
    [name] = (f"--{option.replace('_', '-')}" for option in options)
    with pytest.raises(ConfigurationError) as error:
        make_criterion(**options)(Student(answer), sample)
    assert str(error.value) == (
        f"`--teacher-topk` must be a store of format 2 for {name}: with the teacher's probability of every target "
        "token, but is one whose rows have none instead. Dump it again with `bertkd dump-topk --force`."
    )


def test_wrong_options_of_the_selection_are_named() -> None:
    with pytest.raises(ConfigurationError) as error:
        make_criterion(
            kd_token_selection="some",
            kd_token_share=0.0,
            kd_loss_correction=-1.0,
            kd_rank_first=math.inf,
            kd_augment=1.5,
        )
    assert str(error.value) == (
        "5 problems:\n"
        "  1. `--kd-token-selection` must be one of all, student-loss, teacher-confidence, teacher-right, "
        "but is some instead.\n"
        "  2. `--kd-token-share` must be above 0 and at most 1, but is 0.0 instead.\n"
        "  3. `--kd-loss-correction` must be at least 0 and finite, but is -1.0 instead.\n"
        "  4. `--kd-rank-first` must be at least 0 and finite, but is inf instead.\n"
        "  5. `--kd-augment` must be from 0 to 1, but is 1.5 instead."
    )
    with pytest.raises(ConfigurationError) as error:
        make_criterion(kd_token_share=0.3, kd_token_selection="teacher-right")
    assert str(error.value) == (
        "--kd-token-share has no meaning without --kd-token-selection student-loss or teacher-confidence. "
        "Add one, or leave it out."
    )


def test_all_wrong_options_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        make_criterion(
            kd_alpha_schedule="linear",
            kd_tail="ghost",
            kd_eos="soft",
            simcut_alpha=1.0,
            simcut_p=0.0,
            rdrop_alpha=1.0,
        )
    assert str(error.value) == (
        "6 problems:\n"
        "  1. `--kd-temperature` must be 1 with --kd-tail ghost or uniform, which need the teacher's own "
        "probabilities, but is 10.0 instead.\n"
        "  2. `--kd-eos` must be one of same, hard, but is soft instead.\n"
        "  3. `--kd-alpha-end` must be from 0 to 1 with --kd-alpha-schedule linear, but is None instead.\n"
        "  4. `--kd-alpha-updates` must be at least 1 with --kd-alpha-schedule linear, but is 0 instead.\n"
        "  5. `--simcut-p` must be between 0 and 1, but is 0.0 instead.\n"
        "  6. --simcut-alpha and --rdrop-alpha exclude each other. Leave one out."
    )


def test_a_schedule_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError) as error:
        make_criterion(kd_alpha_end=0.3, kd_alpha_schedule="constant")
    assert str(error.value) == (
        "--kd-alpha-end and --kd-alpha-updates have no meaning without --kd-alpha-schedule linear. "
        "Add it, or leave them out."
    )


def test_a_task_of_ones_own_may_bring_rows() -> None:
    """Only fairseq's are known to have none."""
    assert make_criterion(kd_alpha=0.5).train().training
