"""What may be in the folder of a teacher store, complete or unfinished, and the removal of nothing else."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bertkd_fairseq.errors import StoreError, must_be, raise_all
from bertkd_fairseq.files import (
    FolderKind,
    foreign_problems,
    holds_something,
    place_problems,
    read_marker,
    real_path,
    remove_own,
)
from bertkd_fairseq.topk_store.layout import (
    FILES,
    FORMAT,
    META_FILE,
    PARTIAL_SUFFIX,
    files_of_format,
)

_PATIENCE_SECONDS = 600.0

COMMAND = "bertkd dump-topk"
PLAN_FILE = "plan.json"
WORK = "work"
BLOCKS_FOLDER = "blocks"
STORE_FOLDER = "store"

_WORK_FILES = (f"{BLOCKS_FOLDER}/[0-9]*", *(f"{STORE_FOLDER}/{name}" for name in FILES), ".*.tmp")
# The last of them as earlier versions wrote them.
UNFINISHED_FILES = (PLAN_FILE, *(f"{WORK}-*/{name}" for name in _WORK_FILES), *_WORK_FILES)
"""Patterns of all that the writer puts into ``<store>.partial``."""


def _store_files(folder: Path) -> tuple[str, ...] | None:
    # By the names alone, too: a store whose meta.json is damaged has to be replaceable.
    named = folder.is_dir() and {*files_of_format(1)} <= {*os.listdir(folder)}
    return FILES if named or read_marker(folder / META_FILE).get("format") == FORMAT else None


def _unfinished_files(folder: Path) -> tuple[str, ...] | None:
    ours = read_marker(folder / PLAN_FILE).get("format") == FORMAT
    return UNFINISHED_FILES if ours else None


STORE = FolderKind("teacher store", COMMAND, _store_files)
UNFINISHED_STORE = FolderKind("unfinished teacher store", COMMAND, _unfinished_files)


def partial_of(path: Path) -> Path:
    """Return the folder in which the store at ``path`` is made."""
    return path.with_name(path.name + PARTIAL_SUFFIX)


def wait_until_begun(path: Path) -> None:
    """Wait until the store at ``path`` is there, or another process has begun it.

    :raises StoreError: if that takes more than ten minutes.
    """
    partial = partial_of(path)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (partial / PLAN_FILE).exists() and not holds_something(path):
        if time.monotonic() > deadline:
            raise StoreError(
                f"{partial} isn't there after {_PATIENCE_SECONDS:.0f} seconds. "
                "Start the first process, shard 0, which makes it."
            )
        time.sleep(0.1)


def begun_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the settings of the store at ``path``, complete or not; empty where nothing was begun."""
    path = real_path(path)
    markers = map(read_marker, (path / META_FILE, partial_of(path) / PLAN_FILE))
    return next((marker for marker in markers if marker.get("format") == FORMAT), {})


def store_problems(
    path: str | os.PathLike[str], *, name: str = "path", force: bool = False
) -> list[str]:
    """Return why a store can't be made at ``path`` or, with ``force``, why what is there can't be removed.

    ``name``: what messages call the path.
    """
    path = real_path(path)
    partial = partial_of(path)
    problems = []
    if holds_something(path):
        files = STORE.files(path)
        if files is None:
            seen = "a folder with other files" if path.is_dir() else "a file"
            problems.append(must_be(name, "a new or empty folder", f"{seen} ({path})"))
        elif force:
            problems += foreign_problems(path, files, COMMAND)
        else:
            return []
    if partial.is_symlink() or (partial.exists() and not partial.is_dir()):
        seen = "a symbolic link" if partial.is_symlink() else "a file"
        hint = f"Move it away, or choose another {name}."
        problems.append(must_be(str(partial), "a folder", seen, hint))
    elif partial.exists() and (force or UNFINISHED_STORE.files(partial) is None):
        # One without a plan is taken for what a killed process was removing if nothing else is in it.
        problems += foreign_problems(partial, UNFINISHED_FILES, COMMAND)
    return problems or place_problems(name, path)


def remove_store(path: str | os.PathLike[str]) -> None:
    """Remove a store and what is left of an unfinished one, and nothing that is not a store.

    :raises ConfigurationError: if ``path`` or its ``.partial`` is something else, or holds a file that isn't
        a store's; nothing is removed then.
    """
    path = real_path(path)
    raise_all(store_problems(path, force=True))
    for folder, files in ((path, FILES), (partial_of(path), UNFINISHED_FILES)):
        with suppress(FileNotFoundError):
            remove_own(folder, files, COMMAND)
