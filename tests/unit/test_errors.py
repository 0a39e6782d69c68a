"""The message grammar."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch._utils import ExceptionWrapper

from bertkd_fairseq.errors import (
    ConfigurationError,
    DataError,
    StoreError,
    must_be,
    outside,
    raise_all,
    report,
)


def test_must_be_says_wanted_and_seen() -> None:
    assert must_be("--topk", "at least 1", 0) == "`--topk` must be at least 1, but is 0 instead."
    assert must_be("x", "1", 2, "Do so.") == "`x` must be 1, but is 2 instead. Do so."


@pytest.mark.parametrize(
    ("bounds", "wanted"),
    [
        ({"at_least": 2}, "at least 2"),
        ({"above": 0}, "above 0"),
        ({"at_most": 0.5}, "at most 0.5"),
        ({"below": 1}, "below 1"),
        ({"at_least": 0, "at_most": 1}, "from 0 to 1"),
        ({"at_least": 0, "below": 1}, "from 0 to below 1"),
        ({"above": 0, "at_most": 1}, "above 0 and at most 1"),
        ({"above": 0, "below": 1}, "above 0 and below 1"),
    ],
)
def test_what_is_outside_of_a_range_says_the_range(bounds: dict[str, float], wanted: str) -> None:
    assert outside("--x", math.nan, **bounds) == [f"`--x` must be {wanted}, but is nan instead."]
    for bound, value in bounds.items():  # on the bound itself, and just beside it
        assert bool(outside("--x", value, **bounds)) == (bound in ("above", "below"))
        wrong = math.nextafter(value, -math.inf if bound in ("at_least", "above") else math.inf)
        assert outside("--x", wrong, **bounds) == [
            f"`--x` must be {wanted}, but is {wrong} instead."
        ]


@given(st.floats(), st.floats(-5, 5), st.floats(-5, 5))
def test_range_is_exactly_the_one_given(value: float, low: float, high: float) -> None:
    assert bool(outside("x", value, at_least=low, below=high)) == (not low <= value < high)
    assert bool(outside("x", value, above=low, at_most=high)) == (not low < value <= high)


def test_raise_all_raises_nothing_for_nothing() -> None:
    raise_all([])


def test_raise_all_keeps_a_single_message_as_it_is() -> None:
    with pytest.raises(ConfigurationError) as caught:
        raise_all(["only one"])
    assert str(caught.value) == "only one"


def test_raise_all_numbers_many_messages() -> None:
    with pytest.raises(DataError) as caught:
        raise_all((text for text in ("first", "second")), DataError)
    assert str(caught.value) == "2 problems:\n  1. first\n  2. second"


def test_report_is_heard_where_print_is_silenced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As fairseq does in every process but the first."""
    monkeypatch.setattr("builtins.print", lambda *args, **kwargs: None)
    report(DataError("`x` is empty."))
    assert capsys.readouterr().err == "error: `x` is empty.\n"


def test_report_prints_to_stderr_and_returns_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(DataError("`x` is empty.")) == 2
    assert capsys.readouterr() == ("", "error: `x` is empty.\n")


def test_what_a_data_loader_worker_raised_is_one_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """torch raises the same class again, with the text of the worker's traceback for a message."""
    try:
        raise StoreError("the store is torn.")
    except StoreError:
        raised = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(StoreError, match="Caught StoreError in DataLoader worker") as caught:
        raised.reraise()
    assert report(caught.value) == 2
    assert capsys.readouterr().err == "error: the store is torn.\n"
