"""How a demo's stages run: once each, with progress, nothing left behind, continued where they were interrupted."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from bertkd_fairseq.demo import running
from bertkd_fairseq.demo.running import Record, StageError, run_stage
from bertkd_fairseq.demo.stages import Stage
from bertkd_fairseq.process.interrupts import terminated_as_interrupted

pytestmark = pytest.mark.usefixtures("interruptible")

COUNT = """
import sys, time
with open("result", "a") as file:
    file.write("x")
for i in range(1, 4):
    print(f"num_updates={i}, ", flush=True)
    time.sleep(0.15)
"""
# A child and its own child, each writing its number; both would go on for a minute.
LINGER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open("numbers.new", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename("numbers.new", "numbers")
%s
time.sleep(60)
"""


@pytest.fixture
def dest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "logs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "_SECONDS_BETWEEN_LOOKS", 0.05)
    return tmp_path


def a_stage(dest: Path, script: str = COUNT, name: str = "plain") -> Stage:
    return Stage(
        *(name, "a purpose", [sys.executable, "-c", script], dest / "result", (dest / "result",)),
        total=3,
        unit="updates",
        counted=r"num_updates=(\d+)",
    )


def is_alive(number: int) -> bool:
    """Whether the process computes: a child that has ended may wait for somebody to read its exit code."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_stage_runs_once(dest: Path) -> None:
    stage = a_stage(dest)
    first = run_stage(stage, Record(dest))
    assert run_stage(stage, Record(dest)) == first
    assert (dest / "result").read_text() == "x"
    # Another command starts over, and what came later counts no more.
    later = [sys.executable, "-c", "open('later', 'w')"]
    run_stage(Stage("later", "a purpose", later, dest / "later"), Record(dest))
    assert list(Record(dest).stages) == ["plain", "later"]
    run_stage(a_stage(dest, COUNT + "\n"), Record(dest))
    assert (dest / "result").read_text() == "x"
    assert list(Record(dest).stages) == ["plain"]


def test_progress_is_what_the_log_counts(
    dest: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bertkd_fairseq.progress._SECONDS_BETWEEN_LINES", 0.1)
    caplog.set_level(logging.INFO)
    run_stage(a_stage(dest), Record(dest))
    lines = [message for message in caplog.messages if message.startswith("plain: ")]
    assert lines and " of 3 updates (" in lines[0] and lines[0].endswith(" left")


def test_a_failing_stage_shows_the_end_of_its_log(dest: Path) -> None:
    with pytest.raises(StageError) as caught:
        run_stage(a_stage(dest, "print('so it ends'); raise SystemExit(3)"), Record(dest))
    assert str(caught.value) == (
        f"stage plain failed with exit code 3. The end of {dest}/logs/plain.log:\n"
        f"$ {sys.executable} -c 'print('\"'\"'so it ends'\"'\"'); raise SystemExit(3)'\nso it ends"
    )


@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_ends_every_child_and_the_same_command_continues(
    dest: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    stubborn: bool,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(running, "_SECONDS_TO_END", 0.5)
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" if stubborn else ""
    stage = a_stage(dest, LINGER % ignore)

    def interrupt() -> None:
        while not (dest / "numbers").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    with terminated_as_interrupted(), pytest.raises(KeyboardInterrupt) as caught:
        run_stage(stage, Record(dest))
    assert getattr(caught.value, "signal", signal.SIGINT) == number
    assert not any(map(is_alive, map(int, (dest / "numbers").read_text().split())))
    assert caplog.messages[-1] == "interrupted in stage plain; the same command continues there"
    # What it had made stays for the same command, and goes for another.
    (dest / "result").write_text("half")
    assert Record(dest).was_begun(stage) and not Record(dest).is_done(stage)
    other = a_stage(dest)
    assert not Record(dest).was_begun(other)
    run_stage(other, Record(dest))
    assert (dest / "result").read_text() == "x"


def test_a_continued_stage_keeps_its_log_and_what_it_made(dest: Path) -> None:
    stage = a_stage(dest)
    record = Record(dest)
    record.begin(stage)
    record.end(stage, 5.0, done=False)
    (dest / "result").write_text("half ")
    (dest / "logs" / "plain.log").write_text("of the first attempt\n")
    assert run_stage(stage, Record(dest)) > 5.0
    assert (dest / "result").read_text() == "half x"
    assert (dest / "logs" / "plain.log").read_text().startswith("of the first attempt\n$ ")


def test_a_folder_of_an_older_version_starts_over(dest: Path) -> None:
    (dest / "stages.json").write_text(json.dumps({"plain": {"argv": [], "seconds": 1.0}}))
    assert Record(dest).stages == {}
