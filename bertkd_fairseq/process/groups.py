"""End a process together with all that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress

_SECONDS_BETWEEN_LOOKS = 0.02


def end_group(process: subprocess.Popen[bytes], seconds: float) -> None:
    """End a process that leads a session of its own, and all that it has started, unless it has ended by itself.

    They are asked first. Who is left after ``seconds`` is killed; the killed die on their own time, which is long on a
    busy machine, so they get as many seconds again.
    """
    if process.poll() is not None:
        return
    _signal(process, signal.SIGTERM)
    _wait(process, seconds)
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()
    _wait(process, seconds)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    while _is_left(process) and time.monotonic() < until:
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _is_left(process: subprocess.Popen[bytes]) -> bool:
    """Whether anybody of the group is left, which may outlive the process; there are no groups on Windows."""
    ended = process.poll() is not None  # reaped first: a zombie would count
    if not hasattr(os, "killpg"):
        return not ended
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    # Nobody may be left; macOS says then that it has no permission.
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
