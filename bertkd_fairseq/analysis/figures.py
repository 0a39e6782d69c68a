"""What all pictures share: colours that every reader can tell apart, lines too, and files that are whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from bertkd_fairseq.files import whole_file

#: Okabe and Ito's colours, told apart by the colour-blind; those too light for paper are left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
_MARKERS = "os^Dv"
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def marker_look(k: int) -> dict[str, Any]:
    """Return colour and marker of the k-th system or run: no two of 25 are alike, five differ even in grey."""
    return {"color": COLOURS[k % 5], "marker": _MARKERS[(k + k // 5) % 5]}


def line_look(k: int) -> dict[str, Any]:
    """Return colour and dashes of the k-th line, to go with its marker."""
    return {"color": COLOURS[k % 5], "linestyle": _DASHES[(k + k // 5) % 5]}


def plain(text: str) -> str:
    """Return ``text`` as matplotlib has to get it to show it as it is: a pair of $ means formulas."""
    return text.replace("$", r"\$")


def save_png(figure: Any, path: str | Path) -> None:
    """Save a figure as a PNG that is either all there or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=150, format="png")


def svg(figure: Any) -> str:
    """Return a figure as the text of an SVG, the same each time, with letters drawn as shapes."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "bertkd", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
