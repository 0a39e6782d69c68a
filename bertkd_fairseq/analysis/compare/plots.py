"""Draw the plots of a comparison, small enough to be readable on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertkd_fairseq.analysis.compare.comparison import LONGEST_NGRAM, Comparison
from bertkd_fairseq.analysis.figures import (
    COLOURS,
    INK,
    LINE_OF_NAMES,
    RULE,
    SOFT,
    LineEnd,
    line_look,
    marker_look,
    name_lines,
    new_figure,
    plain,
    report_look,
    svg,
)

_Draw = Callable[[Any, Comparison], list[LineEnd]]
"""Draws a plot into axes, and returns the ends of the lines that need names."""
_HATCHES = ("", "///", "...", "xx", "\\\\\\")
_REFERENCE_LOOK = {"color": RULE, "edgecolor": SOFT}
_LONGEST_NAME = 28  # letters, beside a plot; above it, all that fits


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
    drawn: list[tuple[str, str, _Draw]] = [
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


def _draw(draw: _Draw, comparison: Comparison) -> str:
    with report_look():
        return svg(figure_of(draw, comparison))


def figure_of(draw: _Draw, comparison: Comparison) -> Any:
    """Return the figure of one plot, as wide as a phone shows without making letters much smaller."""
    systems = len(comparison.scores)
    height = max(2.8, 1.0 + (LINE_OF_NAMES + 0.03) * (systems + 1))
    if draw is _draw_scores:
        height = 0.6 + 0.42 * systems
    figure = new_figure(4.3, height)
    axes = figure.subplots()
    axes.grid(axis="x" if draw is _draw_scores else "y")
    name_lines(figure, [(axes, draw(axes, comparison))])
    return figure


def _draw_scores(axes: Any, comparison: Comparison) -> list[LineEnd]:
    """Draw a bar for each system with its score and its name above it, so that long names take no room beside."""
    for k, (name, scores) in enumerate(comparison.scores.items()):
        bleu, look = scores["bleu"], marker_look(k)
        axes.errorbar(bleu.score, k, xerr=bleu.interval, capsize=4, markersize=6, **look)
        if len(bleu.runs) > 1:
            axes.plot(bleu.runs, [k + 0.25] * len(bleu.runs), mfc="none", linestyle="", **look)
        above = f"{bleu.score:.2f}  {plain(_short(name, 60))}"
        axes.text(0, k - 0.38, above, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set(ylim=(len(comparison.scores) - 0.5, -0.6), xlabel="BLEU")
    return []


def _draw_lengths(axes: Any, comparison: Comparison) -> list[LineEnd]:
    ends = []
    for k, name in enumerate(comparison.scores):
        scores = [bucket.bleu[name] for bucket in comparison.length_buckets]
        values = [score.score for score in scores]
        intervals = [score.interval or 0 for score in scores]
        ends.append(_errorbars(axes, comparison, k, values, intervals, name))
    _label_buckets(axes, comparison)
    axes.set(ylabel="BLEU", ylim=(0, None))
    return ends


def _draw_differences(axes: Any, comparison: Comparison) -> list[LineEnd]:
    axes.axhline(0, color=INK, linewidth=0.9)
    ends = []
    for k, name in enumerate(comparison.scores):
        found = [bucket.bleu[name].against_first for bucket in comparison.length_buckets]
        present = [difference for difference in found if difference is not None]
        if not present:
            continue
        values = np.array([difference.difference for difference in present])
        low, high = np.array([d.interval or (d.difference,) * 2 for d in present]).T
        # With few sentences, the mean may lie outside the central range.
        around = np.maximum(0, [values - low, high - values])
        ends.append(_errorbars(axes, comparison, k, values, around, name))
    _label_buckets(axes, comparison)
    axes.set_ylabel("BLEU points")
    return ends


def _draw_repetition(axes: Any, comparison: Comparison) -> list[LineEnd]:
    rows = list(_bars(comparison))
    width = 0.8 / len(rows)
    for k, (name, rates, look) in enumerate(rows):
        where = np.arange(LONGEST_NGRAM) + (k - (len(rows) - 1) / 2) * width
        axes.bar(where, rates, width, label=plain(_short(name)), **look)
    axes.set_xticks(range(LONGEST_NGRAM), [f"{n}-grams" for n in range(1, LONGEST_NGRAM + 1)])
    axes.set_ylabel("% repeated")
    axes.legend()  # where the fewest bars are: those of long n-grams are low
    return []


def _bars(comparison: Comparison) -> Iterator[tuple[str, list[float], dict[str, Any]]]:
    yield "reference", comparison.reference_repetition, _REFERENCE_LOOK
    for k, (name, rates) in enumerate(comparison.repetition.items()):
        look = {"color": COLOURS[k % 5], "hatch": _HATCHES[k % 5], "edgecolor": "white"}
        yield name, rates, look


def _errorbars(
    axes: Any, comparison: Comparison, k: int, values: Any, around: Any, name: str
) -> LineEnd:
    """Draw a line with error bars, a little beside those of the other systems. Return where it ends."""
    systems = len(comparison.scores)
    where = np.arange(len(values)) + (k - (systems - 1) / 2) * min(0.12, 0.5 / systems)
    look = {"markersize": 5, "linewidth": 1.3, **marker_look(k), **line_look(k)}
    axes.errorbar(where, values, yerr=around, capsize=3, **look)
    return LineEnd(_short(name), where[-1], values[-1], marker_look(k))


def _label_buckets(axes: Any, comparison: Comparison) -> None:
    buckets = comparison.length_buckets
    labels = [f"{bucket.name}\n({bucket.num_sentences})" for bucket in buckets]
    axes.set_xticks(range(len(buckets)), labels)
    axes.set_xlabel(f"{comparison.target.lengths} (sentences)")
    axes.margins(x=0.08)


def _short(name: str, longest: int = _LONGEST_NAME) -> str:
    """Return a name without its middle if it is longer: names of systems differ at their ends."""
    if len(name) <= longest:
        return name
    half = (longest - 1) // 2
    return f"{name[: longest - 1 - half].rstrip('.')}…{name[-half:].lstrip('.')}"
