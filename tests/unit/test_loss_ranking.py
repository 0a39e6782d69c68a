"""Ranking the teacher's first guess first, against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertkd_fairseq.loss import rank_first_loss
from tests.unit.test_loss import batch


def naive_ranking(logits: torch.Tensor, ids: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """Return the loss symbol by symbol."""
    total = logits.new_zeros(())
    for row in range(len(logits)):
        entries = dict(zip(ids[row].tolist(), logprobs[row].tolist(), strict=True))
        first = max(entries, key=entries.__getitem__, default=None)
        if first is None or entries[first] == -math.inf:
            continue
        p = logits[row].exp() / logits[row].exp().sum()
        for symbol in range(len(p)):
            if bool(p[symbol] > p[first]):
                total = total + p[symbol] - p[first]
    return total


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(0, 5), cut=st.integers(0, 9))
def test_ranking_equals_its_definition(seed: int, k: int, cut: int) -> None:
    """The gradient too, the entries in no order; and a batch in two parts adds up."""
    logits, _, ids, logprobs = batch(seed, k=k)
    order = torch.randperm(k, generator=torch.Generator().manual_seed(seed))
    ids, logprobs = ids[:, order], logprobs[:, order]
    logprobs[2] = -math.inf
    ours, reference = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss, wanted = rank_first_loss(ours, ids, logprobs), naive_ranking(reference, ids, logprobs)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-13)
    parts = sum(
        rank_first_loss(logits[rows], ids[rows], logprobs[rows])
        for rows in (slice(None, cut), slice(cut, None))
    )
    torch.testing.assert_close(parts, loss.detach(), rtol=1e-12, atol=1e-13)
    if k:
        loss.backward()
        wanted.backward()
        torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-12, atol=1e-13)


def test_a_guess_that_is_first_already_costs_nothing_and_moves_nothing() -> None:
    logits, _, ids, logprobs = batch()
    logits.scatter_(1, ids[:, :1], 20.0).requires_grad_()
    loss = rank_first_loss(logits, ids, logprobs)
    loss.backward()
    assert float(loss.detach()) == 0 and not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_ranking_half_precision_logits_is_worked_on_in_float32(dtype: torch.dtype) -> None:
    logits, _, ids, logprobs = batch(dtype=dtype)
    loss = rank_first_loss(logits, ids, logprobs)
    exact = rank_first_loss(logits.double(), ids, logprobs)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=0)
