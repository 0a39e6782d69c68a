"""Score systems of one run or several by sacrebleu's metrics, and test their differences by its tests.

A system's score is the mean over its runs. When a test draws a sentence, or swaps it with the other system's, it takes
the translations of that sentence by all runs together. So a test asks whether the difference of the means would hold
for the same trained models on other sentences. Runs don't count as further sentences: that would make every difference
significant. The tests don't ask whether retrained models would differ as well; the spread over runs shows that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

SEED = 12345
"""The seed of all tests if none is given. It is sacrebleu's own."""

METRICS = {
    "tokenized_bleu": "tok BLEU",
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
}
"""For each metric's name in files its name in reports, in the order of the tables."""

_NOTHING = 1e-9  # in points: rounding may make so much of a difference of 0


@dataclass(frozen=True)
class Difference:
    """One system minus the first one by one metric, as the difference of their means over runs.

    With a single sentence there is nothing to draw: then all but ``difference`` is None. ``randomization_p`` is also
    None if no trials were asked for, or if the two systems have different numbers of runs.
    """

    difference: float
    interval: tuple[float, float] | None  # the central 95% over bootstrap resamples
    bootstrap_p: float | None
    randomization_p: float | None


@dataclass(frozen=True)
class Score:
    """One metric of one system."""

    score: float  # mean over runs
    runs: list[float]
    spread: float | None  # standard deviation over runs (n - 1); None with a single run
    resampled_mean: float  # over bootstrap resamples of the sentences
    interval: float | None  # half the width of their central 95%; None with a single sentence
    length_ratio: float | None  # mean over runs; None unless the metric is BLEU
    brevity_penalty: float | None  # mean over runs; None unless the metric is BLEU
    against_first: Difference | None  # None for the first system itself


@dataclass(frozen=True)
class Trials:
    """The number of bootstrap resamples, the number of trials of approximate randomisation (0: none), and the seed."""

    resamples: int = 1000
    randomization: int = 10_000
    seed: int = SEED  # at least 1, as in sacrebleu


class Measurement:
    """One metric's statistics of every sentence of every system. Scores and tests are computed from them."""

    def __init__(self, metric: Any, systems: Sequence[Sequence[list[str]]]) -> None:
        """Compute the statistics of ``systems``. Each system is a list of runs, and each run a list of sentences.

        ``metric`` is a metric of sacrebleu that was made with the references, or has the same methods.
        """
        per_run = [[metric._extract_corpus_statistics(run, None) for run in s] for s in systems]
        self._mean = _MeanOverRuns(metric, width=len(per_run[0][0][0]))
        # Per system (sentences, runs * width): the runs of a sentence side by side.
        self._statistics = [np.hstack([np.array(run) for run in runs]) for runs in per_run]

    @property
    def signature(self) -> str:
        """The metric's signature, as sacrebleu prints it."""
        return str(self._mean.metric.get_signature())

    def sentence_scores(self) -> np.ndarray:
        """Return the score of every sentence, as a mean over runs: (systems, sentences)."""
        score = self._mean._compute_score_from_stats
        return np.array([[score(row).score for row in rows] for rows in self._statistics])

    def scores(self, trials: Trials, where: np.ndarray | None = None) -> list[Score]:
        """Return the score of each system on all sentences, or on those where the mask ``where`` is true."""
        if where is None:
            where = np.ones(len(self._statistics[0]), dtype=bool)
        statistics = [rows[where] for rows in self._statistics]
        resampled = [self._resampled(rows, trials) for rows in statistics]
        scores = [self._score(statistics[0], resampled[0], None)]
        for rows, means in zip(statistics[1:], resampled[1:], strict=True):
            found = self._difference(statistics[0], rows, means - resampled[0], trials)
            scores.append(self._score(rows, means, found))
        return scores

    def _difference(
        self, first: np.ndarray, rows: np.ndarray, gaps: np.ndarray, trials: Trials
    ) -> Difference:
        """Return the difference of ``rows`` to ``first``; ``gaps`` has that of each bootstrap resample."""
        from sacrebleu.significance import _compute_p_value

        difference = self._of(rows) - self._of(first)
        low, high = np.quantile(gaps, (0.025, 0.975))
        # sacrebleu counts the resamples that exceed the observed difference. Equal systems have none, so p is set to 1.
        equal = bool(np.abs(gaps).max() < _NOTHING)
        # As in Moses, p is from how far the differences scatter around their own mean.
        scatter = np.abs(gaps) - np.abs(gaps).mean()
        bootstrap_p = 1.0 if equal else float(_compute_p_value(scatter, abs(difference)))
        several = len(rows) > 1
        return Difference(
            difference=difference,
            interval=(float(low), float(high)) if several else None,
            bootstrap_p=bootstrap_p if several else None,
            randomization_p=self._randomize(first, rows, trials, equal),
        )

    def _randomize(
        self, first: np.ndarray, rows: np.ndarray, trials: Trials, equal: bool
    ) -> float | None:
        """Return p of approximate randomisation; None if it can't be computed (see :class:`Difference`)."""
        from sacrebleu.significance import Result, _paired_ar_test

        if not trials.randomization or rows.shape != first.shape or len(rows) == 1:
            return None
        if equal:
            return 1.0
        named: Any = ({"": (first, Result(self._of(first)))}, "", rows, None, {"": self._mean})
        tested = _paired_ar_test(*named, n_samples=trials.randomization, seed=trials.seed)
        return float(tested[1][""].p_value)

    def _score(
        self, rows: np.ndarray, resampled: np.ndarray, difference: Difference | None
    ) -> Score:
        from sacrebleu.significance import estimate_ci

        mean, interval = estimate_ci(resampled)
        runs = self._mean.of_runs(rows.sum(0))
        scores = [float(run.score) for run in runs]
        bleu = hasattr(runs[0], "bp")
        return Score(
            score=fmean(scores),
            runs=scores,
            spread=stdev(scores) if len(scores) > 1 else None,
            resampled_mean=float(mean),
            interval=float(interval) if len(rows) > 1 else None,
            length_ratio=fmean(run.ratio for run in runs) if bleu else None,
            brevity_penalty=fmean(run.bp for run in runs) if bleu else None,
            against_first=difference,
        )

    def _of(self, rows: np.ndarray) -> float:
        return float(self._mean._aggregate_and_compute(rows).score)

    def _resampled(self, rows: np.ndarray, trials: Trials) -> np.ndarray:
        """Return the score of every resample. To the last digit, it is what sacrebleu computes for this seed."""
        # Every system has the same seed, so the same sentences are drawn, and differences are paired.
        rng = np.random.default_rng(trials.seed)
        drawn = rng.choice(len(rows), size=(trials.resamples, len(rows)), replace=True)
        # Counts are float32, as in sacrebleu. Scores of sentences aren't whole numbers and keep their precision.
        rows = rows if rows.dtype.kind == "f" else rows.astype("float32")
        score = self._mean._compute_score_from_stats
        return np.array([score(rows[sentences].sum(0)).score for sentences in drawn])


class _MeanOverRuns:
    """A metric for sacrebleu's tests, which takes statistics of all runs and returns the mean of the runs' scores.

    With one run, it returns that run's score unchanged, so that all numbers are sacrebleu's to the last digit.
    """

    def __init__(self, metric: Any, width: int) -> None:
        self.metric = metric
        self.get_signature = metric.get_signature
        self._width = width

    def of_runs(self, sums: np.ndarray) -> list[Any]:
        """Return sacrebleu's score of each run, from statistics (runs * width,) that are summed over sentences."""
        runs = sums.reshape(-1, self._width)
        return [self.metric._compute_score_from_stats(run) for run in runs]

    def _extract_corpus_statistics(self, statistics: np.ndarray, references: None) -> np.ndarray:
        return statistics

    def _aggregate_and_compute(self, statistics: np.ndarray) -> Any:
        return self._compute_score_from_stats(statistics.sum(0))

    def _compute_score_from_stats(self, sums: np.ndarray) -> Any:
        from sacrebleu.metrics.base import Score as SacrebleuScore

        scores = self.of_runs(sums)
        if len(scores) == 1:
            return scores[0]
        return SacrebleuScore(scores[0].name, fmean(float(score.score) for score in scores))
