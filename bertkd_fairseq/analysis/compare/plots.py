"""Draw the plots of a comparison, small enough to be readable on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertkd_fairseq.analysis.compare.comparison import LONGEST_NGRAM, Comparison
from bertkd_fairseq.analysis.figures import COLOURS, line_look, marker_look, plain, svg

_HATCHES = ("", "///", "...", "xx", "\\\\\\")
_REFERENCE_LOOK = {"color": "#b0b0b0", "edgecolor": "#404040"}


@dataclass(frozen=True)
class Plot:
    """A plot, and a description of what it shows."""

    title: str
    description: str
    svg: str


def draw_plots(comparison: Comparison) -> list[Plot]:
    """Return the plots of a comparison. Differences are drawn only if there is more than one system."""
    first, target = next(iter(comparison.scores)), comparison.target
    bars = "Bars show the central 95% over bootstrap resamples of the sentences."
    several = any(len(scores["bleu"].runs) > 1 for scores in comparison.scores.values())
    runs = " Hollow markers are single runs." * several
    drawn = [
        ("BLEU", f"BLEU of every system. {bars}{runs}", _draw_scores),
        (
            "BLEU by length of the reference",
            f"BLEU on sentences whose reference has the given number of {target.lengths}. The number of sentences is "
            f"in parentheses. {bars}",
            _draw_lengths,
        ),
        (
            f"Difference to {first} by length",
            f"BLEU on the same sentences minus that of {first}. {bars}",
            _draw_differences,
        ),
        (
            "Repeated n-grams",
            f"Percentage of n-grams of {target.ngrams} that occur earlier in the same sentence.",
            _draw_repetition,
        ),
    ]
    if len(comparison.scores) == 1:
        drawn = [plot for plot in drawn if plot[2] is not _draw_differences]
    return [Plot(title, text, _draw(draw, comparison)) for title, text, draw in drawn]


def _draw(draw: Any, comparison: Comparison) -> str:
    from matplotlib.figure import Figure

    systems = len(comparison.scores)
    height = 1.3 + 0.4 * systems if draw is _draw_scores else 3.1 + 0.22 * ((systems + 1) // 2)
    figure = Figure(figsize=(4.6, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3, axis="x" if draw is _draw_scores else "y")
    axes.set_axisbelow(True)
    draw(axes, comparison)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return svg(figure)


def _draw_scores(axes: Any, comparison: Comparison) -> None:
    for k, scores in enumerate(comparison.scores.values()):
        bleu, look = scores["bleu"], marker_look(k)
        axes.errorbar(bleu.score, k, xerr=bleu.interval, capsize=4, markersize=7, **look)
        if len(bleu.runs) > 1:
            axes.plot(bleu.runs, [k + 0.25] * len(bleu.runs), mfc="none", linestyle="", **look)
    names = [plain(_short(name)) for name in comparison.scores]
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlabel="BLEU")


def _draw_lengths(axes: Any, comparison: Comparison) -> None:
    for k, name in enumerate(comparison.scores):
        scores = [bucket.bleu[name] for bucket in comparison.length_buckets]
        values = [score.score for score in scores]
        intervals = [score.interval or 0 for score in scores]
        _errorbars(axes, comparison, k, values, intervals, label=plain(_short(name)))
    _label_buckets(axes, comparison)
    axes.set(ylabel="BLEU", ylim=(0, None))


def _draw_differences(axes: Any, comparison: Comparison) -> None:
    axes.axhline(0, color="#404040", linewidth=0.9)
    for k, name in enumerate(comparison.scores):
        found = [bucket.bleu[name].against_first for bucket in comparison.length_buckets]
        present = [difference for difference in found if difference is not None]
        if not present:
            continue
        values = np.array([difference.difference for difference in present])
        low, high = np.array([d.interval or (d.difference,) * 2 for d in present]).T
        # With few sentences, the mean may lie outside the central range.
        around = np.maximum(0, [values - low, high - values])
        _errorbars(axes, comparison, k, values, around, label=plain(_short(name)))
    _label_buckets(axes, comparison)
    axes.set_ylabel("BLEU points")


def _draw_repetition(axes: Any, comparison: Comparison) -> None:
    rows = list(_bars(comparison))
    width = 0.8 / len(rows)
    for k, (name, rates, look) in enumerate(rows):
        where = np.arange(LONGEST_NGRAM) + (k - (len(rows) - 1) / 2) * width
        axes.bar(where, rates, width, label=plain(_short(name)), **look)
    axes.set_xticks(range(LONGEST_NGRAM), [f"{n}-grams" for n in range(1, LONGEST_NGRAM + 1)])
    axes.set_ylabel("% repeated")


def _bars(comparison: Comparison) -> Iterator[tuple[str, list[float], dict[str, Any]]]:
    yield "reference", comparison.reference_repetition, _REFERENCE_LOOK
    for k, (name, rates) in enumerate(comparison.repetition.items()):
        look = {"color": COLOURS[k % 5], "hatch": _HATCHES[k % 5], "edgecolor": "white"}
        yield name, rates, look


def _errorbars(
    axes: Any, comparison: Comparison, k: int, values: Any, around: Any, label: str
) -> None:
    """Draw a line with error bars, a little beside those of the other systems."""
    systems = len(comparison.scores)
    where = np.arange(len(values)) + (k - (systems - 1) / 2) * min(0.12, 0.5 / systems)
    look = {"markersize": 5, "linewidth": 1.3, **marker_look(k), **line_look(k)}
    axes.errorbar(where, values, yerr=around, capsize=3, label=label, **look)


def _label_buckets(axes: Any, comparison: Comparison) -> None:
    buckets = comparison.length_buckets
    labels = [f"{bucket.name}\n({bucket.num_sentences})" for bucket in buckets]
    axes.set_xticks(range(len(buckets)), labels)
    axes.set_xlabel(f"{comparison.target.lengths} (sentences)")
    axes.margins(x=0.08)


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
