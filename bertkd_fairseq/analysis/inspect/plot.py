"""A picture of a teacher store: how often it is right, how well it knows, how much is kept, how soft it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.analysis.figures import COLOURS, plain, save_png
from bertkd_fairseq.analysis.inspect.calibration import Reliability
from bertkd_fairseq.analysis.inspect.statistics import SoftTarget, StoreStatistics

_BLUE, _ORANGE = COLOURS[:2]
_SMALLEST_SHARE = 0.005  # of a bin in the reliability diagram: the accuracy of less is noise


def plot_statistics(statistics: StoreStatistics, path: str | Path, title: str) -> None:
    """Draw gold ranks, calibration, mass in the top K and softness at several temperatures; save a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7.6), layout="constrained")
    (ranks, calibration), (mass, soft) = figure.subplots(2, 2)
    _draw_ranks(ranks, statistics.gold_ranks)
    _draw_calibration(calibration, statistics)
    _draw_mass(mass, statistics.mass_counts)
    _draw_softness(soft, statistics.soft_targets())
    for axes in (ranks, calibration, mass, soft):
        axes.grid(alpha=0.3, axis="y")
    figure.suptitle(plain(title), fontsize=9)
    save_png(figure, path)


def _draw_ranks(axes: Any, counts: np.ndarray) -> None:
    names = [*map(str, range(1, len(counts))), "none"]
    axes.bar(names, 100 * counts / max(counts.sum(), 1), color=_BLUE)
    axes.set(title="Where the gold token is, EOS apart", xlabel="rank in the teacher's top K")
    axes.set_ylabel("% of tokens")


def _draw_calibration(axes: Any, statistics: StoreStatistics) -> None:
    """Draw a reliability diagram: on the diagonal, the teacher is right as often as it says."""
    counts = statistics.calibration.counts
    edges = np.linspace(0, 100, len(counts) + 1)
    share = 100 * counts / max(counts.sum(), 1)
    axes.stairs(share, edges, fill=True, color="#d0d0d0", label="% of the tokens")
    axes.plot([0, 100], [0, 100], color="#555555", linewidth=0.9, label="calibrated")
    eos_look = {"color": _ORANGE, "marker": "s", "linestyle": "", "mfc": "none"}
    look = {"color": _BLUE, "marker": "o", "linestyle": "-"}
    _draw_reliability(axes, "EOS", statistics.eos_calibration.summary(), eos_look)
    _draw_reliability(axes, "other tokens", statistics.calibration.summary(), look)
    axes.set(title="Calibration of the prediction", xlim=(0, 101), ylim=(0, 103))
    axes.set(xlabel="confidence of the teacher (%)", ylabel="accuracy (%)")
    axes.legend(fontsize=9, loc="upper left")


def _draw_reliability(
    axes: Any, name: str, reliability: Reliability, look: Mapping[str, str]
) -> None:
    least = _SMALLEST_SHARE * sum(part.tokens for part in reliability.bins)
    parts = [part for part in reliability.bins if part.tokens > least]
    label = f"{name}: expected error {reliability.expected_calibration_error:.1f}"
    points = [part.confidence for part in parts], [part.accuracy for part in parts]
    axes.plot(*points, markersize=5, label=label, **look)


def _draw_mass(axes: Any, mass_counts: np.ndarray) -> None:
    pooled = mass_counts.reshape(50, -1).sum(1)
    edges = np.linspace(0, 100, 51)
    axes.stairs(100 * pooled / max(pooled.sum(), 1), edges, fill=True, color=_BLUE)
    axes.set(title="Probability kept by the top K, EOS apart")
    axes.set(xlabel="% of the teacher's mass", ylabel="% of tokens")


def _draw_softness(axes: Any, soft_targets: Sequence[SoftTarget]) -> None:
    temperatures = [soft.temperature for soft in soft_targets]
    weights = [soft.top_1_weight for soft in soft_targets]
    entropies = [soft.entropy_nats for soft in soft_targets]
    axes.plot(temperatures, weights, "o-", color=_BLUE, label="weight of the top 1")
    axes.plot(temperatures, entropies, "s--", color=_ORANGE, label="entropy (nats)")
    axes.set(title="The soft target, EOS apart", xlabel="temperature", ylim=(0, None))
    axes.legend(fontsize=9)
