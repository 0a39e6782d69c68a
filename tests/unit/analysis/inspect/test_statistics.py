"""Statistics of a store against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bertkd_fairseq.analysis.inspect.statistics import TEMPERATURES, StoreStatistics
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
    statistics = StoreStatistics()
    for part in np.array_split(np.arange(n), 7):
        statistics.add(TopKRows(ids[part], kept[part], log_tail[part]), gold[part], EOS)
    summary = statistics.summary()

    rows = [row for row in range(10, n) if gold[row] != EOS]
    eos_rows = [row for row in range(10, n) if gold[row] == EOS]
    assert summary["tokens"] == n
    assert summary["tokens_without_teacher"] == 10
    assert summary["accuracy"] == round(100 * np.mean([ids[r, 0] == gold[r] for r in rows]), 2)
    assert summary["gold_in_top_k"] == round(100 * np.mean([gold[r] in ids[r] for r in rows]), 2)
    assert summary["eos_accuracy"] == round(100 * np.mean([ids[r, 0] == EOS for r in eos_rows]), 2)
    assert summary["mass_in_top_k"] == round(
        100 * np.mean([np.exp(kept[r]).sum() for r in rows]), 2
    )
    assert sum(summary["gold_rank_counts"]) == len(rows)
    for name, part in (("calibration", rows), ("eos_calibration", eos_rows)):
        assert sum(summary[name]["bin_counts"]) == len(part)
        confidence = np.mean([math.exp(kept[r, 0]) for r in part])
        assert summary[name]["mean_confidence"] == pytest.approx(100 * confidence, abs=0.0051)
    for percentile, value in summary["mass_percentiles"].items():
        exact = 100 * np.percentile([np.exp(kept[r]).sum() for r in rows], int(percentile[1:]))
        assert value == pytest.approx(exact, abs=0.6)  # bins of 0.1, and tokens far apart
    for temperature in TEMPERATURES:
        tops, entropies = [], []
        for r in rows:
            scores = [math.exp(value / temperature) for value in kept[r]]
            weights = [score / sum(scores) for score in scores]
            tops.append(max(weights))
            entropies.append(-sum(w * math.log(w) for w in weights))
        soft = summary["soft_target"][f"T={temperature:g}"]
        assert soft["top_1_weight"] == pytest.approx(np.mean(tops), abs=5e-4)
        assert soft["entropy_nats"] == pytest.approx(np.mean(entropies), abs=5e-4)
