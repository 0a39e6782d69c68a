"""Read the logs of fairseq-train, and plot several runs against their updates."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertkd_fairseq.data_bin import read_lines
from bertkd_fairseq.errors import DataError

#: What is plotted, in this order, where any run has it.
METRICS = {
    "loss": "loss (bits)",
    "nll_loss": "nll_loss (bits)",
    "kd_loss": "kd_loss (bits)",
    "bleu": "valid BLEU",
    "masked_accuracy": "masked accuracy (%)",
    "lr": "learning rate",
}
# Okabe and Ito's colours, told apart by the colour-blind; those too light for paper are left out.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = "os^Dv"

_LINE = re.compile(r".*\| INFO \| (train_inner|train|valid\w*) \| (.*)")
_SIMPLE_INTERVAL = re.compile(r"epoch \d+:\s+\d+ / \d+ (.*)")


@dataclass(frozen=True)
class Point:
    """What a run logged at one update; ``split`` is ``train_inner``, ``train`` or ``valid``."""

    split: str
    update: int
    values: dict[str, float]


def read_log(path: str | Path) -> list[Point]:
    """Return the points of a log (``--log-format json``, ``simple`` or ``tqdm``) by update.

    Where a resumed run repeats an update, the later line counts.

    :raises DataError: if there is no such file or no statistics in it.
    """
    points: dict[tuple[str, int], Point] = {}
    for line in read_lines(path):
        if not (match := _LINE.match(line)):
            continue
        split, values = match[1], _statistics(match[1], match[2])
        update = values.pop("num_updates", None)
        if update is not None:
            points[split, int(update)] = Point(split, int(update), values)
    if not points:
        raise DataError(
            f"`{path}` must be a log of fairseq-train, but holds no line of statistics. "
            f"Train with `--log-file {path} --log-format simple --log-interval 100`."
        )
    return sorted(points.values(), key=lambda point: point.update)


def _statistics(split: str, message: str) -> dict[str, float]:
    """Return the numbers of one message, whichever of fairseq's formats it has."""
    pairs: list[tuple[str, Any]]
    if message.startswith("{"):
        try:
            stats = json.loads(message)
        except ValueError:  # the line was being written when the run was stopped
            return {}
        pairs = [(key.removeprefix(f"{split}_"), value) for key, value in stats.items()]
    elif interval := _SIMPLE_INTERVAL.match(message):
        pairs = [tuple(part.split("=", 1)) for part in interval[1].split(", ") if "=" in part]  # type: ignore[misc]
    else:
        parts = (part.split() for part in message.split("|"))
        pairs = [(part[0], part[1]) for part in parts if len(part) == 2]
    values = {}
    for key, value in pairs:
        try:
            values[key] = float(value)
        except (TypeError, ValueError):  # None, or the name of a subset
            continue
    return values


def curve(points: Sequence[Point], split: str, metric: str) -> tuple[list[int], list[float]]:
    """Return updates and values of one metric; ``train`` falls back to one point an epoch."""
    if split == "train" and any(p.split == "train_inner" and metric in p.values for p in points):
        split = "train_inner"
    found = [(p.update, p.values[metric]) for p in points if p.split == split if metric in p.values]
    return [update for update, _ in found], [value for _, value in found]


def write_csv(runs: Mapping[str, Sequence[Point]], path: str | Path) -> None:
    """Write every number of every run: run, split, update, metric, value."""
    partial = Path(f"{path}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("run", "split", "update", "metric", "value"))
        for name, points in runs.items():
            for point in points:
                for metric, value in point.values.items():
                    writer.writerow((name, point.split, point.update, metric, value))
    partial.rename(path)


def plot(runs: Mapping[str, Sequence[Point]], path: str | Path, title: str = "") -> list[str]:
    """Draw one panel for each metric that any run has, save a PNG, return the metrics drawn.

    Thin lines are training, lines with markers validation; colour, dashes and marker are the run's.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    drawn = [m for m in METRICS if any(m in p.values for points in runs.values() for p in points)]
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // max(1, columns))
    figure = Figure(figsize=(4.6 * columns, 3.3 * rows + 0.5), layout="constrained")
    for i, metric in enumerate(drawn):
        axes = figure.add_subplot(rows, columns, i + 1)
        for k, points in enumerate(runs.values()):
            _draw(axes, k, points, metric)
        axes.set_title(METRICS[metric], fontsize=10)
        axes.set_xlabel("updates", fontsize=9)
        axes.grid(alpha=0.3)
    figure.legend(handles=_legend(list(runs)), loc="outside lower center", ncols=5, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    partial = Path(f"{path}.partial")
    figure.savefig(partial, dpi=150, format="png")
    partial.rename(path)
    return drawn


def _look(k: int) -> dict[str, Any]:
    return {"color": _COLOURS[k % 5], "linestyle": _STYLES[k % 5]}


def _draw(axes: Any, k: int, points: Sequence[Point], metric: str) -> None:
    updates, values = curve(points, "train", metric)
    axes.plot(updates, values, linewidth=0.9, alpha=0.75, **_look(k))
    updates, values = curve(points, "valid", metric)
    axes.plot(updates, values, linewidth=1.6, marker=_MARKERS[k % 5], markersize=4, **_look(k))


def _legend(names: list[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    runs = [
        Line2D([], [], marker=_MARKERS[k % 5], markersize=4, label=name, **_look(k))
        for k, name in enumerate(names)
    ]
    thin = Line2D([], [], color="gray", linewidth=0.9, label="thin: training")
    thick = Line2D([], [], color="gray", marker="o", markersize=4, label="markers: validation")
    return [*runs, thin, thick]
