"""``bertkd demo`` scaled down: every stage through the real commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import BERTKD, run_command

DEMO = [*BERTKD, "demo", "--quick", "--dest", "demo"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    done = run_command(DEMO, cwd=folder)
    (folder / "stdout").write_text(done.stdout)
    return folder


def test_demo_ends_with_its_tables(folder: Path) -> None:
    text = (folder / "stdout").read_text()
    stages = ["language", "prepare", "teacher", "dump", "plain", "distilled", "compare", "curves"]
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    assert set(stages) <= set(names)
    assert "31 sentences; paired bootstrap of 50 resamples" in text
    assert "the scores mean nothing" in text
    results = json.loads((folder / "demo" / "demo.json").read_text())
    assert set(results["scores"]["scores"]) == {"plain", "distilled"}
    assert results["dump"]["bytes_per_token"] < 40
    assert (folder / "demo" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "demo" / "compare.html").read_text().endswith("</html>\n")
    first = (folder / "demo" / "logs" / "dump.log").read_text().splitlines()[0]
    assert first.startswith("$ ") and "dump-topk" in first


def test_second_run_does_nothing_again(folder: Path) -> None:
    before = {path: os.stat(path).st_mtime_ns for path in (folder / "demo" / "logs").iterdir()}
    done = run_command(DEMO, cwd=folder)
    assert done.stdout == (folder / "stdout").read_text()
    assert before == {path: os.stat(path).st_mtime_ns for path in before}


def test_failing_stage_shows_the_end_of_its_log(folder: Path) -> None:
    """Runs last here: it breaks the data-bin, then removes the teacher that was made from it."""
    for file in (folder / "demo" / "data-bin").glob("train.*"):
        file.unlink()
    (folder / "demo" / "teacher" / "checkpoint_best.pt").unlink()
    done = run_command(DEMO, cwd=folder, check=False)
    assert done.returncode == 2
    message = done.stderr[done.stderr.index("error: ") :]
    assert message.startswith("error: stage teacher failed with exit code 2. The end of ")
    assert "must hold a split 'train' of src and tgt" in message


def test_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.tex").write_text("x")
    done = run_command([*DEMO, "--force"], cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: `--dest` must be a new folder or one of an earlier demo, but "
        f"{tmp_path.resolve() / 'demo'} is neither. Name another.\n"
    )
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["thesis.tex"]
