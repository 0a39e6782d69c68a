"""The reliability diagram against a naive one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bertkd_fairseq.analysis.inspect.calibration import (
    NUM_BINS,
    Calibration,
    Reliability,
    ReliabilityBin,
)


def test_diagram_and_error_against_a_naive_count() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.random(500)
    confidence[:6] = [0, 1, 1 / 15, 2 / 15, 0.2, 0.4]  # edges belong to the bin below
    confidence[(confidence > 0.4) & (confidence <= 0.47)] = 0.9  # leaves one bin empty
    correct = generator.random(500) < confidence**2  # too sure
    calibration = Calibration()
    for part in np.array_split(np.arange(500), 7):
        calibration.add(confidence[part], correct[part])
    summary = calibration.summary()

    error = 0.0
    for b in range(NUM_BINS):
        low, high = b / NUM_BINS, (b + 1) / NUM_BINS
        tokens = [
            (float(c), bool(r))
            for c, r in zip(confidence, correct, strict=True)
            if low < c <= high or (b == 0 and c == 0)
        ]
        found = summary.bins[b]
        assert found.tokens == len(tokens)
        if not tokens:
            assert found == ReliabilityBin(0, None, None)
            continue
        mean = math.fsum(c for c, _ in tokens) / len(tokens)
        accuracy = sum(r for _, r in tokens) / len(tokens)
        error += len(tokens) / 500 * abs(mean - accuracy)
        assert found.confidence == pytest.approx(100 * mean, rel=1e-12)
        assert found.accuracy == pytest.approx(100 * accuracy, rel=1e-12)
    assert ReliabilityBin(0, None, None) in summary.bins
    assert summary.expected_calibration_error == pytest.approx(100 * error, rel=1e-12)
    assert calibration.accuracy == pytest.approx(100 * correct.mean(), rel=1e-12)
    assert summary.mean_confidence == pytest.approx(100 * math.fsum(confidence) / 500, rel=1e-12)


def test_right_as_often_as_it_says_is_no_error() -> None:
    calibration = Calibration()
    for confidence in (0.25, 0.5, 0.75, 1.0):
        right = np.arange(100) < 100 * confidence
        calibration.add(np.full(100, confidence), right)
    assert calibration.summary().expected_calibration_error == 0


def test_no_tokens() -> None:
    assert Calibration().summary() == Reliability(0, 0, [ReliabilityBin(0, None, None)] * NUM_BINS)
