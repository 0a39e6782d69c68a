"""A picture of a teacher store: how often it is right, how well it knows, how much is kept, how soft it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.analysis.figures import (
    COLOURS,
    LINE,
    SOFT,
    LineEnd,
    line_look,
    marker_look,
    name_lines,
    new_figure,
    plain,
    report_look,
    save_png,
)
from bertkd_fairseq.analysis.inspect.calibration import Reliability
from bertkd_fairseq.analysis.inspect.statistics import SoftTarget, StoreStatistics

_BLUE, _ORANGE = COLOURS[:2]
_LABELLED_RANKS = 12  # more numbers would not fit side by side
_SMALLEST_SHARE = 0.005  # of a bin in the reliability diagram: the accuracy of less is noise


def plot_statistics(statistics: StoreStatistics, path: str | Path, title: str) -> None:
    """Draw gold ranks, calibration, mass in the top K and softness at several temperatures; save a PNG."""
    with report_look():
        save_png(draw(statistics, title), path)


def draw(statistics: StoreStatistics, title: str) -> Any:
    """Return the figure of :func:`plot_statistics`."""
    figure = new_figure(10, 7.6)
    (ranks, calibration), (mass, soft) = figure.subplots(2, 2)
    for axes in (ranks, calibration, mass, soft):
        axes.grid(axis="y")
    _draw_ranks(ranks, statistics.gold_ranks)
    _draw_calibration(calibration, statistics)
    _draw_mass(mass, statistics.mass_counts)
    ends = _draw_softness(soft, statistics.soft_targets())
    figure.suptitle(plain(title), x=0.01, ha="left", fontsize=8.5, color=SOFT)
    name_lines(figure, [(soft, ends)])
    return figure


def _draw_ranks(axes: Any, counts: np.ndarray) -> None:
    k = len(counts) - 1
    bars = axes.bar(range(k + 1), 100 * counts / max(counts.sum(), 1), color=_BLUE)
    step = 1 + k // _LABELLED_RANKS
    if step == 1:
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    ranks = range(0, k - step + 1, step)
    axes.set_xticks([*ranks, k], [*(str(rank + 1) for rank in ranks), "none"])
    axes.set(title="Where the gold token is, EOS apart", xlabel="rank in the teacher's top K")
    axes.set_ylabel("% of tokens")


def _draw_calibration(axes: Any, statistics: StoreStatistics) -> None:
    """Draw a reliability diagram: on the diagonal, the teacher is right as often as it says."""
    counts = statistics.calibration.counts
    edges = np.linspace(0, 100, len(counts) + 1)
    share = 100 * counts / max(counts.sum(), 1)
    axes.stairs(share, edges, fill=True, color=LINE, label="% of the tokens")
    axes.plot([0, 100], [0, 100], color=SOFT, linewidth=0.9, label="calibrated")
    eos_look = {"color": _ORANGE, "marker": "s", "linestyle": "", "mfc": "none"}
    look = {"color": _BLUE, "marker": "o", "linestyle": "-"}
    _draw_reliability(axes, "EOS", statistics.eos_calibration.summary(), eos_look)
    _draw_reliability(axes, "other tokens", statistics.calibration.summary(), look)
    axes.set(title="Calibration of the prediction", xlim=(0, 101), ylim=(0, 103))
    axes.set(xlabel="confidence of the teacher (%)", ylabel="accuracy (%)")
    axes.legend(loc="upper left")


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


def _draw_softness(axes: Any, soft_targets: Sequence[SoftTarget]) -> list[LineEnd]:
    """Draw both lines, and return where they end."""
    temperatures = [soft.temperature for soft in soft_targets]
    lines = {
        "weight of the top 1": [soft.top_1_weight for soft in soft_targets],
        "entropy (nats)": [soft.entropy_nats for soft in soft_targets],
    }
    for k, values in enumerate(lines.values()):
        axes.plot(temperatures, values, markersize=5, **{**marker_look(k), **line_look(k)})
    axes.set(title="The soft target, EOS apart", xlabel="temperature", ylim=(0, None))
    return [
        LineEnd(f"{values[-1]:.2f}  {name}", temperatures[-1], values[-1], marker_look(k))
        for k, (name, values) in enumerate(lines.items())
    ]
