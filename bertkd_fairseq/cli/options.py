"""What several subcommands do with their options: named files, output files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bertkd_fairseq.errors import must_be
from bertkd_fairseq.files import place_problems, read_marker, whole_file
from bertkd_fairseq.text.data_bin import DATA_BIN
from bertkd_fairseq.topk_store.folder import STORE, UNFINISHED_STORE

#: Help of a report of what has just been done; results of comparisons need --force instead.
REPLACED = "an earlier report is replaced"


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


def output_problems(
    *, force: bool, dest_folder: str | Path | None = None, **paths: str | Path | None
) -> list[str]:
    """Return a message for each output file, by its option's name, that can't or mustn't be written.

    ``dest_folder``: what the command makes besides; it is no place for them either.
    """
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
        elif Path(path).exists() and not Path(path).is_file():
            problems.append(
                must_be(f"--{option}", "a file", f"{path}, which is a device or the like,")
            )
        elif Path(path).exists() and not force:
            problems.append(f"`{path}` exists already. Use another name, or --force to replace it.")
        else:
            problems += inside_problems(f"--{option}", path, dest_folder)
            problems += place_problems(f"--{option}", Path(os.path.realpath(path)))
    return problems


def report_problems(
    keys: Sequence[str], *, json: str | None, dest_folder: str | Path | None = None
) -> list[str]:
    """Return why no report can be written to ``--json``; only one with these ``keys`` is replaced."""
    problems = output_problems(force=True, dest_folder=dest_folder, json=json)
    if (
        json
        and not problems
        and Path(json).exists()
        and not {*keys} <= read_marker(Path(json)).keys()
    ):
        problems.append(
            must_be("--json", "a new file or an earlier report", f"{json}, a file of another kind,")
        )
    return problems


def inside_problems(
    option: str, path: str | Path, dest_folder: str | Path | None = None
) -> list[str]:
    """Return why ``path`` is no place for an output: it is inside a folder that holds our files alone."""
    real = Path(os.path.realpath(path))
    if dest_folder and Path(os.path.realpath(dest_folder)) in (real, *real.parents):
        return [must_be(option, "outside of --dest", path)]
    for folder in real.parents:
        for kind in (DATA_BIN, STORE, UNFINISHED_STORE):
            if kind.files(folder) is not None:
                return [must_be(option, f"outside of the {kind.name} {folder}", path)]
    return []


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file that is either all there or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
