"""``bertkd demo`` scaled down: every stage through the real commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bertkd_fairseq.demo.folder import demo_files
from bertkd_fairseq.files import first_foreign
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
    assert first_foreign(folder / "demo", demo_files()) is None  # --force may remove it


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
    assert message.startswith("error: stage teacher failed with exit code 1. The end of ")
    assert "Dataset not found: train" in message
