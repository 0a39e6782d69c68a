"""What this package needs and what is installed here: for its setup, its checks and its records.

``setup.py`` reads the constants below from the text of this file, before anything can be imported.
"""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import bertkd_fairseq

# fairseq-fixed asks for hydra-core 1.3.2 and no other, whose programs (fairseq-hydra-train) end in a traceback
# on Python 3.14 (facebookresearch/hydra#3121).
PYTHONS = ((3, 10), (3, 13))
"""The first and the last Python that this package works with."""

OLDEST_TORCH = (2, 6)
COMMIT = "commit.txt"  # beside the modules, where they aren't in a checkout


def user_dir() -> Path:
    """Return this package's folder, which is what fairseq's ``--user-dir`` takes."""
    return Path(bertkd_fairseq.__file__).resolve().parent


def method_options(command: str) -> list[str]:
    """Return what the method asks of a command of fairseq, whatever the data: one argument each.

    ``command``: ``teacher`` or ``student``, of ``fairseq-train``, or ``generate``.
    """
    return (user_dir() / "options" / f"{command}.txt").read_text("utf-8").splitlines()


def commit() -> str | None:
    """Return the git commit of this package, marked ``-dirty`` if files differed from it; None if nothing tells it.

    A checkout is asked itself. An installation has the commit that it was built from.
    """
    root, kept = user_dir().parent, user_dir() / COMMIT
    if not (root / ".git").exists():
        return kept.read_text("utf-8").strip() if kept.is_file() else None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git here, or one that refuses the folder
        return None
    return done.stdout.strip()


def versions(*distributions: str) -> dict[str, str]:
    """Return the versions of this package, of Python and of those ``distributions`` that are installed, by name."""
    found = {"bertkd-fairseq": bertkd_fairseq.__version__, "python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
