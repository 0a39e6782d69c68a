"""Tokens that the teacher finds likely, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertkd_fairseq.targets.augmentation import Augmentation, likely_tokens

EOS, SYMBOLS, K, N = 2, 12, 4, 30


def make_rows(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return target tokens, entries, log-probabilities (some unused, some rows without a teacher), and numbers."""
    generator = np.random.default_rng(seed)
    ids = np.stack([generator.permutation(SYMBOLS)[:K] for _ in range(N)])
    logprobs = -np.sort(generator.exponential(size=(N, K)), axis=1).astype(np.float16)
    logprobs[3:6, 2:] = -np.inf
    logprobs[7:9] = -np.inf
    uniforms = generator.random((N, 2))
    uniforms[10:12, 1] = 0.0, np.nextafter(1, 0)
    return generator.integers(0, SYMBOLS, N), ids.astype(np.uint8), logprobs, uniforms


def naive(row: int, seed: int, augmentation: Augmentation) -> int:
    target, ids, logprobs, uniforms = (each[row] for each in make_rows(seed))
    weights = {
        int(i): float(np.exp(np.float64(logprob)))
        for i, logprob in zip(ids, logprobs, strict=True)
        if logprob > -np.inf and i not in augmentation.never
    }
    if target in augmentation.never or not weights or uniforms[0] >= augmentation.rate:
        return int(target)
    left = uniforms[1] * sum(weights.values())
    for symbol, weight in weights.items():
        left -= weight
        if left < 0:
            return symbol
    return symbol


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), rate=st.sampled_from([0.0, 0.3, 1.0]))
def test_drawn_by_the_cumulated_distribution(seed: int, rate: float) -> None:
    augmentation = Augmentation(rate, seed=0, never=(0, EOS))
    likely = likely_tokens(*make_rows(seed), augmentation)
    assert likely.dtype == np.int64
    assert likely.tolist() == [naive(row, seed, augmentation) for row in range(N)]


def test_how_often_and_by_what() -> None:
    """Within five standard deviations of a binomial."""
    count, p = 40_000, np.array([0.6, 0.3, 0.1])
    uniforms = np.random.default_rng(0).random((count, 2))
    ids, logs = np.tile([5, 6, EOS], (count, 1)), np.tile(np.log(p), (count, 1))
    likely = likely_tokens(np.full(count, 9), ids, logs, uniforms, Augmentation(0.2, 0, (EOS,)))
    for symbol, share in ((9, 0.8), (5, 0.2 * 2 / 3), (6, 0.2 / 3), (EOS, 0.0)):
        spread = np.sqrt(count * share * (1 - share))
        assert (likely == symbol).sum() == pytest.approx(count * share, abs=5 * spread)
