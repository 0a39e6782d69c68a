"""The picture of several runs fits a screen, names every line beside it, and is read without its colours."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bertkd_fairseq.analysis.curves.plot import METRICS, draw, plot
from bertkd_fairseq.analysis.curves.training_log import Point, read_log
from bertkd_fairseq.analysis.figures import report_look
from tests.conftest import CHECKOUT
from tests.unit.analysis.pictures import check_texts

LOG = CHECKOUT / "tests" / "data" / "curves" / "plain.log"
LONG = "sentencepiece.alpha0.1.T5.seed1"


def size(png: Path) -> tuple[int, int]:
    """Return the width and height that a PNG's header tells, in pixels."""
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    return int(width), int(height)


def with_metrics(num_metrics: int) -> list[Point]:
    points = read_log(LOG)
    for point in points:
        point.values.clear()
        point.values.update(dict.fromkeys(list(METRICS)[:num_metrics], float(point.update)))
    return points


@pytest.mark.parametrize("num_metrics", [1, 4, len(METRICS)])
def test_picture_of_nine_runs_fits_a_screen(tmp_path: Path, num_metrics: int) -> None:
    runs = {f"run {i}": with_metrics(num_metrics) for i in range(9)}
    assert plot(runs, tmp_path / "x.png", "title") == list(METRICS)[:num_metrics]
    width, height = size(tmp_path / "x.png")
    assert width <= 1800 and height <= 1400


def test_no_name_lies_over_another_or_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """All lines end in one point, where names have to make way."""
    runs = {f"{i}.{LONG}": with_metrics(len(METRICS)) for i in range(9)}
    with report_look():
        texts = check_texts(draw(runs, "a title, with $ and $")[0], monkeypatch)
    panels = (
        len(METRICS) - 1 + 3
    )  # three against time too, and the learning rate, which is the same in all
    for name in runs:
        assert sum(text.endswith(f"  {name}") for text in texts) == panels
    assert sum(text.endswith("  all 9 runs") for text in texts) == 1


def test_names_stand_beside_the_last_value_of_what_counts() -> None:
    def run(bleu: float, ppl: float) -> list[Point]:
        values = {"bleu": bleu, "ppl": ppl}
        training = [Point("train_inner", u, u / 2, {"ppl": 2 * ppl}) for u in (5, 10)]
        return [*training, Point("valid", 10, 7.0, values)]

    figure, drawn = draw({"low": run(20.5, 16.0), "high": run(30.0, 8.0)})
    assert drawn == ["bleu", "nll_loss"]  # which is log2 of the perplexity
    named = {axes.get_title(loc="left") or axes.get_title(): axes for axes in figure.axes}
    assert list(named) == [
        "BLEU on valid",
        "BLEU on valid, against time",
        "nll_loss, bits a token (perplexity)",
        "nll_loss, bits a token (perplexity), against time",
    ]
    for title, wanted in (("BLEU on valid", ["20.50  low", "30.00  high"]),
                          ("nll_loss, bits a token (perplexity)", ["4.000  low", "3.000  high"])):  # fmt: skip
        texts = named[title].texts
        assert [text.get_text() for text in texts] == wanted
        low, high = (text.get_position()[1] for text in texts)
        assert (low < high) == (title == "BLEU on valid")
    assert named["nll_loss, bits a token (perplexity)"].yaxis.get_major_formatter()(3, 0) == "3 (8)"
