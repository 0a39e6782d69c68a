"""The distillation loss against a naive reference written from the paper's equations 4 and 5."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bertkd_fairseq.loss import TAILS, BertKDLoss, bert_kd_loss, teacher_target
from bertkd_fairseq.topk_store.rows import TopKRows

PAD = 1


def naive(
    logits: Tensor,
    target: Tensor,
    ids: Tensor,
    logprobs: Tensor,
    alpha: float,
    temperature: float,
    label_smoothing: float,
    ignore_index: int,
    tail: str = "renormalize",
    log_tail: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return loss, kd_loss and nll_loss, token by token, entry by entry."""
    size = logits.size(1)
    loss = kd_total = nll_total = logits.new_zeros(())
    for row in range(len(target)):
        gold = int(target[row])
        if gold == ignore_index:
            continue
        log_p = logits[row] - logits[row].exp().sum().log()
        nll = -log_p[gold]
        # fairseq: eps over the V - 1 wrong symbols (and as much again on the right one).
        floor = label_smoothing / (size - 1)
        lsce = (1 - label_smoothing - floor) * nll - floor * log_p.sum()
        nll_total = nll_total + nll
        teacher = [float(value) for value in logprobs[row]]
        if not teacher or max(teacher) == -math.inf:
            loss = loss + lsce
            continue
        kd = naive_kd(log_p, ids[row], teacher, temperature, tail, log_tail, row)
        kd_total = kd_total + kd
        loss = loss + alpha * kd + (1 - alpha) * lsce
    return loss, kd_total, nll_total


def naive_kd(
    log_p: Tensor,
    ids: Tensor,
    teacher: list[float],
    temperature: float,
    tail: str,
    log_tail: Tensor | None,
    row: int,
) -> Tensor:
    """Return one token's cross-entropy against the teacher, from the definition of its tail."""
    weights = [math.exp(value / temperature) for value in teacher]
    rest = 0.0 if log_tail is None or tail == "renormalize" else float(log_tail[row].exp())
    total = sum(weights) + rest
    kd = log_p.new_zeros(())
    for weight, entry in zip(weights, ids, strict=True):
        if weight > 0:
            kd = kd - weight / total * log_p[int(entry)]
    listed = {int(entry) for weight, entry in zip(weights, ids, strict=True) if weight > 0}
    others = [symbol for symbol in range(len(log_p)) if symbol not in listed]
    if tail == "uniform" and others:
        kd = kd - rest / total * log_p[others].mean()
    if tail == "ghost" and others:
        kd = kd - rest / total * log_p[others].exp().sum().log()
    return kd


def batch(
    seed: int = 0, rows: int = 9, symbols: int = 23, k: int = 4, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return logits, target with some padding, distinct teacher ids and log-probabilities."""
    generator = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(rows, symbols, generator=generator, dtype=torch.float64)).to(dtype)
    target = torch.randint(2, symbols, (rows,), generator=generator)
    target[::4] = PAD
    teacher = (
        torch.randn(rows, symbols, generator=generator, dtype=torch.float64).mul(2).log_softmax(1)
    )
    logprobs, ids = teacher.topk(k, dim=1) if k else (teacher[:, :0], target.new_empty(rows, 0))
    return logits, target, ids, logprobs


def run(values: tuple[Tensor, ...], **options: object) -> BertKDLoss:
    settings = {"alpha": 0.5, "temperature": 10.0, "label_smoothing": 0.1, "ignore_index": PAD}
    return bert_kd_loss(*values, **{**settings, **options})  # type: ignore[arg-type]


def assert_as_defined(logits, target, ids, logprobs, **options) -> None:
    """Losses and gradient are those of the naive reference."""
    ours, reference = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    result = run((ours, target, ids, logprobs), **options)
    expected = naive(reference, target, ids, logprobs, ignore_index=PAD, **options)
    for value, wanted in zip((result.loss, result.kd_loss, result.nll_loss), expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)
    result.loss.backward()
    expected[0].backward()
    torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_equals_the_definition(alpha: float, temperature: float, label_smoothing: float) -> None:
    logits, target, ids, logprobs = batch()
    logprobs[2] = -math.inf  # a row without a teacher
    logprobs[3, -1] = -math.inf  # an entry without weight
    options = {"alpha": alpha, "temperature": temperature, "label_smoothing": label_smoothing}
    assert_as_defined(logits, target, ids, logprobs, **options)


@pytest.mark.parametrize("tail", ["ghost", "uniform"])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_tails_equal_their_definitions(tail: str, alpha: float) -> None:
    logits, target, ids, logprobs = batch()
    log_tail = (-logprobs.exp().sum(1)).log1p()  # (N,)
    logprobs[2], log_tail[2] = -math.inf, 0.0  # a row without a teacher
    logprobs[3, -1], ids[3, -1] = -math.inf, int(target[3])  # an entry that isn't used
    log_tail[5] = -math.inf  # a teacher that is sure
    options = {"alpha": alpha, "temperature": 1.0, "label_smoothing": 0.1}
    assert_as_defined(logits, target, ids, logprobs, tail=tail, log_tail=log_tail, **options)


@pytest.mark.parametrize("tail", ["ghost", "uniform"])
def test_tails_where_no_symbol_is_left_for_them(tail: str) -> None:
    logits, target, ids, logprobs = batch(symbols=4, k=4)
    target.clamp_(max=3)
    nothing = torch.full((len(target),), -math.inf, dtype=torch.float64)
    whole = run((logits.requires_grad_(), target, ids, logprobs), temperature=1.0)
    same = run((logits, target, ids, logprobs), temperature=1.0, tail=tail, log_tail=nothing)
    torch.testing.assert_close(same.loss, whole.loss, rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(same.loss, logits)
    (wanted,) = torch.autograd.grad(whole.loss, logits)
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("tail", ["renormalize", "ghost", "uniform"])
def test_half_precision_tails_never_go_wrong(tail: str) -> None:
    """A mass that rounds to more than 1 in float16 must neither blow up nor turn around."""
    logits = torch.zeros(1, 50, dtype=torch.float16, requires_grad=True)
    logprobs = torch.tensor([[0.7, 0.3]]).log().half()
    log_tail = torch.tensor([1e-7]).log().half()
    ids, target = torch.tensor([[4, 5]]), torch.tensor([4])
    result = run(
        (logits, target, ids, logprobs), temperature=1.0, tail=tail, log_tail=log_tail, alpha=1.0
    )
    torch.testing.assert_close(result.loss, torch.tensor(math.log(50)), rtol=1e-5, atol=0)
    result.loss.backward()
    assert float(logits.grad.float().abs().max()) < 1


def test_what_is_watched() -> None:
    """Teacher's mass and the agreement of first choices, over tokens that have a teacher."""
    logits, target, ids, logprobs = batch(rows=12)
    order = torch.tensor([2, 0, 3, 1])
    ids, logprobs = ids[:, order], logprobs[:, order]  # the best isn't the first
    logprobs[2] = -math.inf
    log_tail = (-logprobs.exp().sum(1)).log1p()
    logits[5, ids[5, 1]] = 50.0
    counted = [row for row in range(12) if row != 2 and int(target[row]) != PAD]
    agreeing = [row for row in counted if int(logits[row].argmax()) == int(ids[row, 1])]
    result = run((logits, target, ids, logprobs), log_tail=log_tail)
    assert int(result.teacher_tokens) == len(counted)
    assert int(result.agreements) == len(agreeing) >= 1
    mass = sum(float(logprobs[row].exp().sum()) for row in counted)
    torch.testing.assert_close(float(result.teacher_mass), mass, rtol=1e-12, atol=0)


def test_gradcheck() -> None:
    logits, target, ids, logprobs = batch(rows=5, symbols=7, k=3)
    assert torch.autograd.gradcheck(
        lambda z: run((z, target, ids, logprobs)).loss, (logits.requires_grad_(),), atol=1e-7
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_alpha_it_is_fairseqs_label_smoothed_loss(dtype: torch.dtype) -> None:
    logits, target, ids, logprobs = batch(dtype=dtype)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    result = run((ours, target, ids, logprobs), alpha=0.0)
    loss, nll = label_smoothed_nll_loss(
        theirs.log_softmax(1), target, 0.1, ignore_index=PAD, reduce=True
    )
    torch.testing.assert_close(result.loss, loss)
    torch.testing.assert_close(result.nll_loss, nll)
    result.loss.backward()
    loss.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_without_a_teacher_tokens_keep_their_full_hard_label() -> None:
    nothing = batch(k=0)
    result = run(nothing, alpha=0.7)
    torch.testing.assert_close(result.loss, run(nothing, alpha=0.0).loss, rtol=1e-14, atol=0)
    assert int(result.teacher_tokens) == 0
    assert float(result.kd_loss) == 0.0


def test_alpha_one_has_no_hard_label() -> None:
    logits, target, ids, logprobs = batch()
    other = torch.where(target.eq(PAD), target, (target - 1) % 20 + 2)
    first = run((logits, target, ids, logprobs), alpha=1.0)
    second = run((logits, other, ids, logprobs), alpha=1.0)
    torch.testing.assert_close(first.loss, second.loss, rtol=1e-14, atol=0)
    torch.testing.assert_close(first.loss, first.kd_loss, rtol=1e-14, atol=0)


def test_all_padding_gives_zero_loss_and_gradient() -> None:
    logits, target, ids, logprobs = batch()
    logits.requires_grad_()
    result = run((logits, torch.full_like(target, PAD), ids, logprobs))
    result.loss.backward()
    assert float(result.loss.detach()) == 0.0
    assert float(logits.grad.abs().max()) == 0.0
    assert int(result.teacher_tokens) == 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-50, 50))
def test_a_constant_added_to_a_row_of_the_teacher_changes_nothing(seed: int, shift: float) -> None:
    logits, target, ids, logprobs = batch(seed)
    first, second = (
        run((logits, target, ids, logprobs)),
        run((logits, target, ids, logprobs + shift)),
    )
    torch.testing.assert_close(first.loss, second.loss, rtol=1e-11, atol=1e-11)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_of_rows_and_entries_and_more_padding_change_nothing(seed: int) -> None:
    logits, target, ids, logprobs = batch(seed)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(target), generator=generator)
    entries = torch.randperm(ids.size(1), generator=generator)
    padding = torch.full((3,), PAD)
    moved = (
        torch.cat([logits[rows], logits[:3]]),
        torch.cat([target[rows], padding]),
        torch.cat([ids[rows][:, entries], ids[:3]]),
        torch.cat([logprobs[rows][:, entries], logprobs[:3]]),
    )
    first, second = run((logits, target, ids, logprobs)), run(moved)
    for name in ("loss", "kd_loss", "nll_loss"):
        torch.testing.assert_close(
            getattr(first, name), getattr(second, name), rtol=1e-12, atol=1e-12
        )
    assert int(first.teacher_tokens) == int(second.teacher_tokens)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), first=st.integers(0, 9), tail=st.sampled_from(TAILS))
def test_a_batch_split_in_two_adds_up(seed: int, first: int, tail: str) -> None:
    """As with --update-freq, or in two processes."""
    logits, target, ids, logprobs = batch(seed)
    log_tail = (-logprobs.exp().sum(1)).log1p()
    options = {"temperature": 1.0, "tail": tail}
    whole = run((logits.requires_grad_(), target, ids, logprobs), log_tail=log_tail, **options)
    parts = [
        run(tuple(each[rows] for each in (logits, target, ids, logprobs)),
            log_tail=log_tail[rows], **options)
        for rows in (slice(None, first), slice(first, None))
    ]  # fmt: skip
    for name in ("loss", "kd_loss", "nll_loss", "teacher_tokens", "teacher_mass", "agreements"):
        added = getattr(parts[0], name) + getattr(parts[1], name)
        torch.testing.assert_close(added, getattr(whole, name), rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(parts[0].loss + parts[1].loss, logits)
    (wanted,) = torch.autograd.grad(whole.loss, logits)
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), padding=st.integers(1, 7), tail=st.sampled_from(TAILS[:2]))
def test_symbols_that_pad_the_dictionary_change_nothing(seed: int, padding: int, tail: str) -> None:
    """fairseq's madeupwords: a student that never says them. (Smoothing and a uniform tail would count them.)"""
    logits, target, ids, logprobs = batch(seed)
    log_tail = (-logprobs.exp().sum(1)).log1p()
    options = {"temperature": 1.0, "tail": tail, "log_tail": log_tail, "label_smoothing": 0.0}
    plain = run((logits, target, ids, logprobs), **options)
    nothing = logits.new_full((len(target), padding), -math.inf)
    padded = torch.cat([logits, nothing], dim=1).requires_grad_()
    result = run((padded, target, ids, logprobs), **options)
    for name in ("loss", "kd_loss", "nll_loss", "agreements"):
        torch.testing.assert_close(
            getattr(result, name), getattr(plain, name), rtol=1e-12, atol=1e-12
        )
    result.loss.backward()
    assert not padded.grad[:, -padding:].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_worked_on_in_float32(dtype: torch.dtype) -> None:
    logits, target, ids, logprobs = batch(dtype=dtype, symbols=200)
    exact = logits.double().requires_grad_()
    logits.requires_grad_()
    result, reference = run((logits, target, ids, logprobs)), run((exact, target, ids, logprobs))
    assert result.loss.dtype == torch.float32
    torch.testing.assert_close(result.loss.double(), reference.loss, rtol=1e-6, atol=0)
    result.loss.backward()
    reference.loss.backward()
    # Only the gradient's own rounding is left.
    torch.testing.assert_close(
        logits.grad.double(), exact.grad.to(dtype).double(), rtol=2**-7, atol=1e-6
    )


def test_rows_are_worked_on_in_slices_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    values = batch(rows=37)
    whole = values[0].clone().requires_grad_()
    sliced = values[0].clone().requires_grad_()
    first = run((whole, *values[1:]))
    monkeypatch.setattr("bertkd_fairseq.loss._CHUNK_ELEMENTS", {"cpu": 5 * 23})
    second = run((sliced, *values[1:]))
    first.loss.backward()
    second.loss.backward()
    torch.testing.assert_close(first.loss, second.loss, rtol=1e-14, atol=0)
    torch.testing.assert_close(whole.grad, sliced.grad, rtol=1e-14, atol=0)


def test_the_loss_may_be_scaled_in_place_as_fairseq_does() -> None:
    logits, target, ids, logprobs = batch()
    logits.requires_grad_()
    loss = run((logits, target, ids, logprobs)).loss
    loss *= 0
    loss.backward()
    assert float(logits.grad.abs().max()) == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "`alpha` must be from 0 to 1, but is 1.5 instead."),
        ({"temperature": 0.0}, "`temperature` must be above 0, but is 0.0 instead."),
        (
            {"tail": "none"},
            "`tail` must be one of renormalize, ghost, uniform, but is none instead.",
        ),
        (
            {"tail": "ghost"},
            "`temperature` must be 1 with tail ghost or uniform, which need the teacher's own probabilities, "
            "but is 10.0 instead. `tail` 'ghost' needs `log_tail`, but that is missing.",
        ),
        (
            {"tail": "uniform", "temperature": 1.0},
            "`tail` 'uniform' needs `log_tail`, but that is missing.",
        ),
        (
            {"label_smoothing": 1.0},
            "`label_smoothing` must be from 0 to below 1, but is 1.0 instead.",
        ),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        run(batch(), **options)
    assert str(error.value) == message


def test_shapes_that_do_not_agree_are_named() -> None:
    logits, target, ids, logprobs = batch()
    with pytest.raises(ValueError) as error:
        run((logits, target, ids[:5], logprobs))
    assert (
        str(error.value)
        == "`topk_ids` and `topk_logprobs` must both be (9, K), but are (5, 4) and (9, 4) instead."
    )
    with pytest.raises(ValueError) as error:
        run((logits, target[:5], ids, logprobs))
    assert (
        str(error.value)
        == "`logits` and `target` must be (N, V) and (N,), but are (9, 23) and (5,) instead."
    )


@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_what_is_distilled_is_what_a_store_says_of_its_rows(temperature: float) -> None:
    """The same two definitions twice, for numpy and for torch: who has a teacher, and the soft target."""
    logprobs = torch.randn(5, 4).sort(1, descending=True).values
    logprobs[1] = logprobs[3, 2:] = -math.inf
    log_tail = torch.zeros(5)
    rows = TopKRows(np.zeros((5, 4), int), logprobs.numpy(), log_tail.numpy())
    target = teacher_target(logprobs.double(), log_tail.double(), temperature, "renormalize", 20)
    assert target.present.tolist() == rows.has_teacher.tolist() == [True, False, True, True, True]
    asked = target.weights[target.present]
    np.testing.assert_allclose(rows[rows.has_teacher].soft_targets(temperature), asked, rtol=1e-12)
