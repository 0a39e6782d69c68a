"""What the benchmarks share: clocks, the options that every one has, and their results as JSON."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from bertkd_fairseq.precision import AUTO, CHOICES

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options ``--clock``, ``--device`` and ``--json``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--device", default=device)
    parser.add_argument("--json", type=Path)
    return parser


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add ``--precision``, as in the trainings and the dump."""
    parser.add_argument("--precision", choices=CHOICES, default=AUTO)


def write_json(path: Path | None, results: dict[str, Any]) -> None:
    """Write what was measured, if ``--json`` asked for it."""
    if path:
        path.write_text(json.dumps(results, indent=1) + "\n")
