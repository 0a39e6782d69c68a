"""What several subcommands do with their options: named files, output files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bertkd_fairseq.errors import must_be


def named_files(
    option: str, metavar: str, items: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the file of each ``NAME=FILE`` in ``items``, and a message for each that is wrong."""
    files: dict[str, str] = {}
    problems = []
    for item in items:
        name, equals, file = item.partition("=")
        if not (name and equals and file):
            problems.append(must_be(option, metavar, repr(item)))
        elif name in files:
            problems.append(f"`{option}` must give each name once, but gives {name!r} again.")
        files.setdefault(name, file)
    return files, problems


def output_problems(**paths: str | Path | None) -> list[str]:
    """Return a message for each output file, by its option's name, whose folder isn't there."""
    return [
        must_be(f"--{option}", "a file in a folder that exists", path)
        for option, path in paths.items()
        if path and not Path(path).absolute().parent.is_dir()
    ]


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file that is either all there or not at all."""
    partial = Path(f"{path}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)
