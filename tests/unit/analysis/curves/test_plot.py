"""The picture of several runs fits a screen, however many metrics they have."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bertkd_fairseq.analysis.curves.plot import METRICS, plot
from bertkd_fairseq.analysis.curves.training_log import read_log
from tests.conftest import CHECKOUT

LOG = CHECKOUT / "tests" / "data" / "curves" / "plain.log"


def height(png: Path) -> int:
    """Return the height that a PNG's header tells, in pixels."""
    _, pixels = struct.unpack(">II", png.read_bytes()[16:24])
    return int(pixels)


@pytest.mark.parametrize("num_metrics", [1, 3, 4, len(METRICS)])
def test_picture_is_at_most_1200_pixels_high(tmp_path: Path, num_metrics: int) -> None:
    points = read_log(LOG)
    for point in points:
        point.values.clear()
        point.values.update(dict.fromkeys(list(METRICS)[:num_metrics], float(point.update)))
    runs = {f"run {i}": points for i in range(12)}
    drawn = plot(runs, tmp_path / "x.png", "title")
    assert drawn == list(METRICS)[:num_metrics]
    assert height(tmp_path / "x.png") <= 1200
