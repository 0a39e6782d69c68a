"""One process at a time works in a folder."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.files import only_process
from tests.conftest import command_environment

# Its own forked process, as of a data loader, outlives it for a moment.
HOLD = """
import os, sys, time
from bertkd_fairseq.files import only_process
with only_process(sys.argv[1], "bertkd demo"):
    if os.fork() == 0:
        print("held", flush=True)
        os.close(1)
        time.sleep(20)
        os._exit(0)
    sys.stdin.read()
"""


def test_another_process_is_refused_and_one_lets_go_however_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=command_environment(), **pipes) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ConfigurationError) as caught, only_process(tmp_path, "bertkd demo"):
            pass
        other.kill()
    assert str(caught.value) == (
        f"`{tmp_path}` is in use by another `bertkd demo`. Wait until that ends, or choose another folder."
    )
    with only_process(tmp_path, "bertkd demo"):
        assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with only_process(tmp_path, "bertkd demo"), only_process(tmp_path, "bertkd demo"):
        pass
