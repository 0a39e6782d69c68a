"""Names at the ends of lines keep apart, and colours are the reports' and can be told apart."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.analysis import figures
from tests.conftest import CHECKOUT

HEIGHTS = st.lists(st.floats(0, 1), min_size=1, max_size=9)


@given(HEIGHTS, st.floats(0.001, 0.1))
def test_names_are_apart_in_order_and_within(wanted: list[float], gap: float) -> None:
    places = figures.apart(wanted, gap, 0.0, 1.0)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(places[order]) >= gap - 1e-9).all()
    assert places.min() >= -1e-9 and places.max() <= 1 + 1e-9


@given(HEIGHTS, st.floats(0.001, 0.1), st.integers(0, 99))
def test_no_other_places_are_nearer(wanted: list[float], gap: float, seed: int) -> None:
    places = figures.apart(wanted, gap, 0.0, 1.0)
    distance = ((places - wanted) ** 2).sum()
    order = np.argsort(wanted, kind="stable")
    generator = np.random.default_rng(seed)
    for scale in (1e-3, 1e-2, 1e-1):
        others = places + scale * generator.normal(size=len(wanted))
        fits = (np.diff(others[order]) >= gap).all() and others.min() >= 0 and others.max() <= 1
        assert not fits or ((others - wanted) ** 2).sum() >= distance - 1e-12


def test_without_room_names_are_equally_far_apart() -> None:
    assert figures.apart([0.5] * 5, 0.5, 0.0, 1.0) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert figures.apart([0.2, 0.1, 0.9], 0.2, 0.0, 1.0) == pytest.approx([0.25, 0.05, 0.9])
    assert figures.apart([], 0.2, 0.0, 1.0).tolist() == []


def test_ink_and_blue_are_the_reports() -> None:
    css = (CHECKOUT / "bertkd_fairseq" / "analysis" / "report.css").read_text("utf-8")
    light = css[: css.index("@media")]
    named = dict(re.findall(r"--(\w+): #(\w+);", light))
    longer = {
        name: "#" + "".join(c * (6 // len(hex_)) for c in hex_) for name, hex_ in named.items()
    }
    drawn = {"ink": figures.INK, "soft": figures.SOFT, "rule": figures.RULE, "line": figures.LINE}
    assert {**drawn, "accent": figures.COLOURS[0], "paper": "#ffffff"} == longer


# Full dichromacy (Machado, Oliveira and Fernandes 2009), on linear RGB.
SIGHTS = {
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ rgb.clip(0, 1) / TO_XYZ.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_are_told_apart_whatever_one_sees(sight: str) -> None:
    """A difference of 2.3 can just be seen; these are lines and small markers."""
    seen = {colour: lab(np.array(SIGHTS[sight]) @ linear(colour)) for colour in figures.COLOURS}
    for first, second in itertools.combinations(figures.COLOURS, 2):
        assert np.linalg.norm(seen[first] - seen[second]) > 15, (first, second)


@pytest.mark.parametrize("colour", figures.COLOURS)
def test_colours_stand_out_from_paper(colour: str) -> None:
    """WCAG 2.2 asks for a contrast of 3 to 1 in graphics. The palest of the five, as it is in print, has 2.7."""
    assert 1.05 / (TO_XYZ[1] @ linear(colour) + 0.05) > 2.7


def test_twenty_five_runs_look_different() -> None:
    looks = {tuple(figures.marker_look(k).items()) for k in range(25)}
    lines = {str(figures.line_look(k)) for k in range(25)}
    assert len(looks) == len(lines) == 25
