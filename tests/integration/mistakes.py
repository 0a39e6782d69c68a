"""The table of users' mistakes in ``tests/data/mistakes.yaml``, and the page that shows it.

python -m tests.integration.mistakes    # write docs/errors.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from tests.conftest import CHECKOUT

TABLE = CHECKOUT / "tests" / "data" / "mistakes.yaml"
PAGE = CHECKOUT / "docs" / "errors.md"

_HEAD = """\
# Mistakes and messages

A mistake ends in one message on stderr and exit code 2, and no file is left half-written. In fairseq's own commands
this is so after they have read `--user-dir`. If a message isn't enough, `LOGLEVEL=DEBUG` shows where it was raised.

The tests run every row (`tests/integration/test_mistakes.py`), and `python -m tests.integration.mistakes` writes this
page. `$PWD` is the current folder, and `<hash>` a part of a hash. A word in capitals stands for the command beside it:

```
{commands}
```
"""


@dataclass(frozen=True)
class Mistake:
    """A command that goes wrong.

    ``before``: lines of shell that make it so; ``spoil``: a function of :mod:`tests.integration.spoil` that does.
    ``leaves``: a pattern of files that the command may leave behind. ``file_limit``: the largest file in bytes that
    it can write. ``also_as_process``: run it in an interpreter of its own as well.
    """

    section: str
    mistake: str
    command: str
    error: str
    before: str = ""
    spoil: str = ""
    input: str = ""
    leaves: str = ""
    file_limit: int | None = None
    also_as_process: bool = False


def read_table() -> tuple[dict[str, str], list[Mistake]]:
    """Return what capitals stand for, and all mistakes."""
    table: dict[str, Any] = yaml.safe_load(TABLE.read_text("utf-8"))
    sections = table["mistakes"]
    rows = [Mistake(section=title, **row) for title, rows in sections.items() for row in rows]
    return table["commands"], rows


def page(commands: dict[str, str], mistakes: list[Mistake]) -> str:
    """Return docs/errors.md."""
    width = max(map(len, commands))
    shown = "\n".join(f"{name:<{width}}  {command}" for name, command in commands.items())
    parts = [_HEAD.format(commands=shown)]
    for title in dict.fromkeys(row.section for row in mistakes):
        parts.append(f"\n## {title}\n\n| mistake | command | message |\n|---|---|---|\n")
        rows = [row for row in mistakes if row.section == title]
        parts += [
            f"| {_cell(row.mistake)} | {_code(row.command)} | {_cell(row.error)} |\n"
            for row in rows
        ]
    return "".join(parts)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _cell(text: str) -> str:
    """Return text as Markdown shows it in a cell, whatever it holds; what stands between backticks is code."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [re.sub(r"([\\*_<>\[\]])(?!\|)", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts).replace("\n", "<br>")


if __name__ == "__main__":
    PAGE.write_text(page(*read_table()), "utf-8")
