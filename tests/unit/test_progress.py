"""Progress: lines with rate and ETA when it takes long, nothing when it doesn't."""

import io
import logging

import pytest

from bertkd_fairseq import progress
from bertkd_fairseq.progress import Progress
from bertkd_fairseq.text.moses import tokenize_lines


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run in."""
    monkeypatch.setattr(progress.sys, "stderr", io.StringIO())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that Progress sees."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_every_ten_seconds_and_a_last_one(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Progress("dump", 1000, "tokens") as counted:
        for _ in range(5):
            clock[0] += 6
            counted.add(200)
    assert caplog.messages == [
        "dump: 400 of 1000 tokens (40%), 33 tokens/s, 0:18 left",
        "dump: 800 of 1000 tokens (80%), 33 tokens/s, 0:06 left",
        "dump: 1000 of 1000 tokens (100%), 33 tokens/s, 0:00 left",
    ]


def test_what_takes_less_says_nothing(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Progress("dump", 1000, "tokens") as counted:
        clock[0] += 9
        counted.add(1000)
    assert caplog.messages == []


@pytest.mark.parametrize("workers", [1, 2])
def test_tokenisation_shows_progress(
    workers: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.INFO)
    tokenize_lines(["A line."] * 4100, "en", workers=workers)
    counts = [message.split(" lines (")[0] for message in caplog.messages]
    assert counts == [f"tokenising en: {n} of 4100" for n in (2000, 4000, 4100)]
