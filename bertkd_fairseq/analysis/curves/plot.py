"""Draw training runs, one panel a metric, against updates and against time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertkd_fairseq.analysis.curves.training_log import Point, curve
from bertkd_fairseq.analysis.figures import line_look, marker_look, plain, save_png

#: What is plotted, in this order, where any run has it.
METRICS = {
    "loss": "loss (bits)",
    "nll_loss": "nll_loss (bits)",
    "kd_loss": "kd_loss (bits)",
    "ppl": "perplexity",
    "masked_accuracy": "masked accuracy (%)",
    "bleu": "BLEU on valid",
    "lr": "learning rate",
}
SPLITS = ("train", "valid")

_MOST_INCHES = 7.9
"""Height of the picture at most, at 150 pixels an inch: it fits a screen."""
_PANEL_INCHES, _ROWS_OF_ONE, _LEGEND_LINES = 2.3, 3, 30
_UNITS = {"seconds": 1, "minutes": 60, "hours": 3600}


def metrics(runs: Mapping[str, Sequence[Point]]) -> list[str]:
    """Return the metrics that :func:`plot` draws: those that any of ``runs`` has."""
    return [m for m in METRICS if any(m in p.values for points in runs.values() for p in points)]


def plot(runs: Mapping[str, Sequence[Point]], path: str | Path, title: str = "") -> list[str]:
    """Draw two panels for each of :func:`metrics`, at least one, save a PNG, return the metrics drawn.

    The left one is against updates, the right one against the time spent. Thin lines are training, lines with markers
    validation; colour, dashes and marker are the run's. Only the learning rate shows all of the warm-up.
    """
    from matplotlib.figure import Figure

    drawn = metrics(runs)
    unit, divisor = _unit(max((p.seconds for points in runs.values() for p in points), default=0))
    side_by_side = 1 if len(drawn) <= _ROWS_OF_ONE else 2
    rows = -(-len(drawn) // side_by_side)
    height = min(rows * _PANEL_INCHES + 0.8, _MOST_INCHES)
    figure = Figure(figsize=(9 * side_by_side + 1.5, height), layout="constrained")
    grid = figure.subplots(rows, 2 * side_by_side, squeeze=False, sharex="col")
    pairs = grid.reshape(-1, 2)  # (places, 2): row by row, each metric's panels beside each other
    for metric, (by_update, by_time) in zip(drawn, pairs, strict=False):
        by_time.sharey(by_update)
        by_time.tick_params(labelleft=False)
        for k, points in enumerate(runs.values()):
            for split in SPLITS:
                found = curve(points, split, metric)
                values = [point.values[metric] for point in found]
                by_update.plot([point.update for point in found], values, **_look(k, split))
                times = [point.seconds / divisor for point in found]
                by_time.plot(times, values, **_look(k, split))
        by_update.set_ylabel(METRICS[metric])
        for axes in (by_update, by_time):
            axes.grid(alpha=0.3)
            if metric == "ppl":
                _log_scale(axes)
        if metric != "lr":
            _zoom(by_update, later_range(runs, metric))
    for axes in pairs[len(drawn) :].flat:
        axes.remove()
    for by_update, by_time in pairs[: len(drawn)][-side_by_side:]:
        by_update.set_xlabel("updates")
        by_time.set_xlabel(f"{unit}, all attempts together")
        for axes in (by_update, by_time):
            axes.tick_params(labelbottom=True)
    figure.align_ylabels()
    _add_legend(figure, list(runs))
    if title:
        figure.suptitle(plain(title))
    save_png(figure, path)
    return drawn


def later_range(runs: Mapping[str, Sequence[Point]], metric: str) -> tuple[float, float] | None:
    """Return the least and the greatest ``metric`` from a tenth of the longest run on, and at the end of each.

    A loss begins so high that the differences between runs would not be seen. None where there is no range.
    """
    tenth = max((points[-1].update for points in runs.values() if points), default=0) / 10
    curves = [curve(points, split, metric) for points in runs.values() for split in SPLITS]
    later = [
        point.values[metric]
        for found in curves
        for point in found
        if point.update >= tenth or point is found[-1]
    ]
    finite = [value for value in later if math.isfinite(value)]
    if not finite or min(finite) == max(finite):
        return None
    return min(finite), max(finite)


def _unit(seconds: float) -> tuple[str, int]:
    """Return the unit in which the longest run is a number from 2 on, and its seconds."""
    fitting = [item for item in _UNITS.items() if seconds >= 2 * item[1]]
    return fitting[-1] if fitting else ("seconds", 1)


def _zoom(axes: Any, values: tuple[float, float] | None) -> None:
    """Show a range of values with a margin, on whatever scale."""
    if values is None:
        return
    to_scale = axes.yaxis.get_transform()
    low, high = to_scale.transform(values)
    margin = 0.05 * (high - low)
    axes.set_ylim(*to_scale.inverted().transform([low - margin, high + margin]))


def _log_scale(axes: Any) -> None:
    """Label 1, 2, 5, 10, ...: a perplexity between 10 and 90 would get one label by default."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _look(k: int, split: str) -> dict[str, Any]:
    if split == "train":
        return {"linewidth": 0.9, "alpha": 0.75, **line_look(k)}
    return {"linewidth": 1.6, "markersize": 4, **marker_look(k), **line_look(k)}


def _add_legend(figure: Any, names: list[str]) -> None:
    """Put what the lines mean beside them, at the top, where the eye begins."""
    handles = _legend(names)
    columns = -(-len(handles) // _LEGEND_LINES)
    figure.legend(handles=handles, loc="outside right upper", ncols=columns, fontsize=9)


def _legend(names: list[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    runs = [Line2D([], [], label=plain(name), **_look(k, "valid")) for k, name in enumerate(names)]
    thin = Line2D([], [], color="gray", linewidth=0.9, label="thin: training")
    thick = Line2D([], [], color="gray", marker="o", markersize=4, label="markers: validation")
    return [*runs, thin, thick]
