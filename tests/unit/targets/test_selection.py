"""Which tokens learn from the teacher, against a list that is sorted by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bertkd_fairseq.targets.selection import (
    ALL,
    SELECTIONS,
    STUDENT_LOSS,
    TEACHER_CONFIDENCE,
    TEACHER_RIGHT,
    TokenSelection,
    label_logprobs,
)

SYMBOLS, K = 9, 3
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def make_batch(seed: int, rows: int = 24) -> Batch:
    """Return the student's logits, labels, the teacher's entries in no order, and its log p(label)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, SYMBOLS, generator=generator, dtype=torch.float64) * 2
    teacher = torch.randn(rows, SYMBOLS, generator=generator, dtype=torch.float64).mul(2)
    teacher = teacher.log_softmax(1)
    target = torch.randint(0, SYMBOLS, (rows,), generator=generator)
    ids = torch.stack([torch.randperm(SYMBOLS, generator=generator)[:K] for _ in range(rows)])
    logprobs = teacher.gather(1, ids)
    gold = teacher.gather(1, target[:, None]).squeeze(1)
    unasked = torch.rand(rows, generator=generator) < 0.2
    return logits, target, ids, logprobs.masked_fill(unasked[:, None], -math.inf), gold


def naive(selection: TokenSelection, batch: Batch) -> list[int]:
    """Return the rows that are chosen, from the definitions."""
    logits, target, ids, logprobs, gold = batch
    rows = []
    for row in range(len(target)):
        entries = dict(zip(ids[row].tolist(), logprobs[row].tolist(), strict=True))
        if max(entries.values(), default=-math.inf) == -math.inf:
            continue
        first = max(entries, key=entries.__getitem__)
        scores = [math.exp(z) for z in logits[row].tolist()]
        own = math.log(scores[int(target[row])] / math.fsum(scores))
        if selection.better_only and not float(gold[row]) > own:
            continue
        if selection.kind == TEACHER_RIGHT and first != int(target[row]):
            continue
        rows.append((row, -own, entries[first]))
    if selection.kind in (STUDENT_LOSS, TEACHER_CONFIDENCE):
        key = 1 if selection.kind == STUDENT_LOSS else 2
        count = math.ceil(round(selection.share * len(rows), 6))
        rows = sorted(rows, key=lambda found: -found[key])[:count]
    return sorted(row for row, _, _ in rows)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(SELECTIONS),
    share=st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.7, 1.0]),
    better_only=st.booleans(),
)
def test_chosen_are_those_of_the_definition(
    seed: int, kind: str, share: float, better_only: bool
) -> None:
    selection, batch = TokenSelection(kind, share, better_only), make_batch(seed)
    chosen = selection.chosen(*batch)
    assert chosen.nonzero().squeeze(1).tolist() == naive(selection, batch)
    assert selection.is_all == (kind == ALL and not better_only)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(SELECTIONS), better_only=st.booleans())
def test_order_and_rows_without_a_teacher_change_nothing(
    seed: int, kind: str, better_only: bool
) -> None:
    selection, batch = TokenSelection(kind, 0.4, better_only), make_batch(seed)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
    moved = tuple(torch.cat([each[order], each[:5]]) for each in batch)
    moved[3][24:] = -math.inf  # padding
    chosen = selection.chosen(*moved)
    assert not chosen[24:].any()
    assert chosen[:24].tolist() == selection.chosen(*batch)[order].tolist()


def test_a_share_is_rounded_up_once() -> None:
    """0.1 of 30 tokens are 3, whatever 0.1 is in binary; of equal ones the first."""
    target, ids = torch.zeros(30).long(), torch.zeros(30, 1).long()
    logits, logprobs = torch.zeros(30, 4), torch.zeros(30, 1)
    for share, count in ((0.1, 3), (0.11, 4), (1.0, 30), (1e-6, 1)):
        chosen = TokenSelection(STUDENT_LOSS, share).chosen(logits, target, ids, logprobs, None)
        assert chosen.nonzero().squeeze(1).tolist() == list(range(count))


@pytest.mark.parametrize("kind", SELECTIONS)
def test_nobody_to_choose_from(kind: str) -> None:
    logits, target, ids, logprobs, gold = make_batch(0)
    selection = TokenSelection(kind, 0.5, better_only=True)
    nothing = torch.full_like(logprobs, -math.inf)
    assert not selection.chosen(logits, target, ids, nothing, gold).any()
    assert not selection.chosen(logits, target, ids[:, :0], nothing[:, :0], gold).any()


def test_better_only_needs_what_the_teacher_says_of_the_label() -> None:
    with pytest.raises(ValueError) as error:
        TokenSelection(better_only=True).chosen(*make_batch(0)[:4], None)
    assert str(error.value) == "`better_only` needs `gold_logprob`, but that is missing."


def test_half_precision_and_slices_make_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = make_batch(0)[:2]
    wanted = -torch.nn.functional.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(label_logprobs(logits, target), wanted, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr("bertkd_fairseq.targets.selection._CHUNK_ELEMENTS", 5 * SYMBOLS)
    torch.testing.assert_close(label_logprobs(logits, target), wanted, rtol=1e-12, atol=1e-12)
    half = label_logprobs(logits.half(), target)
    assert half.dtype == torch.float32
    exact = -torch.nn.functional.cross_entropy(logits.half().double(), target, reduction="none")
    torch.testing.assert_close(half.double(), exact, rtol=1e-5, atol=1e-6)
