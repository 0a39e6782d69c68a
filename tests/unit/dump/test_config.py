"""Weights of teachers: as many as teachers, divided by their sum."""

from __future__ import annotations

import pytest

from bertkd_fairseq.dump.config import DumpConfig


def config(path: str, weights: str | None) -> DumpConfig:
    return DumpConfig(data_bin="data-bin", path=path, destdir="topk", weights=weights)


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        (None, ()),
        (".7,.3", (0.7, 0.3)),
        ("0.33, 0.66", (1 / 3, 2 / 3)),  # 0.99: rounded, and meant so
    ],
)
def test_weights_are_divided_by_their_sum(weights: str | None, wanted: tuple[float, ...]) -> None:
    given = config("a.pt:b.pt", weights)
    assert given.problems() == []
    assert given.row_settings("fp32", "cpu").weights == pytest.approx(wanted)


@pytest.mark.parametrize(
    "weights", ["", "1", ".5,.3,.2", "1,", "nan,1", "-1,2", "inf,1", "2,1", "0,1"]
)
def test_other_weights_are_refused(weights: str) -> None:
    (problem,) = config("a.pt:b.pt", weights).problems()
    assert problem.startswith("`DumpConfig.weights` must be ")
