"""What may be written where: output files of all subcommands."""

from __future__ import annotations

from pathlib import Path

from bertkd_fairseq.cli.options import output_problems, write_whole


def test_output_files_that_cannot_be_written(tmp_path: Path) -> None:
    old, folder = tmp_path / "old", tmp_path / "folder"
    folder.mkdir()
    write_whole(old, "old")
    replaced = f"`{old}` exists already. Use another name, or --force to replace it."
    nowhere = tmp_path / "no" / "x"
    missing = f"`--json` must be a file in a folder that exists, but is {nowhere} instead."
    assert output_problems(force=False, json=old, html=None) == [replaced]
    assert output_problems(force=True, json=old, html=tmp_path / "new") == []
    assert output_problems(force=True, json=nowhere) == [missing]
    assert output_problems(force=True, json=folder) == [
        f"`--json` must be a file, but is the folder {folder} instead."
    ]


def test_two_outputs_in_one_file(tmp_path: Path) -> None:
    same = tmp_path / ".." / tmp_path.name / "x"
    assert output_problems(force=True, json=tmp_path / "x", html=same) == [
        f"`--json` and `--html` must be two files, but are both {same}."
    ]
