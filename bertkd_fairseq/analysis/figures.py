"""What all pictures share: the reports' type and colours, names at the ends of lines, and files that are whole."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.files import whole_file

INK, SOFT, RULE, LINE = "#111111", "#444444", "#888888", "#cccccc"
"""Text, lesser text, axes and grid, as in ``report.css``."""

COLOURS = ("#0b57a4", "#d55e00", "#009e73", "#cc79a7", INK)
"""The reports' blue, and of Okabe and Ito's colours those dark enough for paper; the colour-blind tell them apart."""

_FONTS = (
    "Segoe UI",
    "Noto Sans",
    "Arial",
    "Liberation Sans",
)  # as report.css, where they are there
_MARKERS = "os^Dv"
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_SMALL = 8  # points: names at the ends of lines
LINE_OF_NAMES = 0.122
"""Height that each name at the end of a line needs, in inches."""


def marker_look(k: int) -> dict[str, Any]:
    """Return colour and marker of the k-th system or run: no two of 25 are alike, five differ even in grey."""
    return {"color": COLOURS[k % 5], "marker": _MARKERS[(k + k // 5) % 5]}


def line_look(k: int) -> dict[str, Any]:
    """Return colour and dashes of the k-th line, to go with its marker."""
    return {"color": COLOURS[k % 5], "linestyle": _DASHES[(k + k // 5) % 5]}


def plain(text: str) -> str:
    """Return ``text`` as matplotlib has to get it to show it as it is: a pair of $ means formulas."""
    return text.replace("$", r"\$")


@contextmanager
def report_look() -> Iterator[None]:
    """Draw and save with the reports' type and colours, on white."""
    import matplotlib
    from matplotlib import font_manager

    there = set(font_manager.get_font_names())
    settings = {
        "font.family": [*(name for name in _FONTS if name in there), "DejaVu Sans"],
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": SOFT,
        "axes.labelsize": 8.5,
        "axes.edgecolor": RULE,
        "axes.titlelocation": "left",
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": LINE,
        "grid.linewidth": 0.6,
        "xtick.color": RULE,
        "ytick.color": RULE,
        "xtick.labelcolor": SOFT,
        "ytick.labelcolor": SOFT,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.edgecolor": "none",  # and a little white, so that the grid doesn't go through words
        "legend.fontsize": _SMALL,
        # The same file each time, with letters as shapes: a reader need not have the type.
        "svg.hashsalt": "bertkd",
        "svg.fonttype": "path",
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of so many inches, whose layout leaves room for all texts."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))


@dataclass(frozen=True)
class LineEnd:
    """The end of a line in coordinates of the data, what to call it there, and its colour and marker."""

    name: str
    x: float
    y: float
    look: dict[str, Any]


def name_lines(figure: Any, ends: Sequence[tuple[Any, Sequence[LineEnd]]]) -> None:
    """Write the name of each line to the right of its axes, as near to its end as the other names let it.

    ``ends``: the axes, and the lines of each. A name has its line's marker before it, and a thin rule leads there, so
    that nobody needs the colours. Call it when all is drawn: layout and limits stay as they are then.
    """
    texts = [
        [
            axes.text(1.06, 0.5, plain(end.name), transform=axes.transAxes, va="center")
            for end in lines
        ]
        for axes, lines in ends
    ]
    for text in (text for row in texts for text in row):
        text.set_fontsize(_SMALL)
    figure.draw_without_rendering()  # sizes and places of axes are known only now
    for (axes, lines), row in zip(ends, texts, strict=True):
        if not lines:
            continue
        to_axes = axes.transData + axes.transAxes.inverted()
        places = to_axes.transform([(end.x, end.y) for end in lines]).clip(0, 1)
        height = axes.get_window_extent().height / figure.dpi  # inches
        heights = apart(places[:, 1], LINE_OF_NAMES / height, 0.0, 1.0)
        for end, text, place, y in zip(lines, row, places, heights, strict=True):
            text.set_y(y)
            look = {"transform": axes.transAxes, "clip_on": False, "color": end.look["color"]}
            rule = {"linewidth": 0.6, "alpha": 0.5, "zorder": 1}
            axes.plot([place[0], 1.0, 1.035], [place[1], y, y], **rule, **look)
            axes.plot([1.035], [y], marker=end.look["marker"], markersize=4, **look)
    figure.set_layout_engine("none")  # the rules take no part in it


def apart(wanted: Any, gap: float, low: float, high: float) -> np.ndarray:
    """Return places as near as possible to ``wanted`` (N,), in its order, ``gap`` apart and from ``low`` to ``high``.

    That is isotonic regression of what is wanted less the gaps. If there is not room enough, all are equally far apart.
    """
    wanted = np.asarray(wanted, dtype=float)
    order = np.argsort(wanted, kind="stable")
    gap = min(gap, (high - low) / max(len(order) - 1, 1))
    steps = gap * np.arange(len(order))
    blocks: list[tuple[float, int]] = []  # mean and size
    for value in wanted[order] - steps:
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (second, n), (first, m) = blocks.pop(), blocks.pop()
            blocks.append(((first * m + second * n) / (m + n), m + n))
    means = np.repeat([mean for mean, _ in blocks], [size for _, size in blocks])
    places = np.empty(len(order))
    places[order] = means.clip(low, high - steps[-1:].sum()) + steps
    return places


def save_png(figure: Any, path: str | Path) -> None:
    """Save a figure as a PNG that is either all there or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=150, format="png")


def svg(figure: Any) -> str:
    """Return a figure as the text of an SVG, the same each time within :func:`report_look`."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
