"""Files and folders that are either complete or not there, and the removal of nothing but our own.

All that takes time is written to a folder ``.NAME.bertkd-RANDOM`` beside its destination, which no other process
shares, and gets its name at the end. An error or an interrupt removes that folder; only a killed process leaves it.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bertkd_fairseq.errors import ConfigurationError, OutputError, must_be, raise_all

log = logging.getLogger(__name__)

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DISK_ERRORS = _NO_ROOM | {errno.EROFS, errno.EIO}
"""Codes of an ``OSError`` while writing to an open file: a full, read-only or broken disk."""

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
_TEMPORARY = ".bertkd-"
_TEMPORARY_NAME = re.compile(rf"\..+{re.escape(_TEMPORARY)}[a-z0-9_]{{8}}")


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder that a command makes.

    ``name`` and ``command`` are for messages. ``files`` returns patterns (:func:`first_foreign`) of all
    that the command writes to a folder, or None if the folder isn't of this kind.
    """

    name: str
    command: str
    files: Callable[[Path], Sequence[str] | None]


def first_foreign(folder: Path, patterns: Iterable[str]) -> Path | None:
    """Return the first file or folder in ``folder``, relative to it, that no pattern names.

    A pattern is a relative path, where ``*``, ``?`` and ``[...]`` stand for characters of one name. A symbolic
    link counts as a file: where it leads isn't looked at. What a killed process of ours left isn't foreign.
    """
    return _first_foreign(folder, [tuple(pattern.split("/")) for pattern in patterns])


def _first_foreign(folder: Path, patterns: list[tuple[str, ...]]) -> Path | None:
    for entry in sorted(folder.iterdir()):
        if _TEMPORARY_NAME.fullmatch(entry.name):
            continue
        rest = [names[1:] for names in patterns if fnmatchcase(entry.name, names[0])]
        inside = [names for names in rest if names]
        if entry.is_dir() and not entry.is_symlink():
            found = _first_foreign(entry, inside) if inside else Path()
            if found is not None:
                return entry.name / found
        elif len(inside) == len(rest):
            return Path(entry.name)
    return None


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` as it was given, but with a symbolic link at its end followed and a last ``.`` named."""
    path = Path(path)
    named = path.name not in ("", "..") and not path.is_symlink()
    return path if named else Path(os.path.realpath(path))


def place_problems(name: str, path: Path) -> list[str]:
    """Return why nothing can be made at ``path``, the value of option ``name``, or renamed to it."""
    if path.is_dir():
        # Renamed, the one would keep its files and the other leave a shell in a removed folder.
        for seen, is_so in (
            ("a mount point", path.is_mount()),
            ("the current folder", path.samefile(os.curdir)),
        ):
            if is_so:
                hint = f"Name a folder inside it, such as {path / 'new'}."
                return [must_be(name, "a folder that can be replaced", f"{seen} ({path})", hint)]
    above = path.parent
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        return [must_be(name, "in a folder that can be written", path)]
    return []


def dest_problems(
    dest: Path, kind: FolderKind, force: bool, *, name: str = "path", force_name: str = "force"
) -> list[str]:
    """Return why ``dest`` can't be made or replaced; only what ``kind``'s command wrote is ever replaced.

    ``name`` and ``force_name``: what messages call ``dest`` and ``force``.
    """
    dest = real_path(dest)
    problems = place_problems(name, dest)
    if problems or not holds_something(dest):
        return problems
    patterns = kind.files(dest) if dest.is_dir() else None
    if patterns is None:
        seen = "a folder with other files" if dest.is_dir() else "a file"
        return [must_be(name, "a new or empty folder", f"{seen} ({dest})")]
    if not force:
        return [f"`{name}` holds a complete {kind.name}: {dest}. Use {force_name} to replace it."]
    return foreign_problems(dest, patterns, kind.command)


def holds_something(path: Path) -> bool:
    """Return whether there is anything at ``path`` but an empty folder."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def foreign_problems(folder: Path, patterns: Iterable[str], command: str) -> list[str]:
    """Return why ``folder`` can't be removed: the first file that ``command`` didn't write."""
    found = first_foreign(folder, patterns)
    if found is None:
        return []
    return [
        f"`{folder}` holds {found}, which `{command}` didn't write. Nothing was removed: "
        f"move {found} away, or choose another folder."
    ]


def remove_own(folder: Path, patterns: Sequence[str], command: str) -> None:
    """Remove ``folder``, which holds nothing but what ``command`` wrote by these ``patterns``.

    :raises ConfigurationError: for the first foreign file; nothing is removed then.
    :raises FileNotFoundError: if it isn't there, or another process was quicker.
    :raises OutputError: if the folder above can't be written.
    """
    raise_all(foreign_problems(folder, patterns, command))
    with room_beside(folder) as room, writing(folder, unless=FileNotFoundError):
        aside = room / "old"
        os.rename(folder, aside)
        # From here on nobody can put a file there; one may have come since the first look.
        if first_foreign(aside, patterns) is not None:
            os.rename(aside, folder)
            raise_all(foreign_problems(folder, patterns, command))


_held: set[int] = set()


def _let_go() -> None:
    # Of a lock, a forked process has a share: data-loader workers would keep it when their training was killed.
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def only_process(folder: str | os.PathLike[str], command: str) -> Iterator[None]:
    """Keep ``folder`` for this process while the context lasts, however the process ends.

    For commands that work in the folder itself. Not every network file system can do it; there nothing is kept.

    :raises ConfigurationError: if another process has it.
    """
    import fcntl  # not on Windows, where all but this works

    opened = os.open(folder, os.O_RDONLY)
    _held.add(opened)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(
                    f"`{os.fspath(folder)}` is in use by another `{command}`. Wait until that ends, or choose another "
                    "folder."
                ) from None
        yield
    finally:
        if opened in _held:  # not in a process forked meanwhile
            _held.discard(opened)
            os.close(opened)


@contextmanager
def new_folder(dest: Path, kind: FolderKind, *, force: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes ``dest`` when the context ends well, and goes otherwise.

    An empty folder at ``dest`` is replaced; with ``force``, also one that :func:`dest_problems` lets go. A
    symbolic link at ``dest`` stays and what it leads to is made or replaced. Beside the folder given is room for
    what is needed only meanwhile. Two processes never share it: the first that ends has ``dest``.

    :raises OutputError: if the disk is full or read-only, or ``dest`` has come into being meanwhile.
    :raises ConfigurationError: for a foreign file that has come into ``dest`` meanwhile.
    """
    dest = real_path(dest)
    with writing(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
    with room_beside(dest) as room:
        new = room / "new"
        with _filling(dest):
            new.mkdir()
            yield new
        with writing(dest):
            flush(new)
            if force and holds_something(dest):
                raise_all(dest_problems(dest, kind, force))
                _swap(new, dest, room / "old")
            else:
                _rename_to_new(new, dest)


def _rename_to_new(new: Path, dest: Path) -> None:
    try:
        os.rename(new, dest)
    except OSError as error:
        if error.errno in _TAKEN:
            raise OutputError(
                f"`{dest}` came into being while it was made, and stays as it is. Choose another folder."
            ) from error
        raise


def _swap(new: Path, dest: Path, old: Path) -> None:
    """Put ``new`` in the place of ``dest``, which goes to ``old`` and comes back if anything fails."""
    try:
        os.rename(dest, old)
        _rename_to_new(new, dest)
    except BaseException:
        if old.exists() and not dest.exists():
            os.rename(old, dest)
        raise


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a name to write to; the file gets its own name when the context ends well, and goes otherwise.

    What had that name before is replaced. A symbolic link stays; what it leads to is made or replaced.

    :raises OutputError: if the disk is full or read-only.
    """
    target = Path(os.path.realpath(path))
    with room_beside(target) as room:
        partial = room / target.name
        with _filling(target):
            yield partial
        with writing(target):
            flush(partial)
            os.replace(partial, target)


@contextmanager
def writing(path: Path, *, unless: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """Turn any ``OSError`` but ``unless`` into an :class:`OutputError` that names ``path``."""
    try:
        yield
    except unless:
        raise
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def _filling(path: Path) -> Iterator[None]:
    """Turn what tells of a full, read-only or broken disk into an :class:`OutputError` that names ``path``."""
    try:
        yield
    except Exception as error:
        found = _disk_error(error)
        if found is None:
            raise
        raise cannot_write(path, found) from error


def _disk_error(error: Exception) -> OSError | None:
    """Return the error of the disk behind ``error``: torch raises another on top, other libraries tell it in words."""
    for found in (error, error.__context__):
        if isinstance(found, OSError) and found.errno in DISK_ERRORS:
            return found
    codes = (code for code in DISK_ERRORS if os.strerror(code) in str(error))
    return next((OSError(code, os.strerror(code)) for code in codes), None)


def cannot_write(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """Return what to raise when ``error`` kept ``path`` from being written."""
    reason = error.strerror or str(error)
    advice = "Make room there, or choose" if error.errno in _NO_ROOM else "Choose"
    return OutputError(f"`{os.fspath(path)}` can't be written: {reason}. {advice} another place.")


@contextmanager
def room_beside(path: Path) -> Iterator[Path]:
    """Make a folder beside ``path`` that nobody else knows, and remove it with all that is in it at the end.

    :raises OutputError: if it can't be made.
    """
    import tempfile  # and with it shutil, bz2 and lzma, which reading a store doesn't need

    for left in sorted(path.parent.glob(f".{glob.escape(path.name)}{_TEMPORARY}*")):
        log.warning("%s: another process is at work, or was killed. Then remove that folder.", left)
    with writing(path):
        room = tempfile.TemporaryDirectory(
            dir=path.parent, prefix=f".{path.name}{_TEMPORARY}", ignore_cleanup_errors=True
        )
    with room as name:
        yield Path(name)


def flush(path: Path) -> None:
    """Wait until a file, or all files in a folder, would survive a power cut."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


def read_marker(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``, or an empty one if it can't be read or is something else."""
    try:
        marker = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of the bytes of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def hash_files(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Return one sha256 of the bytes of all files, in the order given."""
    return hashlib.sha256("".join(map(hash_file, paths)).encode()).hexdigest()


def missing_students(checkpoints: Iterable[str | Path]) -> list[str]:
    """Return a message for every path of a student's checkpoint at which there is no file."""
    return [
        f"there is no checkpoint at {path}. Train a student first."
        for path in checkpoints
        if not Path(path).is_file()
    ]
