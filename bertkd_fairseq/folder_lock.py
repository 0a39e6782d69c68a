"""One process at a time writes into a folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from bertkd_fairseq.errors import ConfigurationError

_held: dict[Path, int] = {}


def hold(folder: str | os.PathLike[str]) -> None:
    """Keep ``folder``, which exists, for this process until it ends; a second call changes nothing.

    The lock is the system's own and leaves no file behind, however the process ends. Where a file
    system has none, nothing is held.

    :raises ConfigurationError: if another process has it.
    """
    path = Path(folder).resolve()
    if path in _held:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigurationError(
            f"`{folder}` must belong to one process, but another one is writing into it. "
            "Wait until it ends, stop it, or use another folder."
        ) from None
    except OSError:
        os.close(descriptor)
        return
    _held[path] = descriptor
