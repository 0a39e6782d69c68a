"""Where reports, pictures and folders may be written: never into a data-bin or a teacher store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bertkd_fairseq.errors import must_be
from bertkd_fairseq.files import place_problems
from bertkd_fairseq.text.data_bin import DATA_BIN
from bertkd_fairseq.topk_store.folder import STORE, UNFINISHED_STORE


def output_problems(
    paths: Mapping[str, str | Path | None],
    *,
    force: bool,
    force_name: str = "force",
    dest_folder: str | Path | None = None,
) -> list[str]:
    """Return a message for each output file that can't or mustn't be written.

    :param paths: the files by the name of their setting or option; None where there is none.
    :param force: files that exist may be replaced.
    :param force_name: what messages call that.
    :param dest_folder: what the command makes besides; it is no place for them either.
    """
    problems = []
    before: dict[Path, str] = {}
    for option, path in paths.items():
        if not path:
            continue
        same = before.setdefault(Path(path).resolve(), option)
        if same != option:
            problems.append(f"`{same}` and `{option}` must be two files, but are both {path}.")
        elif not Path(path).absolute().parent.is_dir():
            problems.append(must_be(option, "a file in a folder that exists", path))
        elif Path(path).is_dir():
            problems.append(must_be(option, "a file", f"the folder {path}"))
        elif Path(path).exists() and not Path(path).is_file():
            problems.append(must_be(option, "a file", f"{path}, which is a device or the like,"))
        elif Path(path).exists() and not force:
            hint = f"Use another name, or {force_name} to replace it."
            problems.append(f"`{path}` exists already. {hint}")
        else:
            problems += inside_problems(option, path, dest_folder)
            problems += place_problems(option, Path(os.path.realpath(path)))
    return problems


def inside_problems(
    option: str, path: str | Path, dest_folder: str | Path | None = None
) -> list[str]:
    """Return why ``path`` is no place for an output: it is inside a folder that holds our files alone."""
    real = Path(os.path.realpath(path))
    if dest_folder and Path(os.path.realpath(dest_folder)) in (real, *real.parents):
        return [must_be(option, f"outside of {dest_folder}", path)]
    for folder in real.parents:
        for kind in (DATA_BIN, STORE, UNFINISHED_STORE):
            if kind.files(folder) is not None:
                return [must_be(option, f"outside of the {kind.name} {folder}", path)]
    return []
