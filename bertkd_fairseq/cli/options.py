"""What several subcommands do with their options: named files, output files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bertkd_fairseq.errors import must_be
from bertkd_fairseq.whole_file import whole_file

#: Help of a report of what has just been done; results of comparisons need --force instead.
REPLACED = "a report that exists is replaced"


def named_files(
    option: str, metavar: str, items: Sequence[str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return name and file of each ``NAME=FILE`` in ``items``, and a message for each that is wrong."""
    files = []
    problems = []
    for item in items:
        name, equals, file = item.partition("=")
        if name and equals and file:
            files.append((name, file))
        else:
            problems.append(must_be(option, metavar, repr(item)))
    return files, problems


def output_problems(*, force: bool, **paths: str | Path | None) -> list[str]:
    """Return a message for each output file, by its option's name, that can't or mustn't be written."""
    problems = []
    before: dict[Path, str] = {}
    for option, path in paths.items():
        if not path:
            continue
        same = before.setdefault(Path(path).resolve(), option)
        if same != option:
            problems.append(f"`--{same}` and `--{option}` must be two files, but are both {path}.")
        elif not Path(path).absolute().parent.is_dir():
            problems.append(must_be(f"--{option}", "a file in a folder that exists", path))
        elif Path(path).is_dir():
            problems.append(must_be(f"--{option}", "a file", f"the folder {path}"))
        elif Path(path).exists() and not force:
            problems.append(f"`{path}` exists already. Use another name, or --force to replace it.")
    return problems


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file that is either all there or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
