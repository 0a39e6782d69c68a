"""Where a demo may be made, and what it removes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertkd_fairseq import cli
from bertkd_fairseq.demo.folder import demo_files, remove_product
from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.files import first_foreign, only_process
from tests.unit.test_files import tree

NEITHER = (
    "`--destdir` must be a new folder or one of an earlier demo, but {} is neither. Name another."
)
FOREIGN = (
    "`{}` holds {file}, which `bertkd demo` didn't write. Nothing was removed: move {file} away, or choose "
    "another folder."
)


def a_demo(dest: Path, *more: str) -> None:
    for name in ("stages.json", "logs/plain.log", "teacher/checkpoint_best.pt", *more):
        (dest / name).parent.mkdir(parents=True, exist_ok=True)
        (dest / name).write_text("{}")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("", NEITHER),
        ("demo/thesis.tex", NEITHER),
        ("demo/data-bin/checkpoint_best.pt", FOREIGN),
        ("demo/plain/checkpoint_mine.pt", FOREIGN),
        ("demo/corpus/train.de", FOREIGN),
        ("demo/logs/mine.log", FOREIGN),
        ("demo/notes", FOREIGN),
    ],
)
def test_foreign_files_are_named_and_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, message: str
) -> None:
    dest = tmp_path / "demo"
    if file:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("mine")
    else:
        dest.write_text("a file")
    if message == FOREIGN:
        a_demo(dest)
    before = tree(tmp_path)
    assert cli.main(["demo", "--quick", "--destdir", str(dest), "--force"]) == 2
    wanted = message.format(dest, file=file.removeprefix("demo/"))
    assert capsys.readouterr().err == f"error: {wanted}\n"
    assert tree(tmp_path) == before


@pytest.mark.parametrize("more", [[], ["--force"]])
def test_a_demo_at_work_keeps_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    """The other one would remove the folders of its trainings."""
    a_demo(tmp_path / "demo")
    before = tree(tmp_path)
    with only_process(tmp_path / "demo", "bertkd demo"):
        assert cli.main(["demo", "--quick", "--destdir", str(tmp_path / "demo"), *more]) == 2
    assert capsys.readouterr().err == (
        f"error: `{tmp_path}/demo` is in use by another `bertkd demo`. Wait until that ends, or "
        "choose another folder.\n"
    )
    assert tree(tmp_path) == before
    with only_process(tmp_path / "demo", "bertkd demo"):
        pass


def test_an_earlier_demo_has_no_foreign_file(tmp_path: Path) -> None:
    a_demo(
        tmp_path, "topk.partial/plan.json", "teacher/checkpoint_2_500.pt", "data-bin/bertkd.json"
    )
    assert first_foreign(tmp_path, demo_files()) is None


def test_a_training_is_removed_unless_there_is_a_foreign_file(tmp_path: Path) -> None:
    a_demo(tmp_path, "plain/checkpoint_last.pt", "plain/checkpoint_mine.pt")
    for name in ("teacher", "nowhere"):
        remove_product(tmp_path, tmp_path / name)
    assert not (tmp_path / "teacher").exists()
    with pytest.raises(ConfigurationError) as error:
        remove_product(tmp_path, tmp_path / "plain")
    assert str(error.value) == FOREIGN.format(tmp_path / "plain", file="checkpoint_mine.pt")
    assert (tmp_path / "plain" / "checkpoint_last.pt").exists()
