"""Draw docs/method.svg: the masked copies of a pair as `rotating_masks` makes them, and one row at two temperatures.

python docs/method_figure.py            # write the picture
python docs/method_figure.py --check    # exit code 1 if it would be another
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from current import svg, svg_text, write_or_check

from bertkd_fairseq.masking import NUM_MASKS, rotating_masks

PICTURE = Path(__file__).resolve().parent / "method.svg"
SOURCE = "ein Mann legt sich hin"
TARGET = ["a", "man", "lays", "on", "the", "bench", "to", "rest", ".", "</s>"]
ROW = {  # of "lays", by the teacher of docs/dump.md
    **{"laying": 0.410, "lies": 0.235, "lying": 0.151, "lays": 0.094},
    **{"sits": 0.033, "lay": 0.013, "sitting": 0.012, "rests": 0.006},
}
_ASKED = 2
CELL, HEIGHT, LEFT, TOP = 58, 26, 90, 92
BARS_TOP = TOP + NUM_MASKS * HEIGHT + 74
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.s{fill:#555;font-size:12px}.m{fill:#fff;font-size:11px}"
    ".t{font-weight:600}"
)


def softened(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the target of equation 4 for the K entries of one row, both (K,)."""
    weights = np.exp(np.log(probabilities) / temperature)
    return weights / weights.sum()


def picture() -> str:
    """Return the SVG."""
    width, height = LEFT + len(TARGET) * CELL + 30, BARS_TOP + len(ROW) * 20 + 30
    body = [*_copies(), *_bars()]
    title = "A pair is asked about in seven masked copies; each answer is kept as its eight most probable symbols"
    return svg(width, height, title, _STYLE, body)


def _copies() -> list[str]:
    parts = [
        svg_text(
            10,
            24,
            "The teacher reads the source and seven copies of the target, each with other words masked",
            "t",
        ),
        svg_text(10, 46, f"[CLS] {SOURCE} [SEP]  +", "s"),
    ]
    parts += [svg_text(LEFT + i * CELL + 4, TOP - 12, word) for i, word in enumerate(TARGET)]
    for copy, mask in enumerate(rotating_masks(len(TARGET))):
        y = TOP + copy * HEIGHT
        parts.append(svg_text(10, y + 17, f"copy {copy + 1}", "s"))
        for i, masked in enumerate(mask):
            x = LEFT + i * CELL
            fill = ("#b3261e" if i == _ASKED else "#3949ab") if masked else "#e8eaf6"
            parts.append(
                f'<rect x="{x}" y="{y}" width="{CELL - 3}" height="{HEIGHT - 3}" fill="{fill}"/>'
            )
            if masked:
                parts.append(svg_text(x + 5, y + 16, "[MASK]", "m"))
    return parts


def _bars() -> list[str]:
    probabilities = np.array(list(ROW.values()))
    y = BARS_TOP - 42
    parts = [
        svg_text(
            10,
            y,
            f"What it says of “{TARGET[_ASKED]}”: its eight most probable symbols, kept once",
            "t",
        ),
        svg_text(LEFT, y + 24, "T = 1", "s"),
        svg_text(LEFT + 300, y + 24, "T = 10, what the student learns from", "s"),
    ]
    for column, temperature in enumerate((1.0, 10.0)):
        weights = softened(probabilities, temperature)
        for line, (word, weight) in enumerate(zip(ROW, weights, strict=True)):
            x, top = LEFT + column * 300, BARS_TOP + line * 20
            if column == 0:
                parts.append(svg_text(10, top + 12, word))
            parts.append(
                f'<rect x="{x}" y="{top}" width="{weight * 220:.1f}" height="15" fill="#b3261e"/>'
            )
            parts.append(svg_text(x + weight * 220 + 5, top + 12, f"{weight:.2f}", "s"))
    return parts


def main(argv: list[str]) -> int:
    """Write or check the picture; return the exit code."""
    behind = "would be another. Run: python docs/method_figure.py"
    return write_or_check(PICTURE, picture(), argv, behind)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
