"""Statistics of a store against counting by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bertkd_fairseq.analysis.inspect.statistics import (
    PERCENTILES,
    TEMPERATURES,
    DrawStatistics,
    SoftTarget,
    StoreStatistics,
)
from bertkd_fairseq.topk_store.rows import TopKRows

EOS = 2


def test_statistics_against_a_naive_count() -> None:
    generator = np.random.default_rng(0)
    n, k, symbols = 300, 3, 9
    logits = generator.normal(size=(n, symbols)) * 2
    logprobs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    ids = np.argsort(-logprobs, axis=1)[:, :k]
    kept = np.take_along_axis(logprobs, ids, 1)
    gold = generator.integers(2, symbols, size=n)
    log_tail = np.log1p(-np.exp(kept).sum(1))
    kept[:10], log_tail[:10] = -np.inf, 0.0
    gold_logprob = np.take_along_axis(logprobs, gold[:, None], 1)[:, 0]
    gold_logprob[20:23] = -np.inf  # what its vocabulary lacks
    statistics = StoreStatistics()
    for part in np.array_split(np.arange(n), 7):
        rows = TopKRows(ids[part], kept[part], log_tail[part], gold_logprob[part])
        statistics.add(rows, gold[part], EOS)
    summary = statistics.summary()

    rows = [row for row in range(10, n) if gold[row] != EOS]
    eos_rows = [row for row in range(10, n) if gold[row] == EOS]
    mass = [100 * math.fsum(np.exp(kept[r])) for r in rows]
    assert summary.tokens == n
    assert summary.tokens_without_teacher == 10
    assert summary.accuracy == percent([ids[r, 0] == gold[r] for r in rows])
    assert summary.gold_in_top_k == percent([gold[r] in ids[r] for r in rows])
    assert summary.eos_accuracy == percent([ids[r, 0] == EOS for r in eos_rows])
    assert summary.mass_in_top_k == pytest.approx(np.mean(mass), rel=1e-12)
    ranks = [[*ids[r], gold[r]].index(gold[r]) for r in rows]
    assert summary.gold_rank_counts == [ranks.count(rank) for rank in range(k + 1)]
    possible = [r for r in rows if r not in (20, 21, 22)]
    assert summary.gold_impossible == len(rows) - len(possible) > 0
    product = math.fsum(gold_logprob[r] for r in possible) / len(possible)
    assert summary.gold_perplexity == pytest.approx(math.exp(-product), rel=1e-12)
    for rank, found in enumerate(summary.gold_rank_bits):
        bits = [-math.log2(math.exp(gold_logprob[r])) for r in possible
                if [*ids[r], gold[r]].index(gold[r]) == rank]  # fmt: skip
        assert found == pytest.approx(np.mean(bits), rel=1e-12)
    for found, part in ((summary.calibration, rows), (summary.eos_calibration, eos_rows)):
        assert sum(confidence.tokens for confidence in found.bins) == len(part)
        confidence = np.mean([math.exp(kept[r, 0]) for r in part])
        assert found.mean_confidence == pytest.approx(100 * confidence, rel=1e-12)
    assert [found.percentile for found in summary.mass_percentiles] == list(PERCENTILES)
    for found in summary.mass_percentiles:
        exact = np.percentile(mass, found.percentile)
        assert found.mass == pytest.approx(exact, abs=0.6)  # bins of 0.1, and tokens far apart
    assert [found.temperature for found in summary.soft_targets] == list(TEMPERATURES)
    for found in summary.soft_targets:
        tops, entropies = [], []
        for r in rows:
            scores = [math.exp(value / found.temperature) for value in kept[r]]
            weights = [score / sum(scores) for score in scores]
            tops.append(max(weights))
            entropies.append(-sum(w * math.log(w) for w in weights))
        assert found.top_1_weight == pytest.approx(np.mean(tops), rel=1e-12)
        assert found.entropy_nats == pytest.approx(np.mean(entropies), rel=1e-12)
    assert statistics.summary_of_draws() == DrawStatistics(
        tokens=n,
        tokens_without_teacher=10,
        gold_among_draws=summary.gold_in_top_k,
        mass_of_drawn_symbols=summary.mass_in_top_k,
        mass_percentiles=summary.mass_percentiles,
        gold_perplexity=summary.gold_perplexity,
        gold_impossible=summary.gold_impossible,
    )


def percent(hits: list[bool]) -> Any:
    """Return the share that is true, in percent, to be compared."""
    return pytest.approx(100 * sum(hits) / len(hits), rel=1e-12)


def test_no_tokens() -> None:
    statistics = StoreStatistics()
    nothing = TopKRows.without_teacher(3, 4)
    statistics.add(nothing, np.array([5, 6, EOS]), EOS)
    summary = statistics.summary()
    assert (summary.tokens, summary.tokens_without_teacher) == (3, 3)
    assert (summary.accuracy, summary.gold_in_top_k, summary.mass_in_top_k) == (0, 0, 0)
    assert summary.gold_rank_counts == [0] * 5
    assert summary.gold_perplexity is None
    assert (summary.gold_impossible, summary.gold_rank_bits) == (0, [None] * 5)
    first_format = TopKRows(nothing.ids, nothing.logprobs, nothing.log_tail)
    statistics = StoreStatistics()
    statistics.add(first_format, np.array([5, 6, EOS]), EOS)
    summary = statistics.summary()
    assert (summary.gold_impossible, summary.gold_rank_bits) == (None, None)
    assert summary.soft_targets[0] == SoftTarget(1.0, 0, 0)
