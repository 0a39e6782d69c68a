"""The benchmarks run, on toys: what they print is for quiet machines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.conftest import CHECKOUT, run_command


def test_bench_dump(tmp_path: Path, data_bin: Path, teacher: Path) -> None:
    script = CHECKOUT / "benchmarks" / "bench_dump.py"
    options = [
        "--sentences",
        40,
        "--repeats",
        1,
        "--precision",
        "bf16",
        "--json",
        tmp_path / "result.json",
    ]
    output = run_command([sys.executable, script, data_bin, teacher, *options]).stdout
    assert output.startswith("40 sentences, ")
    seconds = json.loads((tmp_path / "result.json").read_text())["seconds"]
    assert len(seconds) == 5
    assert all(value > 0 for value in seconds.values())


def test_bench_store(tmp_path: Path) -> None:
    script = CHECKOUT / "benchmarks" / "bench_store.py"
    options = ["--gigabytes", 0.01, "--disk-gigabytes", 0.01, "--repeats", 1]
    run_command([sys.executable, script, *options, "--json", tmp_path / "store.json"])
    values = json.loads((tmp_path / "store.json").read_text())
    assert values["blocks"] == 6
    assert all(value > 0 for name, value in values.items() if not name.startswith(("disk", "mem")))


def test_bench_loss_compares_in_one_run(tmp_path: Path) -> None:
    bench = [sys.executable, CHECKOUT / "benchmarks" / "bench_loss.py", "--symbols", 50]
    run_command([*bench, "--repeats", 1, "--device", "cpu", "--json", tmp_path / "loss.json"])
    rows = json.loads((tmp_path / "loss.json").read_text())
    assert list(rows) == ["V = 50, float32", "V = 50, bfloat16"]
    assert all(set(ways) == {"fairseq", "plain KD", "ours"} for ways in rows.values())


def test_bench_train_takes_updates_of_every_way(tmp_path: Path, data_bin: Path, topk: Path) -> None:
    bench = [sys.executable, CHECKOUT / "benchmarks" / "bench_train.py", data_bin, topk]
    options = ("--updates", 1, "--device", "cpu", "--json", tmp_path / "train.json")
    run_command([*bench, *options])
    ratios = json.loads((tmp_path / "train.json").read_text())["ratios"]
    assert ratios["plain"] == 1
    assert set(ratios) == {"plain", "distilled", "distilled + SimCut", "distilled + R-Drop"}
