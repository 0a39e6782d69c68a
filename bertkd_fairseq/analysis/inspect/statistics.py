"""What a teacher store is worth: how often the teacher is right, how much of its mass is kept, how soft it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bertkd_fairseq.analysis.inspect.calibration import Calibration, Reliability
from bertkd_fairseq.topk_store.rows import TopKRows

TEMPERATURES = (1.0, 2.0, 5.0, 10.0)
PERCENTILES = (5, 25, 50, 75, 95)
_BINS = 1000  # of probability mass: percentiles are read off a histogram, in constant memory


@dataclass(frozen=True)
class SoftTarget:
    """Means over tokens of the soft target at one temperature: weight of the most probable entry, entropy."""

    temperature: float
    top_1_weight: float
    entropy_nats: float


@dataclass(frozen=True)
class MassPercentile:
    """``percentile`` percent of the tokens keep at most ``mass`` percent of the teacher's probability."""

    percentile: int
    mass: float


@dataclass(frozen=True)
class TopKStatistics:
    """A store of the K most probable entries against the gold tokens: in percent, EOS apart from the rest.

    ``tokens`` counts EOS and, as ``tokens_without_teacher``, those that the teacher was not asked for.
    ``gold_rank_counts``: K + 1 numbers of tokens by the rank of the gold token, the last where it is no entry.
    ``gold_perplexity``: the teacher's perplexity of the gold token over whole distributions, EOS apart, without the
    ``gold_impossible`` tokens that have no probability; ``gold_rank_bits``: -log2 of the probability of the gold token,
    means by rank, None where there are no tokens. None, all three, of a store of format 1.
    """

    tokens: int
    tokens_without_teacher: int
    accuracy: float
    gold_in_top_k: float
    eos_accuracy: float
    mass_in_top_k: float
    mass_percentiles: list[MassPercentile]
    gold_rank_counts: list[int]
    soft_targets: list[SoftTarget]
    calibration: Reliability
    eos_calibration: Reliability
    gold_perplexity: float | None = None
    gold_impossible: int | None = None
    gold_rank_bits: list[float | None] | None = None


@dataclass(frozen=True)
class DrawStatistics:
    """What can be told of sampled targets, as in :class:`TopKStatistics`: draws say little of the prediction."""

    tokens: int
    tokens_without_teacher: int
    gold_among_draws: float
    mass_of_drawn_symbols: float
    mass_percentiles: list[MassPercentile]
    gold_perplexity: float | None = None
    gold_impossible: int | None = None


@dataclass
class StoreStatistics:
    """Sums over rows, EOS kept apart: it is nearly always right and would flatter the rest.

    Rows without a teacher are counted and left out of everything else. ``gold_ranks`` (K + 1,): the last for gold
    tokens that were not kept; ``gold_bits`` (K + 1,): sums of -log2 p(gold) by rank, over ``gold_possible`` tokens,
    those that have a probability; ``mass_counts``: tokens by the mass that is kept; ``entropy`` and ``top_weight``: by
    :data:`TEMPERATURES`.
    """

    tokens: int = 0
    without_teacher: int = 0
    gold_ranks: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    gold_bits: np.ndarray | None = None
    gold_possible: np.ndarray | None = None
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
        if rows.gold_logprob is not None:
            self._add_gold(rows.gold_logprob[inner], ranks[inner])
        kept = rows[inner]
        mass = -np.expm1(rows.log_tail[inner].astype(np.float64))  # (m,)
        self.mass += float(mass.sum())
        self.mass_counts += np.histogram(mass, bins=_BINS, range=(0.0, 1.0))[0]
        for index, temperature in enumerate(TEMPERATURES):
            weights = kept.soft_targets(temperature)  # (m, K)
            self.top_weight[index] += weights.max(1).sum()
            logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
            self.entropy[index] -= (weights * logs).sum()

    def _add_gold(self, logprob: np.ndarray, ranks: np.ndarray) -> None:
        """Count log-probabilities of gold tokens (m,) by their ranks (m,)."""
        if self.gold_bits is None or self.gold_possible is None:
            self.gold_bits = np.zeros(len(self.gold_ranks))
            self.gold_possible = np.zeros_like(self.gold_ranks)
        bits = logprob.astype(np.float64) / -np.log(2)
        possible = np.isfinite(bits)
        every = len(self.gold_ranks)
        self.gold_bits += np.bincount(ranks[possible], bits[possible], minlength=every)
        self.gold_possible += np.bincount(ranks[possible], minlength=every)

    def soft_targets(self) -> list[SoftTarget]:
        """Return how soft the targets are at each of :data:`TEMPERATURES`, EOS apart."""
        means = zip(
            TEMPERATURES, self.top_weight / self._inner, self.entropy / self._inner, strict=True
        )
        return [SoftTarget(t, float(weight), float(entropy)) for t, weight, entropy in means]

    def summary(self) -> TopKStatistics:
        """Return what the sums come to."""
        return TopKStatistics(
            tokens=self.tokens,
            tokens_without_teacher=self.without_teacher,
            accuracy=self.calibration.accuracy,
            gold_in_top_k=self._gold_kept,
            eos_accuracy=self.eos_calibration.accuracy,
            mass_in_top_k=100 * self.mass / self._inner,
            mass_percentiles=self._mass_percentiles(),
            gold_rank_counts=self.gold_ranks.tolist(),
            soft_targets=self.soft_targets(),
            calibration=self.calibration.summary(),
            eos_calibration=self.eos_calibration.summary(),
            gold_perplexity=self._gold_perplexity,
            gold_impossible=self._gold_impossible,
            gold_rank_bits=self._gold_rank_bits(),
        )

    def summary_of_draws(self) -> DrawStatistics:
        """Return what the sums come to where the targets are sampled."""
        return DrawStatistics(
            tokens=self.tokens,
            tokens_without_teacher=self.without_teacher,
            gold_among_draws=self._gold_kept,
            mass_of_drawn_symbols=100 * self.mass / self._inner,
            mass_percentiles=self._mass_percentiles(),
            gold_perplexity=self._gold_perplexity,
            gold_impossible=self._gold_impossible,
        )

    @property
    def _inner(self) -> int:
        """Tokens with a teacher, EOS apart; 1 where there are none, to divide by."""
        return max(int(self.gold_ranks.sum()), 1)

    @property
    def _gold_kept(self) -> float:
        return 100 * int(self.gold_ranks[:-1].sum()) / self._inner

    @property
    def _gold_perplexity(self) -> float | None:
        if self.gold_bits is None or self.gold_possible is None or not self.gold_possible.any():
            return None
        return float(2 ** (self.gold_bits.sum() / self.gold_possible.sum()))

    @property
    def _gold_impossible(self) -> int | None:
        if self.gold_possible is None:
            return None
        return int(self.gold_ranks.sum() - self.gold_possible.sum())

    def _gold_rank_bits(self) -> list[float | None] | None:
        if self.gold_bits is None or self.gold_possible is None:
            return None
        sums = zip(self.gold_bits.tolist(), self.gold_possible.tolist(), strict=True)
        return [bits / count if count else None for bits, count in sums]

    def _mass_percentiles(self) -> list[MassPercentile]:
        """Return the mass at each of :data:`PERCENTILES`, to 0.1 percent."""
        cumulated = np.cumsum(self.mass_counts)
        wanted = cumulated[-1] * np.array(PERCENTILES) / 100
        bins = (np.searchsorted(cumulated, wanted) + 1).tolist()
        return [
            MassPercentile(percentile, round(100 * last / _BINS, 1))
            for percentile, last in zip(PERCENTILES, bins, strict=True)
        ]
