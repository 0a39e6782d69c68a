"""What may stand where a store is made, and what ``--force`` takes away."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.folder import remove_store, store_problems
from tests.unit.test_files import tree
from tests.unit.topk_store.test_store import fill, make_writer


def store(path: Path) -> None:
    writer = make_writer(path)
    fill(writer)
    writer.finish()


def unfinished(path: Path) -> None:
    writer = make_writer(path)
    fill(writer)


def thesis(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "thesis.tex").write_text("x")


def partial(path: Path) -> Path:
    return path.with_name("topk.partial")


def others_meta(path: Path) -> None:
    path.mkdir()
    (path / "meta.json").write_text('{"format": "thesis"}')


def picture_inside(path: Path) -> None:
    store(path)
    (path / "topk.png").write_text("x")


def notes_in_partial(path: Path) -> None:
    unfinished(path)
    [work] = partial(path).glob("work-*")
    (work / "notes.txt").write_text("x")


def linked_partial(path: Path) -> None:
    path.with_name("disk").mkdir()
    partial(path).symlink_to(path.with_name("disk"))


def another_commands_partial(path: Path) -> None:
    partial(path).mkdir()
    (partial(path) / "plan.json").write_text('{"format": "thesis"}')


OTHER = "`path` must be a new or empty folder, but is {} ({{path}}) instead."
FOREIGN = (
    "`{{path}}{}` holds {}, which `bertkd dump-topk` didn't write. Nothing was removed: move {} away, or "
    "choose another folder."
)
LINK = (
    "`{{path}}.partial` must be a folder, but is {} instead. Move it away, or choose another path."
)
#: what is there, whether it keeps a dump from starting without --force, the message
REFUSED: list[tuple[Callable[[Path], None], bool, str]] = [
    (thesis, True, OTHER.format("a folder with other files")),
    (others_meta, True, OTHER.format("a folder with other files")),
    (lambda path: path.write_text("x"), True, OTHER.format("a file")),
    (lambda path: thesis(partial(path)), True, FOREIGN.format(".partial", *["thesis.tex"] * 2)),
    (lambda path: partial(path).write_text("x"), True, LINK.format("a file")),
    (linked_partial, True, LINK.format("a symbolic link")),
    (picture_inside, False, FOREIGN.format("", "topk.png", "topk.png")),
    (notes_in_partial, False, FOREIGN.format(".partial", *["WORK/notes.txt"] * 2)),
]


@pytest.mark.parametrize(("make", "without_force", "message"), REFUSED)
def test_foreign_things_are_named_and_stay(
    tmp_path: Path, make: Callable[[Path], None], without_force: bool, message: str
) -> None:
    path = tmp_path / "topk"
    make(path)
    work = next((folder.name for folder in tmp_path.glob("*/work-*")), "")
    message = message.format(path=path).replace("WORK", work)
    before = tree(tmp_path)
    with pytest.raises(ConfigurationError) as error:
        remove_store(path)
    assert str(error.value) == message
    assert store_problems(path) == ([message] if without_force else [])
    if without_force:
        with pytest.raises(ConfigurationError) as error:
            make_writer(path)
        assert str(error.value) == message
    assert tree(tmp_path) == before


def damaged(path: Path) -> None:
    store(path)
    (path / "meta.json").write_text("{")


def half_removed(path: Path) -> None:
    unfinished(path)
    (partial(path) / "plan.json").unlink()


def earlier_layout(path: Path) -> None:
    unfinished(path)
    [work] = partial(path).glob("work-*")
    for folder in work.iterdir():
        folder.rename(partial(path) / folder.name)
    work.rmdir()
    plan = json.loads((partial(path) / "plan.json").read_text())
    plan.pop("work")
    (partial(path) / "plan.json").write_text(json.dumps(plan))


def both(path: Path) -> None:
    unfinished(path)
    partial(path).rename(path.with_name("kept"))
    store(path)
    path.with_name("kept").rename(partial(path))


@pytest.mark.parametrize(
    "make",
    [store, unfinished, damaged, half_removed, earlier_layout, both, Path.mkdir, lambda path: None],
)
def test_ours_are_removed_and_made_anew(tmp_path: Path, make: Callable[[Path], None]) -> None:
    neighbours = ("topk.old", "topk.partial.old", ".topk")
    for name in neighbours:
        thesis(tmp_path / name)
    path = tmp_path / "topk"
    make(path)
    remove_store(path)
    assert sorted(name for name in os.listdir(tmp_path) if name != "topk") == sorted(neighbours)
    store(path)
    assert TopKStore.open(path).verify() == []
    assert sorted(os.listdir(tmp_path)) == sorted(["topk", *neighbours])


@pytest.mark.parametrize("make", [unfinished, half_removed, earlier_layout, Path.mkdir])
def test_what_a_dump_without_force_goes_on_with(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "topk")
    store(tmp_path / "topk")
    assert TopKStore.open(tmp_path / "topk").verify() == []
    assert os.listdir(tmp_path) == ["topk"]
