"""Is the teacher right as often as it says? Its confidence in its prediction against its accuracy.

Of the sentences of the store: those that the teacher was trained on flatter it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

NUM_BINS = 15
"""Bins of equal width over (0, 1], as in Guo et al. (2017), On Calibration of Modern Neural Networks."""


def _counts() -> np.ndarray:
    return np.zeros(NUM_BINS, dtype=np.int64)


@dataclass
class Calibration:
    """Sums over tokens by bin of confidence; bin b holds (b / B, (b + 1) / B]."""

    counts: np.ndarray = field(default_factory=_counts)
    correct: np.ndarray = field(default_factory=_counts)
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(NUM_BINS))

    def add(self, confidence: np.ndarray, correct: np.ndarray) -> None:
        """Count tokens: the probability of each prediction (n,), and whether it was right (n,)."""
        confidence = confidence.astype(np.float64)
        bins = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
        self.counts += np.bincount(bins, minlength=NUM_BINS)
        self.correct += np.bincount(bins[correct], minlength=NUM_BINS)
        self.confidence += np.bincount(bins, weights=confidence, minlength=NUM_BINS)

    @property
    def accuracy(self) -> float:
        """How many predictions were right, in percent."""
        return 100 * int(self.correct.sum()) / max(int(self.counts.sum()), 1)

    def summary(self) -> dict[str, Any]:
        """Return the diagram, bin by bin (None where no token is), and what it comes to, in percent.

        The expected calibration error is the gap between confidence and accuracy of a bin, averaged
        over all tokens. Confidence above accuracy means that the teacher is too sure.
        """
        total = max(int(self.counts.sum()), 1)
        gaps = np.abs(self.correct - self.confidence)
        return {
            "expected_calibration_error": round(100 * float(gaps.sum()) / total, 2),
            "mean_confidence": round(100 * float(self.confidence.sum()) / total, 2),
            "bin_counts": self.counts.tolist(),
            "bin_confidence": self._percent(self.confidence),
            "bin_accuracy": self._percent(self.correct),
        }

    def _percent(self, sums: np.ndarray) -> list[float | None]:
        return [
            round(100 * float(value) / int(count), 2) if count else None
            for value, count in zip(sums, self.counts, strict=True)
        ]
