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
    """An arm of a file of rows, under the name that the picture gives it. ``teacher``: its name in the rows."""

    name: str
    file: str
    arm: str
    teacher: str = ""


TEST = (
    Comparison("Multi30k, 19 epochs, BERT and ensemble", "ladder", "both-a0.5-T1"),
    Comparison("Multi30k, 28 epochs, BERT and ensemble", "ladder", "both-a0.5-T1-3600"),
    Comparison("a quarter of Multi30k, 28 epochs, BERT", "small", "cmlm-a0.5-T1"),
    Comparison("Tatoeba, 14,577 pairs, BERT", "small", "tatoeba-cmlm-a0.5-T1"),
)
"""What has been scored on test."""

TEXTS = (
    Comparison("Multi30k, 28,332 pairs", "ladder", "cmlm-a0.5-T1"),
    Comparison("Multi30k, 7,083 pairs", "small", "cmlm-a0.5-T1"),
    Comparison("Multi30k, 3,545 pairs", "small", "eighth-cmlm-a0.5-T1"),
    Comparison("Tatoeba, 14,577 pairs", "small", "tatoeba-cmlm-a0.5-T1"),
)
"""How much text there was to learn from."""

TEACHERS = (
    Comparison("BERT", "small", "cmlm-a0.5-T1", "cmlm"),
    Comparison("three plain students", "small", "ensemble-a0.5-T1", "ensemble"),
)
"""Teachers of the quarter."""

HIDDEN = (
    Comparison("every 7th token, both sides", "small", "eighth-cmlm-a0.5-T1", "cmlm-2048"),
    Comparison("a tenth of the future", "small", "eighth-hide0.1-a0.5-T1", "hide0.1"),
    Comparison("half of the future", "small", "eighth-hide0.5-a0.5-T1", "hide0.5"),
    Comparison("all of the future", "small", "eighth-hide1-a0.5-T1", "hide1"),
)
"""Teachers of the eighth, by what is hidden from them; the first is of fewer updates."""

WIDTH, LEFT, RIGHT, LINE = 780, 330, 40, 30
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.s{fill:#555;font-size:12px}.t{font-weight:600}"
    "line{stroke:#bbb}.zero{stroke:#555}circle{fill:#0b57a4;fill-opacity:.55}.mean{stroke:#0b57a4;stroke-width:3}"
)


def perplexity(comparison: Comparison, corpus: str) -> float:
    """Return the perplexity of the gold tokens of valid for the teacher of an arm."""
    for row in _read(f"{comparison.file}_teachers")["teachers"]:
        if (row["corpus"], row["teacher"]) == (corpus, comparison.teacher):
            return float(row["valid"]["gold_perplexity"])
    raise KeyError(comparison.arm)


def _teacher(comparison: Comparison, corpus: str) -> str:
    return f"{comparison.name} (perplexity {perplexity(comparison, corpus):.1f})"


def _gaps(comparison: Comparison, key: str) -> list[float]:
    return gaps(by_arm(_read(comparison.file)["rows"]), comparison.arm, key)


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text("utf-8"))
    return found


def picture() -> str:
    """Return the SVG."""
    panels = [
        (
            "Gain in BLEU on test, over plain students with the same seeds",
            [(each.name, _gaps(each, "test_bleu")) for each in TEST],
            "",
        ),
        (
            "Gain in BLEU on valid from BERT alone at alpha 0.5 and T 1, by training text",
            [(each.name, _gaps(each, "valid_bleu")) for each in TEXTS],
            "",
        ),
        (
            "Fewer bits for a token of valid, by teacher: a quarter of Multi30k",
            [(_teacher(each, "quarter"), _bits(each)) for each in TEACHERS],
            " bits",
        ),
        (
            "The same by what the teacher doesn't see: an eighth of Multi30k",
            [(_teacher(each, "eighth"), _bits(each)) for each in HIDDEN],
            " bits",
        ),
    ]
    body: list[str] = []
    top = 20
    for title, lines, unit in panels:
        body += _panel(top, title, lines, unit)
        top += LINE * (len(lines) + 3)
    said = "What distilling gained, by corpus and by teacher; the numbers stand in the tables"
    return svg(WIDTH, top - LINE + 10, said, _STYLE, body)


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
