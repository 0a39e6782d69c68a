"""The teacher's answers: top-k of logits, and every target position asked exactly once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertkd_fairseq.dump.rows import Sampling, TeacherDump, sampled_rows, top_rows
from bertkd_fairseq.errors import DataError
from bertkd_fairseq.loss import bert_kd_loss
from bertkd_fairseq.masking import Future, Questions

BOS, PAD, EOS = 0, 1, 2


def test_top_rows_against_a_full_softmax_in_float64() -> None:
    logits = 5 * torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    logits[:, 7] = -torch.inf
    gold = torch.arange(50) % 40
    rows = top_rows(logits, 8, gold)
    probabilities = np.exp(logits.double().numpy())
    probabilities /= probabilities.sum(1, keepdims=True)
    for row, p in enumerate(probabilities):
        best = np.argsort(-p, kind="stable")[:8]
        assert rows.ids[row].tolist() == best.tolist()
        # Half of float16's last place at most, and float32's own error.
        np.testing.assert_allclose(
            rows.logprobs[row], np.log(p[best]), rtol=2**-11 + 1e-6, atol=1e-6
        )
        tail = np.delete(p, best).sum()
        np.testing.assert_allclose(rows.log_tail[row], np.log(tail), rtol=2**-11 + 1e-6)
        with np.errstate(divide="ignore"):  # symbol 7
            wanted = np.log(p[gold[row]])
        np.testing.assert_allclose(rows.gold_logprob[row], wanted, rtol=2**-11 + 1e-6, atol=1e-6)
        where = rows.ids[row] == int(gold[row])
        assert (rows.logprobs[row][where] == rows.gold_logprob[row]).all()


def test_the_tail_stays_exact_where_one_minus_the_sum_is_zero() -> None:
    logits = torch.tensor([[30.0, 29.0, 0.0, 0.0]])
    rows = top_rows(logits, 2, torch.tensor([3]))
    exact = np.log(2) - np.log(np.exp(30.0) + np.exp(29.0) + 2)
    np.testing.assert_allclose(rows.log_tail[0], exact, rtol=2**-11)


class EchoTeacher(torch.nn.Module):
    """Scores symbols by what it sees: the sum of the unmasked tokens, and the position asked for."""

    def forward(self, tokens, token_types, masked, asked):
        visible = tokens.masked_fill(masked | tokens.eq(PAD), 0).sum(1)  # (N,)
        rows, columns = asked.nonzero(as_tuple=True)
        peak = (visible[rows] + 3 * columns) % 17  # (M,)
        return -(torch.arange(17)[None, :] - peak[:, None]).abs().float()


def teacher_dump(pairs, teacher: torch.nn.Module | None = None, **options) -> TeacherDump:
    """A dump of pairs of ids; whatever a test is not about is the same everywhere."""
    usual = {"topk": 3, "questions": Questions(), "max_positions": 40, "max_tokens": 100}
    return TeacherDump(
        teacher=teacher or EchoTeacher(),
        source_of=lambda i: np.asarray(pairs[i][0]),
        target_of=lambda i: np.asarray(pairs[i][1]),
        bos=BOS,
        pad=PAD,
        device=torch.device("cpu"),
        **usual | options,
    )


sentence = st.lists(st.integers(3, 16), max_size=11).map(lambda ids: np.array([*ids, EOS]))


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(st.tuples(sentence, sentence), min_size=1, max_size=6),
    max_tokens=st.integers(1, 80),
    num_masks=st.integers(1, 8),
)
def test_rows_are_the_teachers_answers_in_data_order(
    pairs, max_tokens: int, num_masks: int
) -> None:
    heard = []
    dump = teacher_dump(pairs, questions=Questions(num_masks), max_tokens=max_tokens)
    rows = dump.block(range(len(pairs)), heard.append)
    assert sum(heard) == len(rows.ids) == sum(len(target) for _, target in pairs)
    row = 0
    for source, target in pairs:
        for position in range(len(target)):
            # The naive way: one copy, made by hand, for this very position.
            together = range(position % num_masks, len(target), num_masks)
            visible = source.sum() + sum(t for i, t in enumerate(target) if i not in together)
            peak = (visible + 3 * (1 + len(source) + position)) % 17
            scores = -np.abs(np.arange(17) - peak)
            assert rows.ids[row, 0] == peak
            exact = scores - np.log(np.exp(scores.astype(float)).sum())
            np.testing.assert_allclose(rows.logprobs[row], np.sort(exact)[::-1][:3], rtol=1e-3)
            np.testing.assert_allclose(rows.gold_logprob[row], exact[target[position]], rtol=1e-3)
            row += 1


@settings(max_examples=25, deadline=None)
@given(
    pairs=st.lists(st.tuples(sentence, sentence), min_size=1, max_size=5),
    max_tokens=st.integers(1, 80),
    window=st.integers(0, 4),
)
def test_with_a_window_each_token_is_asked_for_with_all_before_and_the_next_ones(
    pairs, max_tokens: int, window: int
) -> None:
    questions = Questions(future=Future(window=window))
    dump = teacher_dump(pairs, questions=questions, max_tokens=max_tokens)
    rows = dump.block(range(len(pairs)), lambda tokens: None)
    peaks = [
        (
            source.sum()
            + target[:t].sum()
            + target[t + 1 : t + 1 + window].sum()
            + 3 * (1 + len(source) + t)
        )
        % 17
        for source, target in pairs
        for t in range(len(target))
    ]
    assert rows.ids[:, 0].tolist() == peaks


def test_a_target_that_leaves_no_room_for_the_source_has_no_teacher() -> None:
    source = [4, 4, 4, 4, 4, 4, 4, EOS]
    dump = teacher_dump([(source, np.full(9, 5)), (source, [5, EOS])], max_positions=10)
    rows = dump.block(range(2), lambda count: None)
    assert np.isneginf(rows.logprobs[:9]).all()
    assert np.isfinite(rows.logprobs[9:]).all()


def test_draws_are_counted_and_looked_up_in_the_cumulated_distribution() -> None:
    logits = torch.tensor([[0.5, 0.2, 0.0, 0.3]]).log()  # symbol 2 can't be drawn
    uniforms = torch.tensor([[0.0, 0.49, 0.6, 0.75, 0.999, 0.1, 0.2, 0.3]], dtype=torch.float64)
    rows = sampled_rows(logits, uniforms, torch.tensor([1]))
    np.testing.assert_allclose(rows.gold_logprob, [np.log(0.2)], rtol=2**-11)
    assert rows.ids[0, :3].tolist() == [0, 3, 1]
    shares = dict(zip(rows.ids[0, :3].tolist(), np.exp(rows.logprobs[0, :3]), strict=True))
    assert shares == {
        0: np.exp(np.float16(np.log(5 / 8))),
        1: np.exp(np.float16(np.log(1 / 8))),
        3: np.exp(np.float16(np.log(2 / 8))),
    }
    assert np.isneginf(rows.logprobs[0, 3:]).all()
    assert np.isneginf(rows.log_tail[0])
    few = sampled_rows(logits, uniforms[:, :2], torch.tensor([2]))
    np.testing.assert_allclose(np.exp(np.float64(few.log_tail)), [0.5], rtol=2**-11)
    assert np.isneginf(few.gold_logprob)


def test_draws_depend_on_seed_and_sentence_alone() -> None:
    sampling = Sampling(5, seed=3)
    np.testing.assert_array_equal(sampling.uniforms(7, 4), Sampling(5, seed=3).uniforms(7, 4))
    assert not np.array_equal(sampling.uniforms(7, 4), sampling.uniforms(8, 4))
    assert not np.array_equal(sampling.uniforms(7, 4), Sampling(5, seed=4).uniforms(7, 4))


def test_the_gradient_of_sampled_targets_is_unbiased_and_that_of_the_top_k_is_not() -> None:
    """The mean over many draws against the cross-entropy with the teacher's whole distribution."""
    symbols, draws, repeats = 20, 8, 20_000
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(1, symbols, generator=generator).mul(1.5).double()
    student = torch.randn(1, symbols, generator=generator).double()
    p, wanted = teacher.softmax(1), student.softmax(1) - teacher.softmax(1)

    def mean_gradient(rows: object, count: int) -> torch.Tensor:
        logits = student.expand(count, -1).clone().requires_grad_()
        ids = torch.from_numpy(rows.ids.astype(np.int64))
        loss = bert_kd_loss(
            logits,
            torch.full((count,), 3),
            ids,
            torch.from_numpy(rows.logprobs),
            alpha=1.0,
            temperature=1.0,
            label_smoothing=0.0,
            ignore_index=PAD,
        ).loss
        loss.backward()
        return logits.grad.mean(0)

    uniforms = torch.rand(repeats, draws, generator=generator, dtype=torch.float64)
    sampled = mean_gradient(
        sampled_rows(teacher.expand(repeats, -1), uniforms, torch.zeros(repeats).long()), repeats
    )
    deviation = (p * (1 - p) / (draws * repeats)).sqrt()[0]
    assert bool(((sampled - wanted[0]).abs() < 4.5 * deviation).all())
    biased = mean_gradient(top_rows(teacher, draws, torch.tensor([0])), 1)
    assert bool(((biased - wanted[0]).abs() > 20 * deviation).any())


@pytest.mark.parametrize("sampling", [None, Sampling(4, seed=1)])
def test_logits_that_are_no_numbers_stop_the_dump(sampling: Sampling | None) -> None:
    class BrokenTeacher(EchoTeacher):
        def forward(self, tokens, token_types, masked, asked):
            logits = super().forward(tokens, token_types, masked, asked)
            logits[-1] = torch.nan
            return logits

    dump = teacher_dump([([3, EOS], [4, 5, EOS])], BrokenTeacher(), sampling=sampling)
    with pytest.raises(DataError) as error:
        dump.block([0], lambda tokens: None)
    assert str(error.value) == (
        "the teacher's logits must be finite, but some are not. "
        "Use another precision, bf16 or fp32. If that doesn't help, train the teacher again."
    )
