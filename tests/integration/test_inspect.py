"""``bertkd inspect`` on the store of the miniature pair."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from bertkd_fairseq.topk_store import TopKStore
from tests.conftest import BERTKD, run_command


def test_statistics_and_picture(tmp_path: Path, data_bin: Path, topk: Path) -> None:
    command = [*BERTKD, "inspect", topk, "--data-bin", data_bin, "--verify"]
    files = ["--plot", tmp_path / "topk.png", "--json", tmp_path / "topk.json"]
    output = run_command([*command, *files]).stdout
    summary = json.loads((tmp_path / "topk.json").read_text())
    signature = json.loads((topk / "meta.json").read_text())["signature"]
    assert output.splitlines()[:2] == ["Teacher store", f"signature      {signature}"]
    assert (summary["format"], summary["verified"], summary["k"]) == (2, True, 4)
    assert "students" not in summary and "sentence" not in summary
    assert sum(summary["statistics"]["gold_rank_counts"]) == summary["tokens"] - 600  # EOS apart
    statistics = summary["statistics"]
    assert sum(part["tokens"] for part in statistics["calibration"]["bins"]) == (
        summary["tokens"] - 600
    )
    assert sum(part["tokens"] for part in statistics["eos_calibration"]["bins"]) == 600
    assert f"\nexpected calibration error: {_error(statistics):.2f} points\n" in output
    assert (tmp_path / "topk.png").read_bytes().startswith(b"\x89PNG")
    again = run_command([*command, *files], check=False)
    assert (again.returncode, again.stderr) == (
        2,
        "error: 2 problems:\n"
        f"  1. `{tmp_path}/topk.png` exists already. Use another name, or --force to replace it.\n"
        f"  2. `{tmp_path}/topk.json` exists already. Use another name, or --force to replace it.\n",
    )
    run_command([*command, *files, "--force"])


def _error(statistics: dict) -> float:
    """Return the expected calibration error of the diagram that was written."""
    calibration = statistics["calibration"]
    parts = [part for part in calibration["bins"] if part["tokens"]]
    gaps = [part["tokens"] * abs(part["confidence"] - part["accuracy"]) for part in parts]
    error = sum(gaps) / sum(part["tokens"] for part in parts)
    assert calibration["expected_calibration_error"] == pytest.approx(error, rel=1e-9)
    return calibration["expected_calibration_error"]


def test_a_sentence_as_a_table(data_bin: Path, topk: Path) -> None:
    command = [*BERTKD, "inspect", topk, "--sentence", 3]
    lines = run_command([*command, "--data-bin", data_bin]).stdout.splitlines()
    gold, teacher, rest = lines[-1].split(" | ")
    assert gold.strip() == "</s>"
    store = TopKStore.open(topk)
    ids, logprobs = store.sentence(3)
    entries = zip(ids[-1], logprobs[-1], strict=True)
    wanted = [f"{store.symbols()[i]} {math.exp(logprob):.3f}" for i, logprob in entries]
    assert teacher.split("  ") == wanted
    assert rest.startswith("rest 0.")
    # The store alone knows its symbols too.
    alone = run_command(command).stdout.splitlines()
    assert [line.split(" | ")[1] for line in alone] == [line.split(" | ")[1] for line in lines]


def test_a_damaged_store_is_found(tmp_path: Path, topk: Path) -> None:
    copy = Path(shutil.copytree(topk, tmp_path / "topk"))
    with open(copy / "logprobs.npy", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x00")
    done = run_command([*BERTKD, "inspect", copy, "--verify"], check=False)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {copy} differs from its checksums in logprobs.npy, block 0. "
        "Dump it again with `bertkd dump-topk --force`.\n",
    )
