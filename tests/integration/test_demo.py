"""``bertkd demo`` scaled down: every stage through the real commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from subprocess import PIPE

import pytest

from bertkd_fairseq.demo.folder import demo_files
from bertkd_fairseq.demo.run import DemoConfig, run_demo
from bertkd_fairseq.files import first_foreign
from tests.conftest import BERTKD, command_environment, run_command

DEMO = [*BERTKD, "demo", "--quick", "--destdir", "demo"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo that was ended in the middle of its teacher's training, and then run to its end.

    tests/interrupted_demo.py ends it in every stage and looks for processes.
    """
    folder = tmp_path_factory.mktemp("demo")
    begun = folder / "demo" / "teacher" / "checkpoint_last.pt"
    with subprocess.Popen(DEMO, cwd=folder, env=command_environment(), stderr=PIPE) as process:
        while process.poll() is None and not begun.exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1].decode()
    (folder / "interrupted").write_text(f"{process.returncode}\n{said}")
    done = run_command(DEMO, cwd=folder)
    (folder / "stdout").write_text(done.stdout)
    return folder


def test_an_interrupted_demo_leaves_no_process_and_continues_inside_a_training(
    folder: Path,
) -> None:
    code, said = (folder / "interrupted").read_text().split("\n", 1)
    assert code == "143"
    assert said.endswith(
        "interrupted in stage teacher; the same command continues there\nerror: interrupted\n"
    )
    assert "this will take about " in said
    attempts = (folder / "demo" / "logs" / "teacher.log").read_text().split("\n$ ")
    assert len(attempts) == 2
    assert "Loaded checkpoint" in attempts[1] and "num_updates=1, " not in attempts[1]


def test_demo_ends_with_its_tables(folder: Path) -> None:
    text = (folder / "stdout").read_text()
    stages = ["language", "prepare", "teacher", "dump", "plain", "distilled", "compare", "curves"]
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    assert set(stages) <= set(names)
    assert "There are 31 sentences. The paired bootstrap (50 resamples)" in text
    assert "the scores mean nothing" in text
    results = json.loads((folder / "demo" / "demo.json").read_text())
    assert set(results["scores"]["scores"]) == {"plain", "distilled"}
    assert results["dump"]["bytes_per_token"] < 40
    slow_half = os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX2"
    assert results["precision"] in (("fp32",) if slow_half else ("fp32", "bf16"))
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


def test_a_notebook_has_the_results_by_name(folder: Path) -> None:
    """Every stage is done: the same call only reads."""
    results = run_demo(DemoConfig(destdir=folder / "demo", quick=True), BERTKD)
    report = json.loads((folder / "demo" / "demo.json").read_text("utf-8"))
    assert {**report, **results.content()} == report
    assert results.teacher.ppl > 1 and results.scores["baseline"] == "plain"
    assert results.summary() + "\n" == (folder / "stdout").read_text("utf-8")


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
