"""Folders that are either complete or not there: made under another name, moved when done."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bertkd_fairseq.errors import must_be


def partial_of(dest: Path) -> Path:
    """Return the empty folder in which to make ``dest``; one left by an earlier try goes."""
    partial = dest.with_name(dest.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def dest_problems(dest: Path, mark: str, what: str, force: bool) -> list[str]:
    """Return why ``--dest`` can't be made: only our own, known by its file ``mark``, is replaced."""
    if (dest / mark).is_file():
        if force:
            return []
        return [f"`--dest` holds a complete {what}: {dest}. Use --force to replace it."]
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        # Not ours, so --force doesn't delete it either.
        seen = "a folder with other files" if dest.is_dir() else "a file"
        return [must_be("--dest", "a new or empty folder", f"{seen} ({dest})")]
    return []


def move_into_place(partial: Path, dest: Path) -> None:
    """Give a complete folder its name; what had that name before goes."""
    old = dest.with_name(dest.name + ".old")
    if dest.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(dest, old)
    os.replace(partial, dest)
    shutil.rmtree(old, ignore_errors=True)
