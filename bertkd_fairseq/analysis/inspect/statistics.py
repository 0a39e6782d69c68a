"""What a teacher store is worth: how often the teacher is right, how much of its mass is kept, how soft it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bertkd_fairseq.analysis.inspect.calibration import Calibration
from bertkd_fairseq.topk_store.rows import TopKRows

TEMPERATURES = (1.0, 2.0, 5.0, 10.0)
PERCENTILES = (5, 25, 50, 75, 95)
_BINS = 1000  # of probability mass: percentiles are read off a histogram, in constant memory


class SoftTarget(NamedTuple):
    """Means over tokens of the soft target at one temperature."""

    temperature: float
    top_1_weight: float
    entropy_nats: float


@dataclass
class StoreStatistics:
    """Sums over rows, EOS kept apart: it is nearly always right and would flatter the rest.

    Rows without a teacher are counted and left out of everything else.
    """

    tokens: int = 0
    without_teacher: int = 0
    gold_ranks: np.ndarray = field(
        default_factory=lambda: np.zeros(0, dtype=np.int64)
    )  # (K + 1,), last: not kept
    calibration: Calibration = field(default_factory=Calibration)
    eos_calibration: Calibration = field(default_factory=Calibration)
    mass: float = 0.0
    mass_counts: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64))
    entropy: np.ndarray = field(default_factory=lambda: np.zeros(len(TEMPERATURES)))
    top_weight: np.ndarray = field(default_factory=lambda: np.zeros(len(TEMPERATURES)))

    def add(self, rows: TopKRows, gold: np.ndarray, eos: int) -> None:
        """Count ``rows`` of n target tokens, ``gold`` (n,)."""
        ids, logprobs = rows.ids, rows.logprobs
        k = ids.shape[1]
        if not len(self.gold_ranks):
            self.gold_ranks = np.zeros(k + 1, dtype=np.int64)
        self.tokens += len(gold)
        asked = rows.has_teacher
        self.without_teacher += int((~asked).sum())
        hits = ids == gold[:, None]  # (n, K)
        is_eos = asked & (gold == eos)
        inner = asked & (gold != eos)
        confidence = np.exp(logprobs[:, 0].astype(np.float64))  # (n,)
        self.calibration.add(confidence[inner], hits[inner, 0])
        self.eos_calibration.add(confidence[is_eos], hits[is_eos, 0])
        ranks = np.where(hits.any(1), hits.argmax(1), k)  # (n,)
        self.gold_ranks += np.bincount(ranks[inner], minlength=k + 1)
        kept = rows[inner]
        mass = -np.expm1(rows.log_tail[inner].astype(np.float64))  # (m,)
        self.mass += float(mass.sum())
        self.mass_counts += np.histogram(mass, bins=_BINS, range=(0.0, 1.0))[0]
        for index, temperature in enumerate(TEMPERATURES):
            weights = kept.soft_targets(temperature)  # (m, K)
            self.top_weight[index] += weights.max(1).sum()
            logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
            self.entropy[index] -= (weights * logs).sum()

    def soft_targets(self) -> list[SoftTarget]:
        """Return how soft the targets are at each of :data:`TEMPERATURES`, EOS apart."""
        inner = max(int(self.gold_ranks.sum()), 1)
        means = zip(TEMPERATURES, self.top_weight / inner, self.entropy / inner, strict=True)
        return [
            SoftTarget(temperature, round(float(weight), 3), round(float(entropy), 3))
            for temperature, weight, entropy in means
        ]

    def summary(self) -> dict[str, Any]:
        """Return shares in percent and means per token, EOS apart."""
        inner = max(int(self.gold_ranks.sum()), 1)
        return {
            "tokens": self.tokens,
            "tokens_without_teacher": self.without_teacher,
            "accuracy": round(self.calibration.accuracy, 2),
            "gold_in_top_k": round(100 * self.gold_ranks[:-1].sum() / inner, 2),
            "eos_accuracy": round(self.eos_calibration.accuracy, 2),
            "mass_in_top_k": round(100 * self.mass / inner, 2),
            "mass_percentiles": {f"p{p}": self._mass_percentile(p) for p in PERCENTILES},
            "gold_rank_counts": self.gold_ranks.tolist(),
            "soft_target": {
                f"T={soft.temperature:g}": {
                    "top_1_weight": soft.top_1_weight,
                    "entropy_nats": soft.entropy_nats,
                }
                for soft in self.soft_targets()
            },
            "calibration": self.calibration.summary(),
            "eos_calibration": self.eos_calibration.summary(),
        }

    def summary_of_draws(self) -> dict[str, Any]:
        """Return what can be told of sampled targets: draws say little of the teacher's prediction."""
        summary = self.summary()
        return {
            "tokens": summary["tokens"],
            "tokens_without_teacher": summary["tokens_without_teacher"],
            "gold_among_draws": summary["gold_in_top_k"],
            "mass_of_drawn_symbols": summary["mass_in_top_k"],
            "mass_percentiles": summary["mass_percentiles"],
        }

    def _mass_percentile(self, percentile: int) -> float:
        """Return the mass in percent below which ``percentile`` percent of the tokens stay, to 0.1."""
        wanted = self.mass_counts.sum() * percentile / 100
        return round(
            100 * float(np.searchsorted(np.cumsum(self.mass_counts), wanted) + 1) / _BINS, 1
        )
