"""Is the teacher right as often as it says? Its confidence in its prediction against its accuracy.

The sentences are those of the store. If the teacher was trained on them, the result flatters it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

NUM_BINS = 15
"""Bins of equal width over (0, 1], as in Guo et al. (2017), On Calibration of Modern Neural Networks."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The tokens of one bin; means in percent, None where no token is."""

    tokens: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram and what it comes to, in percent; ``bins``: :data:`NUM_BINS`, rising in confidence.

    The expected calibration error is the gap between confidence and accuracy of a bin, averaged over all tokens.
    Confidence above accuracy means that the teacher is too sure.
    """

    expected_calibration_error: float
    mean_confidence: float
    bins: list[ReliabilityBin]


def _counts() -> np.ndarray:
    return np.zeros(NUM_BINS, dtype=np.int64)


@dataclass
class Calibration:
    """Sums over tokens by bin of confidence, (NUM_BINS,) each; bin b of B holds (b / B, (b + 1) / B]."""

    counts: np.ndarray = field(default_factory=_counts)
    correct: np.ndarray = field(default_factory=_counts)
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(NUM_BINS))

    def add(self, confidence: np.ndarray, correct: np.ndarray) -> None:
        """Count tokens: the probability of each prediction (n,), and whether it was right (n,) bool."""
        confidence = confidence.astype(np.float64)
        bins = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
        self.counts += np.bincount(bins, minlength=NUM_BINS)
        self.correct += np.bincount(bins[correct], minlength=NUM_BINS)
        self.confidence += np.bincount(bins, weights=confidence, minlength=NUM_BINS)

    @property
    def accuracy(self) -> float:
        """How many predictions were right, in percent."""
        return 100 * int(self.correct.sum()) / max(int(self.counts.sum()), 1)

    def summary(self) -> Reliability:
        """Return the diagram; zeros where there are no tokens at all."""
        total = max(int(self.counts.sum()), 1)
        gaps = np.abs(self.correct - self.confidence)
        sums = zip(self.counts.tolist(), self.confidence, self.correct, strict=True)
        return Reliability(
            expected_calibration_error=100 * float(gaps.sum()) / total,
            mean_confidence=100 * float(self.confidence.sum()) / total,
            bins=[
                ReliabilityBin(n, 100 * float(confidence) / n, 100 * int(correct) / n)
                if n
                else ReliabilityBin(0, None, None)
                for n, confidence, correct in sums
            ],
        )
