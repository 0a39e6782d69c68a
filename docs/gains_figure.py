"""Draw docs/gains.svg from the rows of the ladder: what distilling gained where, and with which teacher.

python docs/gains_figure.py            # write the picture
python docs/gains_figure.py --check    # exit code 1 if it would be another
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from current import svg, svg_text, write_or_check
from tables import by_arm, gaps

HERE = Path(__file__).resolve().parent
PICTURE = HERE / "gains.svg"


class Comparison(NamedTuple):
    """An arm of a file of rows, under the name that the picture gives it."""

    name: str
    file: str
    arm: str


TEST = (
    Comparison("Multi30k, 19 epochs, BERT and ensemble", "ladder", "both-a0.5-T1"),
    Comparison("Multi30k, 28 epochs, BERT and ensemble", "ladder", "both-a0.5-T1-3600"),
    Comparison("a quarter of Multi30k, 28 epochs, BERT", "small", "cmlm-a0.5-T1"),
    Comparison("Tatoeba, 14,577 pairs, BERT", "small", "tatoeba-cmlm-a0.5-T1"),
)
"""What has been scored on test."""

TEACHERS = (
    Comparison("BERT", "small", "cmlm-a0.5-T1"),
    Comparison("three plain students", "small", "ensemble-a0.5-T1"),
)
"""Teachers of one corpus; a student's arm begins with the name of its teacher."""

WIDTH, LEFT, RIGHT, LINE = 760, 310, 40, 30
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.s{fill:#555;font-size:12px}.t{font-weight:600}"
    "line{stroke:#bbb}.zero{stroke:#555}circle{fill:#0b57a4;fill-opacity:.55}.mean{stroke:#0b57a4;stroke-width:3}"
)


def perplexity(comparison: Comparison, corpus: str) -> float:
    """Return the perplexity of the gold tokens of valid for the teacher of an arm."""
    for row in _read(f"{comparison.file}_teachers")["teachers"]:
        if (row["corpus"], row["teacher"]) == (corpus, comparison.arm.split("-a")[0]):
            return float(row["valid"]["gold_perplexity"])
    raise KeyError(comparison.arm)


def _gaps(comparison: Comparison, key: str) -> list[float]:
    return gaps(by_arm(_read(comparison.file)["rows"]), comparison.arm, key)


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text("utf-8"))
    return found


def picture() -> str:
    """Return the SVG."""
    lines = [(each.name, _gaps(each, "test_bleu")) for each in TEST]
    body = [*_panel(20, "Gain in BLEU on test, over plain students with the same seeds", lines, "")]
    top = 20 + LINE * (len(lines) + 3)
    lines = [
        (f"{each.name} (perplexity {perplexity(each, 'quarter'):.1f})", _bits(each))
        for each in TEACHERS
    ]
    title = "Fewer bits for a token of valid, by teacher: a quarter of Multi30k"
    body += _panel(top, title, lines, " bits")
    height = top + LINE * (len(lines) + 2) + 10
    said = "What distilling gained, by corpus and by teacher; the numbers stand in the tables"
    return svg(WIDTH, height, said, _STYLE, body)


def _bits(comparison: Comparison) -> list[float]:
    return [-gap for gap in _gaps(comparison, "valid_nll")]


def _panel(top: int, title: str, lines: list[tuple[str, list[float]]], unit: str) -> Iterator[str]:
    """Yield a line for each name with a dot for each seed and a bar at their mean."""
    low = min(0.0, *(value for _, values in lines for value in values))
    high = max(value for _, values in lines for value in values)
    scale = (WIDTH - LEFT - RIGHT - 60) / (high - low)

    def x(value: float) -> float:
        return LEFT + (value - low) * scale

    yield svg_text(10, top, title, "t")
    bottom = top + 14 + LINE * len(lines)
    yield f'<line class="zero" x1="{x(0):.1f}" y1="{top + 14}" x2="{x(0):.1f}" y2="{bottom}"/>'
    yield svg_text(x(0) - 4, bottom + 16, "0", "s")
    for k, (name, values) in enumerate(lines):
        y = top + 14 + LINE * k + LINE // 2
        yield svg_text(10, y + 4, name)
        yield f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT - 60}" y2="{y}"/>'
        yield from (f'<circle cx="{x(value):.1f}" cy="{y}" r="5"/>' for value in values)
        mean = fmean(values)
        yield f'<line class="mean" x1="{x(mean):.1f}" y1="{y - 9}" x2="{x(mean):.1f}" y2="{y + 9}"/>'
        yield svg_text(WIDTH - RIGHT - 50, y + 4, f"{mean:+.2f}{unit}", "s")


def main(argv: list[str]) -> int:
    """Write or check the picture; return the exit code."""
    behind = "would be another. Run: python docs/gains_figure.py"
    return write_or_check(PICTURE, picture(), argv, behind)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
