"""Reports of commands as JSON, in one form for all, and the ``NAME=FILE`` of options that take named files.

A report is ``{"report": "bertkd compare", "format": 2, "version": "0.1.0", ...}``: which command wrote it, the version
of its form, the version of this package, and then what the command says (docs/reports.md).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertkd_fairseq import __version__
from bertkd_fairseq.errors import must_be
from bertkd_fairseq.files import read_marker, whole_file
from bertkd_fairseq.text.outputs import output_problems

FORMAT = 2


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, which replaces an earlier report of the same command without being told."""
    text = "write the report there as JSON, too; an earlier report of this command is replaced"
    parser.add_argument("--json", metavar="FILE", help=text)


def json_problems(
    command: str, path: str | None, dest_folder: str | Path | None = None
) -> list[str]:
    """Return why no report can be written to ``--json``; only one of the same ``command`` is replaced.

    :param dest_folder: what the command makes besides; it is no place for the report.
    """
    problems = output_problems({"--json": path}, force=True, dest_folder=dest_folder)
    if not path or problems or not Path(path).exists():
        return problems
    if read_marker(Path(path)).get("report") == command:
        return []
    wanted = f"a new file or an earlier report of `{command}`"
    return [must_be("--json", wanted, f"{path}, a file of another kind,")]


def write_json(command: str, path: str | Path | None, content: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all; do nothing without ``path``."""
    if not path:
        return
    header = {"report": command, "format": FORMAT, "version": __version__}
    # First, and not to be replaced: a data-bin's settings have a `format` of their own.
    report = {**header, **content, **header}
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


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
