"""Loss correction against its definition, written out over every symbol that the loss has a place for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bertkd_fairseq.loss import TAILS, bert_kd_loss
from bertkd_fairseq.targets.correction import corrected_rows

PAD, SYMBOLS, ROWS = 1, 13, 12


def make_teacher(seed: int, sharp: float = 2.0) -> tuple[Tensor, Tensor]:
    """Return whole distributions (N, V), one with symbols that can't be, and labels (N,), some of them padding."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(ROWS, SYMBOLS, generator=generator, dtype=torch.float64) * sharp
    target = torch.randint(2, SYMBOLS, (ROWS,), generator=generator)
    target[::5] = PAD
    logits[1, int(target[1])] = -math.inf
    return logits.softmax(1), target


def stored(
    teacher: Tensor, target: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return what a store of format 2 keeps of it."""
    p, ids = teacher.topk(k, dim=1)
    tail = teacher.scatter(1, ids, 0.0).sum(1)
    gold = teacher.gather(1, target[:, None]).squeeze(1)
    return ids, p.log(), tail.log(), target, gold.log()


def naive_outcomes(p: list[float], gold: int, k: int, tail: str) -> list[tuple[list[int], float]]:
    """Return what the loss tells apart, each as the symbols it stands for and their probability together."""
    best = sorted(range(len(p)), key=lambda v: -p[v])[:k]
    alone = best + ([gold] if gold not in best and p[gold] > 0 else [])
    others = [v for v in range(len(p)) if v not in alone]
    rest = math.fsum(p[v] for v in others)
    outcomes = [([v], p[v]) for v in alone if p[v] > 0]
    if tail == "ghost" and rest > 0:
        outcomes.append((others, rest))
    if tail == "uniform" and rest > 0:
        outcomes += [([v], rest / len(others)) for v in others]
    return outcomes


def naive_loss(
    logits: Tensor, teacher: Tensor, target: Tensor, k: int, tail: str, gamma: float, t: float
) -> Tensor:
    """Return 0.3 times the corrected cross-entropy plus 0.7 times the label-smoothed one."""
    total = logits.new_zeros(())
    for row in range(len(target)):
        gold = int(target[row])
        if gold == PAD:
            continue
        log_q = logits[row].log_softmax(0)
        outcomes = naive_outcomes(teacher[row].tolist(), gold, k, tail)
        # A label that the teacher can't say, whose logit is -inf, stays where it is.
        label = gold if float(teacher[row, gold]) > 0 else None
        moved = [math.log(p) + gamma * ((label in group) - p) for group, p in outcomes]
        weights = [math.exp(z / t) for z in moved]
        kd = logits.new_zeros(())
        for (group, _), weight in zip(outcomes, weights, strict=True):
            kd = kd - weight / math.fsum(weights) * log_q[group].exp().sum().log()
        floor = 0.1 / (len(log_q) - 1)
        lsce = -(0.9 - floor) * log_q[gold] - floor * log_q.sum()
        total = total + 0.3 * kd + 0.7 * lsce
    return total


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.sampled_from([1, 3, SYMBOLS]),
    case=st.sampled_from([*((tail, 1.0) for tail in TAILS), ("renormalize", 5.0)]),
    gamma=st.sampled_from([1e-3, 0.5, 1.0, 4.0]),
)
def test_loss_and_gradient_are_those_of_the_definition(
    seed: int, k: int, case: tuple[str, float], gamma: float
) -> None:
    tail, temperature = case
    teacher, target = make_teacher(seed)
    student = torch.randn(ROWS, SYMBOLS, dtype=torch.float64)
    ours, reference = student.clone().requires_grad_(), student.clone().requires_grad_()
    ids, logprobs, log_tail = corrected_rows(
        *stored(teacher, target, k),
        gamma=gamma,
        tail_symbols=SYMBOLS if tail == "uniform" else None,
    )
    options = {"alpha": 0.3, "label_smoothing": 0.1, "ignore_index": PAD, "tail": tail}
    loss = bert_kd_loss(
        *(ours, target, ids, logprobs), temperature=temperature, log_tail=log_tail, **options
    ).loss
    wanted = naive_loss(reference, teacher, target, k, tail, gamma, temperature)
    torch.testing.assert_close(loss, wanted, rtol=1e-11, atol=1e-11)
    loss.backward()
    wanted.backward()
    torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-10, atol=1e-11)


def test_with_every_symbol_stored_it_is_the_published_correction() -> None:
    teacher, target = make_teacher(0)
    ids, logprobs, log_tail = corrected_rows(*stored(teacher, target, SYMBOLS), gamma=2.0)
    label = torch.nn.functional.one_hot(target, SYMBOLS)
    wanted = (teacher.log() + 2.0 * (label - teacher)).softmax(1)
    # The entry more is unused, and names the label again.
    whole = torch.zeros_like(teacher).scatter_add(1, ids, logprobs.exp())
    torch.testing.assert_close(whole, wanted, rtol=1e-12, atol=1e-14)
    assert torch.isneginf(logprobs[:, -1]).all() and torch.isneginf(log_tail).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, SYMBOLS), uniform=st.booleans())
def test_rows_sum_to_one_and_the_label_rises_with_gamma(seed: int, k: int, uniform: bool) -> None:
    teacher, target = make_teacher(seed)
    before = teacher.gather(1, target[:, None]).squeeze(1)
    possible = before > 0
    for gamma in (0.1, 1.0, 5.0):
        ids, logprobs, log_tail = corrected_rows(
            *stored(teacher, target, k), gamma=gamma, tail_symbols=SYMBOLS if uniform else None
        )
        assert ids.shape == logprobs.shape == (ROWS, k + 1)
        total = logprobs.exp().sum(1) + log_tail.exp()
        torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-12, atol=0)
        now = torch.where(ids.eq(target[:, None]), logprobs.exp(), 0.0).sum(1)
        assert (now > before - 1e-12)[possible].all() and (now == 0)[~possible].all()
        before = now


def test_a_teacher_that_is_sure_and_right_stays_as_it_is() -> None:
    ids, logprobs, log_tail = torch.tensor([[4, 5]]), torch.tensor([[0.0, -math.inf]]), -math.inf
    tail, target = torch.tensor([log_tail]), torch.tensor([4])
    rows = corrected_rows(ids, logprobs, tail, target, torch.tensor([0.0]), gamma=9.0)
    assert rows[1].tolist() == [[0.0, -math.inf, -math.inf]] and rows[2].tolist() == [-math.inf]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_rows_without_a_teacher_stay_without(dtype: torch.dtype) -> None:
    teacher, target = make_teacher(0)
    ids, logprobs, log_tail, _, gold = stored(teacher, target, 3)
    logprobs[4], log_tail[4], gold[4] = -math.inf, 0.0, -math.inf
    rows = (logprobs.to(dtype), log_tail.to(dtype), target, gold.to(dtype))
    _, corrected, tails = corrected_rows(ids, *rows, gamma=1.0)
    assert corrected.dtype == tails.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.isneginf(corrected[4]).all() and float(tails[4]) == 0.0
    assert not corrected.isnan().any() and not tails.isnan().any()
