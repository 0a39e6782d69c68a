"""Draw training runs, one panel a metric against updates, and what validation says against time too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertkd_fairseq.analysis.curves.training_log import Point, curve
from bertkd_fairseq.analysis.figures import (
    LINE_OF_NAMES,
    LineEnd,
    line_look,
    marker_look,
    name_lines,
    new_figure,
    plain,
    report_look,
    save_png,
)

#: What is plotted, in this order, where any run has it.
METRICS = {
    "bleu": "BLEU on valid",
    "masked_accuracy": "masked accuracy (%)",
    "nll_loss": "nll_loss, bits a token (perplexity)",
    "loss": "loss, bits a token",
    "kd_loss": "kd_loss, bits a token",
    "teacher_agreement": "agreement with the teacher (%)",
    "lr": "learning rate",
}
SPLITS = ("train", "valid")

_TIMED = ("bleu", "masked_accuracy", "nll_loss")
_INCHES = (12.0, 8.5)
"""Width of the picture, and height of its panels at most unless many runs need more, at 150 pixels an inch."""
_ROW_INCHES, _AROUND_INCHES = 2.3, 0.56
"""Height of a row at most, and what titles and labels of the axes take of it."""
_UNITS = {"seconds": 1, "minutes": 60, "hours": 3600}


def metrics(runs: Mapping[str, Sequence[Point]]) -> list[str]:
    """Return the metrics that :func:`plot` draws: those that any of ``runs`` has."""
    return [
        m for m in METRICS if any(_series(points, s, m) for points in runs.values() for s in SPLITS)
    ]


def plot(runs: Mapping[str, Sequence[Point]], path: str | Path, title: str = "") -> list[str]:
    """Draw a panel for each of :func:`metrics`, at least one, save a PNG, return the metrics drawn.

    What validation measures has a second panel beside it, against the time spent. Thin lines are training, lines with
    markers validation. Colour, dashes and marker are the run's; at the end of its line are the last value and its name.
    Only the learning rate shows all of the warm-up.
    """
    with report_look():
        figure, drawn = draw(runs, title)
        save_png(figure, path)
    return drawn


def draw(runs: Mapping[str, Sequence[Point]], title: str = "") -> tuple[Any, list[str]]:
    """Return the figure of :func:`plot`, and the metrics drawn."""
    drawn = metrics(runs)
    panels = _panels(drawn)
    rows = -(-len(panels) // 2)
    row = max(min(_ROW_INCHES, _INCHES[1] / rows), LINE_OF_NAMES * len(runs) + _AROUND_INCHES)
    figure = new_figure(_INCHES[0], rows * row + 0.5)
    grid = figure.subplots(rows, 2, squeeze=False)
    unit, divisor = _unit(max((p.seconds for points in runs.values() for p in points), default=0))
    ends = []
    for axes, (metric, timed) in zip(grid.flat, panels, strict=False):
        ends.append((axes, _draw_panel(axes, runs, metric, divisor if timed else None)))
        axes.set_title(METRICS[metric] + (", against time" if timed else ""))
        axes.set_xlabel(f"{unit}, all attempts together" if timed else "updates")
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    meaning = "Thin lines: training. Lines with markers: validation. Numbers: the last value."
    heading = f"{plain(title)}\n{meaning}" if title else meaning
    figure.suptitle(heading, x=0.01, ha="left", fontsize=9)
    name_lines(figure, ends)
    return figure, drawn


def _panels(drawn: Sequence[str]) -> list[tuple[str, bool]]:
    """Return metric and "against time" of each panel, from left to right and from top to bottom."""
    timed = [(m, by_time) for m in drawn if m in _TIMED for by_time in (False, True)]
    return timed + [(m, False) for m in drawn if m not in _TIMED]


def _draw_panel(
    axes: Any, runs: Mapping[str, Sequence[Point]], metric: str, divisor: int | None
) -> list[LineEnd]:
    """Draw one metric against updates, or against the time in units of ``divisor`` seconds. Return where lines end."""
    ends: list[LineEnd] = []
    curves = set()
    for k, (name, points) in enumerate(runs.items()):
        for split in SPLITS:
            found = _series(points, split, metric)
            x = [p.seconds / divisor if divisor else p.update for p, _ in found]
            y = [value for _, value in found]
            axes.plot(x, y, **_look(k, split))
            finite = [i for i, value in enumerate(y) if math.isfinite(value)]
            if finite:  # validation comes last, and is what counts
                end = LineEnd(
                    f"{y[finite[-1]]:#.4g}  {name}", x[finite[-1]], y[finite[-1]], marker_look(k)
                )
                ends = [*(e for e in ends if e.look != end.look), end]
        if metric == "lr":
            curves.add(tuple((p.update, value) for p, value in _series(points, "train", metric)))
    axes.grid()
    axes.set_xlim(left=0)
    axes.locator_params(axis="y", nbins=6, min_n_ticks=3)
    if metric == "nll_loss":
        axes.yaxis.set_major_formatter(lambda bits, _: f"{bits:g} ({2.0**bits:.3g})")
    if metric != "lr":
        _zoom(axes, later_range(runs, metric))
    elif len(curves) == 1 and len(runs) > 1:  # as in every comparison of equal schedules
        return [
            LineEnd(f"{ends[0].y:#.4g}  all {len(runs)} runs", ends[0].x, ends[0].y, ends[0].look)
        ]
    return ends


def _series(points: Sequence[Point], split: str, metric: str) -> list[tuple[Point, float]]:
    """Return points and values of a metric. A teacher's log has no ``nll_loss``, but the perplexity that it makes."""
    found = [(p, p.values[metric]) for p in curve(points, split, metric)]
    if metric == "nll_loss" and not found:
        return [
            (p, math.log2(ppl)) for p in curve(points, split, "ppl") if (ppl := p.values["ppl"]) > 0
        ]
    return found


def later_range(runs: Mapping[str, Sequence[Point]], metric: str) -> tuple[float, float] | None:
    """Return the least and the greatest ``metric`` from a tenth of the longest run on, and at the end of each.

    A loss begins so high that the differences between runs would not be seen. None where there is no range.
    """
    tenth = max((points[-1].update for points in runs.values() if points), default=0) / 10
    curves = [_series(points, split, metric) for points in runs.values() for split in SPLITS]
    later = [
        value
        for found in curves
        for point, value in found
        if point.update >= tenth or point is found[-1][0]
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
    """Show a range of values with a margin."""
    if values is not None:
        low, high = values
        margin = 0.05 * (high - low)
        axes.set_ylim(low - margin, high + margin)


def _look(k: int, split: str) -> dict[str, Any]:
    if split == "train":
        return {"linewidth": 0.9, "alpha": 0.75, **line_look(k)}
    return {"linewidth": 1.6, "markersize": 4, **marker_look(k), **line_look(k)}
