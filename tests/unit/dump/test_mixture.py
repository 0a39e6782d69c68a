"""The mean of several teachers' probabilities, and what each is worth, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertkd_fairseq.dump.mixture import MixtureDump, score
from bertkd_fairseq.dump.scores import Score, TeacherScore, add_scores, from_records, to_records
from bertkd_fairseq.dump.teachers import Pair, SideLimits

SYMBOLS, EOS = 17, 2


class HashTeacher:
    """Logits that depend on the source, the target before a token, and the teacher; symbol ``never`` has none."""

    def __init__(self, seed: int, never: int | None = None, longest: int = 99) -> None:
        self.seed, self.never, self.limits = seed, never, SideLimits(longest, longest)
        self.too_long = self.limits.too_long

    def probabilities(self, source: np.ndarray, before: np.ndarray) -> np.ndarray:
        """(V,) float64"""
        logits = np.random.default_rng([self.seed, *source, 99, *before]).normal(size=SYMBOLS)
        weights = np.exp(logits)
        if self.never is not None:
            weights[self.never] = 0
        return weights / weights.sum()

    def log_probs(self, pairs: list[Pair]) -> torch.Tensor:
        rows = [
            self.probabilities(self.limits.cut(pair.source), pair.target[:position])
            for pair in pairs
            for position in range(len(pair.target))
        ]
        return torch.from_numpy(np.array(rows)).float().log()


def mixture(pairs, teachers, weights, **options) -> MixtureDump:
    """A dump of pairs of ids."""
    usual = {"topk": SYMBOLS, "max_tokens": 30, "device": torch.device("cpu"), "eos": EOS}
    return MixtureDump(
        teachers=teachers,
        weights=weights,
        source_of=lambda i: np.asarray(pairs[i][0]),
        target_of=lambda i: np.asarray(pairs[i][1]),
        **usual | options,
    )


sentence = st.lists(st.integers(3, 16), max_size=7).map(lambda ids: np.array([*ids, EOS]))


@settings(max_examples=25, deadline=None)
@given(
    pairs=st.lists(st.tuples(sentence, sentence), min_size=1, max_size=5),
    max_tokens=st.integers(1, 40),
    share=st.floats(0.05, 0.95),
)
def test_rows_and_scores_are_those_of_the_weighted_mean(
    pairs, max_tokens: int, share: float
) -> None:
    """Whatever is batched together, and in data order."""
    teachers, weights = [HashTeacher(1), HashTeacher(2, never=5)], [share, 1 - share]
    dump = mixture(pairs, teachers, weights, max_tokens=max_tokens)
    rows, scores = dump.scored_block(range(len(pairs)), lambda tokens: None)
    row, naive = 0, [[] for _ in range(3)]
    for source, target in pairs:
        for position, gold in enumerate(target):
            each = [t.probabilities(source, target[:position]) for t in teachers]
            each.append(weights[0] * each[0] + weights[1] * each[1])
            order = np.argsort(-each[2])
            assert rows.ids[row].tolist() == order.tolist()
            np.testing.assert_allclose(rows.logprobs[row], np.log(each[2][order]), rtol=1e-3)
            np.testing.assert_allclose(rows.gold_logprob[row], np.log(each[2][gold]), rtol=1e-3)
            for found, p in zip(naive, each, strict=True):
                found.append((gold == EOS, p.argmax() == gold, p[gold]))
            row += 1
    for mine, found in zip(scores, naive, strict=True):
        of_eos, right, p = map(np.array, zip(*found, strict=True))
        for part, where in ((mine.symbols, ~of_eos), (mine.eos, of_eos), (mine.all, of_eos >= 0)):
            possible = p[where] > 0
            assert part.tokens == where.sum()
            assert part.right == right[where].sum()
            assert part.impossible == (~possible).sum()
            assert part.logprob == pytest.approx(np.log(p[where][possible]).sum(), abs=1e-4)


def test_one_teacher_is_not_scored_and_a_permutation_changes_nothing() -> None:
    pairs = [([4, 5, EOS], [6, 7, EOS]), ([8, EOS], [9, EOS])]
    alone = mixture(pairs, [HashTeacher(1)], [1.0])
    assert alone.scored_block(range(2), lambda tokens: None)[1] == []
    teachers = [HashTeacher(1), HashTeacher(2)]
    first = mixture(pairs, teachers, [0.25, 0.75]).block(range(2), lambda tokens: None)
    second = mixture(pairs, teachers[::-1], [0.75, 0.25]).block(range(2), lambda tokens: None)
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(first.logprobs, second.logprobs)


def test_a_pair_without_room_in_one_teacher_has_none() -> None:
    pairs = [([4] * 6 + [EOS], [6, EOS]), ([4, EOS], [6] * 6 + [EOS]), ([4, EOS], [7, EOS])]
    teachers = [HashTeacher(1), HashTeacher(2, longest=4)]
    rows = mixture(pairs, teachers, [0.5, 0.5]).block(range(3), lambda tokens: None)
    assert rows.has_teacher.tolist() == [True] * 2 + [False] * 7 + [True] * 2
    uncut = mixture(pairs, teachers, [0.5, 0.5], cut_sources=False)
    rows = uncut.block(range(3), lambda tokens: None)
    assert rows.has_teacher.tolist() == [False] * 9 + [True] * 2


def test_a_cut_source_keeps_its_end_of_sentence() -> None:
    limits = SideLimits(3, 9)
    assert limits.cut(np.array([4, 5, 6, 7, EOS])).tolist() == [4, 5, EOS]
    assert limits.cut(np.array([4, 5, EOS])).tolist() == [4, 5, EOS]


def test_scores_add_up_and_survive_json() -> None:
    log_probs = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5], [0.1, 0.1, 0.8]]).log()
    found = score(log_probs, torch.tensor([0, 0, 2]), EOS)
    assert (found.symbols.tokens, found.symbols.right, found.symbols.impossible) == (2, 1, 1)
    assert found.symbols.perplexity == pytest.approx(2)
    assert found.eos.perplexity == pytest.approx(1 / 0.8)
    assert found.all.accuracy == pytest.approx(2 / 3)
    twice = add_scores([[found], [found]])[0]
    assert (twice.all.tokens, twice.all.accuracy) == (6, found.all.accuracy)
    assert twice.symbols.perplexity == pytest.approx(2)
    assert from_records(to_records([twice])) == [twice]
    assert add_scores([]) == []
    assert np.isnan(Score().perplexity) and np.isnan(TeacherScore().all.accuracy)
