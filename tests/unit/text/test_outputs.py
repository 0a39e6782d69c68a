"""What may be written where: output files of all subcommands."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from bertkd_fairseq import __version__, cli
from bertkd_fairseq.cli.reports import json_problems, write_json
from bertkd_fairseq.text.outputs import inside_problems, output_problems
from tests.conftest import BERTKD, run_command
from tests.unit.topk_store.test_folder import store, unfinished


def test_output_files_that_cannot_be_written(tmp_path: Path) -> None:
    old, folder = tmp_path / "old", tmp_path / "folder"
    folder.mkdir()
    old.write_text("old")
    replaced = f"`{old}` exists already. Use another name, or %s to replace it."
    nowhere = tmp_path / "no" / "x"
    missing = f"`--json` must be a file in a folder that exists, but is {nowhere} instead."
    for more, name in (({}, "force"), ({"force_name": "--force"}, "--force")):
        found = output_problems({"--json": old, "--html": None}, force=False, **more)
        assert found == [replaced % name]
    assert output_problems({"--json": old, "--html": tmp_path / "new"}, force=True) == []
    assert output_problems({"--json": nowhere}, force=True) == [missing]
    assert output_problems({"--json": folder}, force=True) == [
        f"`--json` must be a file, but is the folder {folder} instead."
    ]


def test_two_outputs_in_one_file(tmp_path: Path) -> None:
    same = tmp_path / ".." / tmp_path.name / "x"
    assert output_problems({"--json": tmp_path / "x", "--html": same}, force=True) == [
        f"`--json` and `--html` must be two files, but are both {same}."
    ]


def test_devices_are_no_files(tmp_path: Path) -> None:
    """A report renamed to /dev/null would take its place."""
    assert output_problems({"--json": os.devnull}, force=True) == [
        "`--json` must be a file, but is /dev/null, which is a device or the like, instead."
    ]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert output_problems({"--json": tmp_path / "x"}, force=True) == [
        f"`--json` must be in a folder that can be written, but is {tmp_path}/x instead."
    ]


def data_bin(path: Path) -> None:
    path.mkdir()
    settings = {"format": 1, "source_lang": "de", "target_lang": "en", "splits": {"train": {}}}
    (path / "bertkd.json").write_text(json.dumps(settings))


@pytest.fixture
def ours(tmp_path: Path) -> dict[str, Path]:
    """Folders in which a foreign file would do harm, by what messages call them."""
    store(tmp_path / "topk")
    unfinished(tmp_path / "begun")
    data_bin(tmp_path / "data-bin")
    return {
        "teacher store": tmp_path / "topk",
        "unfinished teacher store": tmp_path / "begun.partial",
        "data-bin": tmp_path / "data-bin",
    }


def test_no_output_inside_a_folder_of_ours(tmp_path: Path, ours: dict[str, Path]) -> None:
    (tmp_path / "data-bin" / "tokenizer").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "topk" / "x.png")
    places = [(name, folder / "x.png", folder) for name, folder in ours.items()]
    places.append(("data-bin", ours["data-bin"] / "tokenizer" / "x.json", ours["data-bin"]))
    places.append(("teacher store", tmp_path / "link", ours["teacher store"]))
    for name, path, folder in places:
        wanted = f"must be outside of the {name} {folder}, but is {path} instead."
        assert output_problems({"--plot": path}, force=True) == [f"`--plot` {wanted}"]
        assert inside_problems("--destdir", path) == [f"`--destdir` {wanted}"]
    for folder in ours.values():
        assert output_problems({"--plot": folder.with_name("x.png")}, force=True) == []
    new = tmp_path / "new"
    new.mkdir()
    for path in (new, new / "x.json"):
        assert inside_problems("--json", path, new) == [
            f"`--json` must be outside of {new}, but is {path} instead."
        ]


RESCORE = ["rescore", "--nbest", "y", "--data-bin", "y", "--path", "y", "--weight", "1"]
INSIDE = [
    ["inspect", "{store}", "--data-bin", "x", "--plot", "{store}/x"],
    ["inspect", "{store}", "--json", "{store}/x"],
    ["compare", "--data-bin", "x", "--system", "a=x", "--json", "{store}/x"],
    ["compare", "--data-bin", "x", "--system", "a=x", "--html", "{store}/x"],
    ["curves", "x", "--output", "{store}/x.png"],
    ["curves", "x", "--output", "x.png", "--csv", "{store}/x"],
    ["average", "--inputs", "x", "y", "--output", "{store}/x"],
    ["doctor", "--json", "{store}/x"],
    ["dump-topk", "x", "--path", "x", "--destdir", "{store}", "--json", "{store}/x"],
    ["dump-topk", "x", "--path", "x", "--destdir", "new", "--json", "{store}/x"],
    ["dump-topk", "x", "--path", "x", "--destdir", "{store}/x"],
    ["dump-topk", "x", "--path", "x", "--destdir", "{store}/x", "--dry-run"],
    [*RESCORE, "--output", "{store}/x"],
    [*RESCORE, "--output", "x", "--json", "{store}/x"],
    ["prepare", "--destdir", "{store}/x"],
    ["prepare", "--destdir", "new", "--json", "{store}/x"],
    ["iwslt14", "--archive", "x", "--destdir", "{store}/x"],
    ["iwslt14", "--archive", "{store}/x", "--url", "x", "--destdir", "new"],
    ["demo", "--destdir", "{store}/x"],
]


@pytest.mark.parametrize("command", INSIDE, ids=lambda command: f"{command[0]} {command[-2]}")
def test_every_command_refuses_outputs_inside_a_store_before_it_works(
    command: list[str],
    ours: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = ours["teacher store"]
    if command[0] == "prepare":
        text = ["--source-lang", "de", "--target-lang", "en", "--tokenizer", "x"]
        command = [*command, "--train", "x", "--valid", "x", *text]
    before = sorted(os.listdir(folder))
    assert cli.main([part.format(store=folder) for part in command]) == 2
    where = (
        r"must be outside of (new|topk|.*topk|the teacher store .*), but is .*x(\.png)? instead\."
    )
    assert re.search(where, capsys.readouterr().err)
    assert sorted(os.listdir(folder)) == before
    assert sorted(os.listdir(tmp_path)) == ["begun.partial", "data-bin", "topk"]


def test_only_an_earlier_report_of_the_same_command_is_replaced(tmp_path: Path) -> None:
    report, other = tmp_path / "report", tmp_path / "train.de"
    write_json("bertkd doctor", report, {"healthy": True})
    assert json.loads(report.read_text("utf-8")) == {
        "report": "bertkd doctor",
        "format": 2,
        "version": __version__,
        "healthy": True,
    }
    other.write_text("ein Satz\n")
    for path in (report, tmp_path / "new", None):
        assert json_problems("bertkd doctor", path and str(path)) == []
    for command, file in (("bertkd prepare", report), ("bertkd doctor", other)):
        assert json_problems(command, str(file)) == [
            f"`--json` must be a new file or an earlier report of `{command}`, but is {file}, a file of another "
            "kind, instead."
        ]


def test_standard_output_on_a_full_disk() -> None:
    done = run_command(["bash", "-c", '"$@" > /dev/full', "-", *BERTKD, "user-dir"], check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: `output` can't be written: No space left on device. Make room there, or choose another place.\n",
    )
