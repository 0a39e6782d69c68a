"""The benchmarks run, on toys: what they print is for quiet machines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.conftest import CHECKOUT, run_command


def test_bench_dump(tmp_path: Path, data_bin: Path, teacher: Path) -> None:
    script = CHECKOUT / "benchmarks" / "bench_dump.py"
    options = ["--sentences", 40, "--repeats", 1, "--json", tmp_path / "result.json"]
    output = run_command([sys.executable, script, data_bin, teacher, *options]).stdout
    assert output.startswith("40 sentences, ")
    seconds = json.loads((tmp_path / "result.json").read_text())["seconds"]
    assert len(seconds) == 5
    assert all(value > 0 for value in seconds.values())
