"""SIGTERM ends a command as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bertkd_fairseq import cli
from bertkd_fairseq.cli import user_dir
from bertkd_fairseq.process.interrupts import terminated_as_interrupted

pytestmark = pytest.mark.usefixtures("interruptible")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_the_command_line_cleans_up_and_says_how_it_was_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    cleaned = []

    def interrupted(args: object) -> int:
        try:
            os.kill(os.getpid(), number)
            while True:  # another thread may be the one that is woken
                time.sleep(0.01)
        finally:
            cleaned.append(True)
        return 0

    before = signal.getsignal(number)
    monkeypatch.setattr(user_dir, "run", interrupted)
    assert cli.main(["user-dir"]) == code
    assert capsys.readouterr().err == "error: interrupted\n"
    assert cleaned and signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminated_as_interrupted():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGHUP, before)
