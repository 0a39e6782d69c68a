"""Nothing half-written gets a name, nothing foreign goes, and two processes never share a folder."""

from __future__ import annotations

import errno
import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bertkd_fairseq.errors import BertKDError, ConfigurationError, DataError, OutputError
from bertkd_fairseq.files import (
    FolderKind,
    dest_problems,
    first_foreign,
    new_folder,
    read_marker,
    remove_own,
    whole_file,
)

FILES = ("mark.json", "text/*.de")


def kind_files(folder: Path) -> tuple[str, ...] | None:
    return FILES if read_marker(folder / "mark.json").get("kind") == "toy" else None


TOY = FolderKind("toy", "bertkd toy", kind_files)
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write(folder: Path, text: str = "") -> None:
    (folder / "mark.json").write_text(json.dumps({"kind": "toy"}))
    (folder / "text").mkdir()
    (folder / "text" / "train.de").write_text(text)


def make(dest: Path, text: str = "", *, force: bool = False) -> None:
    with new_folder(dest, TOY, force=force) as new:
        write(new, text)


def tree(folder: Path) -> dict[str, str]:
    """Return all that is in a folder: text by relative path, and folders that are empty."""
    return {
        str(path.relative_to(folder)): path.read_text("latin-1") if path.is_file() else "folder"
        for path in folder.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


@pytest.mark.parametrize(
    ("added", "found"),
    [
        ("checkpoints/checkpoint_best.pt", "checkpoints"),
        ("text/mine.txt", "text/mine.txt"),
        ("text/more/train.de", "text/more"),
        ("train.de", "train.de"),
        (".hidden", ".hidden"),
        ("mark.json.old", "mark.json.old"),
        (".mark.json.bertkd-a1b2c3d4/mark.json", None),
        ("text/valid.de", None),
    ],
)
def test_first_foreign_file(tmp_path: Path, added: str, found: str | None) -> None:
    write(tmp_path)
    (tmp_path / added).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / added).write_text("x")
    assert first_foreign(tmp_path, FILES) == (Path(found) if found else None)


def test_links_and_folders_of_a_files_name(tmp_path: Path) -> None:
    """A link counts as the file of that name, whatever is behind it; a folder of a file's name is foreign."""
    write(tmp_path)
    (tmp_path / "text" / "big.de").symlink_to("/")
    assert first_foreign(tmp_path, FILES) is None
    (tmp_path / "elsewhere").symlink_to("text")
    assert first_foreign(tmp_path, FILES) == Path("elsewhere")
    (tmp_path / "elsewhere").unlink()
    (tmp_path / "text" / "folder.de").mkdir()
    assert first_foreign(tmp_path, FILES) == Path("text/folder.de")


def foreign_file(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("x")


def foreign_in_ours(path: Path) -> None:
    path.mkdir()
    write(path)
    (path / "checkpoint_best.pt").write_text("a week of training")


def damaged_mark(path: Path) -> None:
    path.mkdir()
    write(path)
    (path / "mark.json").write_text("{")


def one_file(path: Path) -> None:
    path.write_text("x")


def ours(path: Path) -> None:
    path.mkdir()
    write(path, "old")


OTHER = "`path` must be a new or empty folder, but is a folder with other files ({dest}) instead."
KEPT: list[tuple[Callable[[Path], None], bool, str]] = [
    (foreign_file, False, OTHER),
    (foreign_file, True, OTHER),
    (damaged_mark, True, OTHER),
    (one_file, True, "`path` must be a new or empty folder, but is a file ({dest}) instead."),
    (ours, False, "`path` holds a complete toy: {dest}. Use force to replace it."),
    (
        foreign_in_ours,
        True,
        "`{dest}` holds checkpoint_best.pt, which `bertkd toy` didn't write. Nothing was removed: "
        "move checkpoint_best.pt away, or choose another folder.",
    ),
]


@pytest.mark.parametrize(("there", "force", "message"), KEPT)
def test_what_is_not_replaced(
    tmp_path: Path, there: Callable[[Path], None], force: bool, message: str
) -> None:
    dest = tmp_path / "dest"
    there(dest)
    assert dest_problems(dest, TOY, force) == [message.format(dest=dest)]


@pytest.mark.parametrize(("there", "force", "message"), KEPT)
def test_what_came_into_being_meanwhile_stays(
    tmp_path: Path, there: Callable[[Path], None], force: bool, message: str
) -> None:
    dest = tmp_path / "dest"
    with pytest.raises(BertKDError) as error, new_folder(dest, TOY, force=force) as new:
        write(new)
        there(dest)
        before = tree(tmp_path / "dest") if dest.is_dir() else {}
    assert tree(dest) == before
    assert os.listdir(tmp_path) == ["dest"]
    came = f"`{dest}` came into being while it was made, and stays as it is. Choose another folder."
    assert str(error.value) == (message.format(dest=dest) if force else came)


def test_a_folder_replaces_none_an_empty_one_or_with_force_ours_alone(tmp_path: Path) -> None:
    neighbours = ["dest.old", "dest.partial", "dest.tmp", ".dest"]
    for name in neighbours:
        foreign_file(tmp_path / name)
    before = {name: tree(tmp_path / name) for name in neighbours}
    dest = tmp_path / "dest"
    for text, force in (("first", False), ("second", True), ("third", True)):
        make(dest, text, force=force)
        assert tree(dest) == {"mark.json": '{"kind": "toy"}', "text/train.de": text}
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty", "in an empty one")
    make(tmp_path / "no" / "such" / "parent", "in a new one")
    assert {name: tree(tmp_path / name) for name in neighbours} == before
    assert sorted(os.listdir(tmp_path)) == sorted([*neighbours, "dest", "empty", "no"])


def test_of_two_at_work_the_first_that_ends_has_the_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dest = tmp_path / "dest"
    with pytest.raises(OutputError), new_folder(dest, TOY) as slow:
        write(slow, "slow")
        make(dest, "quick")
        assert (slow / "text" / "train.de").read_text() == "slow"
    assert (dest / "text" / "train.de").read_text() == "quick"
    assert os.listdir(tmp_path) == ["dest"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages == [
        f"{slow.parent}: another process is at work, or was killed. Then remove that folder."
    ]


def test_of_two_at_work_with_force_the_last_that_ends_has_the_folder(tmp_path: Path) -> None:
    make(tmp_path / "dest", "old")
    with new_folder(tmp_path / "dest", TOY, force=True) as slow:
        write(slow, "slow")
        make(tmp_path / "dest", "quick", force=True)
    assert (tmp_path / "dest" / "text" / "train.de").read_text() == "slow"
    assert os.listdir(tmp_path) == ["dest"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ConfigurationError, OSError])
def test_an_interrupt_or_error_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException]
) -> None:
    make(tmp_path / "dest", "old")
    (tmp_path / "report").write_text("old")
    before = tree(tmp_path)
    with pytest.raises(error), new_folder(tmp_path / "dest", TOY, force=True) as new:
        write(new, "half of it")
        raise error
    with pytest.raises(error), whole_file(tmp_path / "report") as partial:
        partial.write_text("half of it")
        raise error
    assert tree(tmp_path) == before


def test_an_interrupt_while_folders_change_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "dest", "old")
    rename = os.rename

    def interrupted(source: Path, target: Path) -> None:
        if source.name == "new":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "dest", "new", force=True)
    assert os.listdir(tmp_path) == ["dest"]
    assert (tmp_path / "dest" / "text" / "train.de").read_text() == "old"


def context_of_a_full_disk() -> None:
    try:
        raise FULL
    finally:
        raise RuntimeError("unexpected pos 27584 vs 27540")  # as torch.save ends


@pytest.mark.parametrize(
    "fail",
    [
        lambda: (_ for _ in ()).throw(FULL),
        context_of_a_full_disk,
        lambda: (_ for _ in ()).throw(Exception(f"{FULL.strerror} (os error 28)")),  # tokenizers
        lambda: (_ for _ in ()).throw(
            DataError(f"ended with 1: {FULL}")
        ),  # another process's output
    ],
)
def test_a_full_disk_is_one_message_whoever_finds_it(
    tmp_path: Path, fail: Callable[[], None]
) -> None:
    end = "can't be written: No space left on device. Make room there, or choose another place."
    with pytest.raises(OutputError) as error, new_folder(tmp_path / "dest", TOY):
        fail()
    assert str(error.value) == f"`{tmp_path}/dest` {end}"
    with pytest.raises(OutputError) as error, whole_file(tmp_path / "file"):
        fail()
    assert str(error.value) == f"`{tmp_path}/file` {end}"
    assert os.listdir(tmp_path) == []


def test_a_read_only_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a check would see it, which root passes otherwise, and as it is without a check.
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        wanted = "`path` must be in a folder that can be written, but is {} instead."
        dest = tmp_path / "no" / "dest"
        assert dest_problems(dest, TOY, False) == [wanted.format(dest)]

    def read_only(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    for path in (tmp_path / "dest", tmp_path / "file"):
        with pytest.raises(OutputError) as error:
            if path.name == "dest":
                make(path)
            else:
                with whole_file(path):
                    pass
        message = f"`{path}` can't be written: Read-only file system. Choose another place."
        assert str(error.value) == message


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    one_file(tmp_path / "file")
    dest = tmp_path / "file" / "dest"
    assert dest_problems(dest, TOY, False) == [
        f"`path` must be in a folder that can be written, but is {dest} instead."
    ]
    with pytest.raises(OutputError, match="can't be written: "):
        make(dest)


def test_folders_that_cannot_be_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = (
        "`path` must be a folder that can be replaced, but is {} ({}) instead. "
        "Name a folder inside it, such as {}."
    )
    for dest in (Path(), tmp_path):
        wanted = message.format("the current folder", tmp_path, tmp_path / "new")
        assert dest_problems(dest, TOY, False) == [wanted]
    wanted = message.format("a mount point", "/", "/new")
    assert dest_problems(Path("/"), TOY, True) == [wanted]


def test_a_link_stays_and_what_it_leads_to_is_made(tmp_path: Path) -> None:
    disk, work = tmp_path / "disk", tmp_path / "work"
    disk.mkdir()
    work.mkdir()
    (work / "dest").symlink_to(disk / "toy")
    (work / "file").symlink_to(disk / "report")
    make(work / "dest", "first")
    assert dest_problems(work / "dest", TOY, True) == []
    make(work / "dest", "second", force=True)
    for text in ("first", "second"):
        with whole_file(work / "file") as partial:
            partial.write_text(text)
    assert (work / "dest").is_symlink() and (work / "file").is_symlink()
    assert (disk / "toy" / "text" / "train.de").read_text() == "second"
    assert (disk / "report").read_text() == "second"
    assert sorted(os.listdir(disk)) == ["report", "toy"]
    assert sorted(os.listdir(work)) == ["dest", "file"]


def test_two_writers_of_one_file_do_not_share_a_name(tmp_path: Path) -> None:
    (tmp_path / "report.partial").write_text("mine")
    with whole_file(tmp_path / "report") as first, whole_file(tmp_path / "report") as second:
        first.write_text("first")
        second.write_text("second")
        assert not (tmp_path / "report").exists()
    assert tree(tmp_path) == {"report": "first", "report.partial": "mine"}


def test_files_and_folders_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").write_text("")
    make(tmp_path / "dest")
    with whole_file(tmp_path / "file") as partial:
        partial.write_text("")
    usual = [(tmp_path / name).stat().st_mode for name in ("plain", "plain/file")]
    assert [(tmp_path / name).stat().st_mode for name in ("dest", "file")] == usual


def test_remove_own_removes_all_or_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    foreign_in_ours(folder)
    before = tree(tmp_path)
    with pytest.raises(ConfigurationError) as error:
        remove_own(folder, FILES, "bertkd toy")
    assert str(error.value) == KEPT[-1][2].format(dest=folder)
    assert tree(tmp_path) == before
    (folder / "checkpoint_best.pt").unlink()
    (folder / "text" / "link.de").symlink_to(tmp_path)
    remove_own(folder, FILES, "bertkd toy")
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        remove_own(folder, FILES, "bertkd toy")


def test_a_file_that_comes_while_a_folder_is_removed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    ours(folder)
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        if source == folder:
            (folder / "checkpoint_best.pt").write_text("a week of training")
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(ConfigurationError) as error:
        remove_own(folder, FILES, "bertkd toy")
    assert str(error.value) == KEPT[-1][2].format(dest=folder)
    assert tree(tmp_path).keys() == {
        f"folder/{name}" for name in ("checkpoint_best.pt", "mark.json", "text/train.de")
    }


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"kind"'])
def test_a_marker_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "mark.json").write_text(text)
    assert read_marker(tmp_path / "mark.json") == {}
    assert read_marker(tmp_path / "nowhere") == {}
