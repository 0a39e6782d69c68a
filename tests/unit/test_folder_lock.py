"""One process at a time writes into a folder."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.folder_lock import hold
from tests.conftest import command_environment, run_command

HOLD = "import sys; from bertkd_fairseq.folder_lock import hold; hold(sys.argv[1])"


def test_another_process_is_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    hold(tmp_path)
    hold(str(tmp_path))
    done = run_command([sys.executable, "-c", HOLD, tmp_path], check=False)
    assert done.stderr.splitlines()[-1] == (
        f"bertkd_fairseq.errors.ConfigurationError: `{tmp_path}` must belong to one process, but another "
        "one is writing into it. Wait until it ends, stop it, or use another folder."
    )
    assert not list(tmp_path.iterdir())


def test_a_process_lets_go_however_it_ends(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        f"{HOLD}; print('held', flush=True); sys.stdin.read()",
        tmp_path,
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=command_environment(), **pipes) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ConfigurationError):
            hold(tmp_path)
        other.kill()
    hold(tmp_path)


def test_a_file_system_without_locks_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    hold(tmp_path)
