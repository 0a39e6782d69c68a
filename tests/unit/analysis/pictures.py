"""What a reader sees of a figure: every text that is drawn, and where."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def texts_of(figure: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Bbox]]:
    """Return each text that is drawn with its box in pixels; those of ticks outside the limits aren't."""
    found: dict[Text, tuple[str, Bbox]] = {}
    draw = Text.draw

    def note(self: Text, renderer: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            found[self] = self.get_text(), self.get_window_extent(renderer)
        draw(self, renderer)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", note)
        figure.savefig("/dev/null", format="png", dpi=figure.dpi)
    return list(found.values())


def check_texts(figure: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Check that no text lies over another and none is cut off. Return the texts."""
    texts = texts_of(figure, monkeypatch)
    for (first, box), (second, other) in itertools.combinations(texts, 2):
        both = Bbox.intersection(box, other)
        # Boxes have room for accents and descenders, which may meet: a pixel.
        assert both is None or min(both.width, both.height) <= 1, (first, second)
    whole = figure.bbox
    for text, box in texts:
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1, text
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1, text
    return [text for text, _ in texts]
