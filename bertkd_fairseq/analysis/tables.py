"""Tables of text in aligned columns, as the reports print them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def aligned(table: Iterable[Sequence[str]]) -> list[str]:
    """Return a line per row of equally many cells, the first column to the left and all others to the right."""
    rows = list(table)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [f"{row[0]:<{widths[0]}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells))
    return lines
