"""``bertkd demo``: every stage through the very same commands, on a generated language pair."""

from __future__ import annotations

import argparse
import sys

from bertkd_fairseq.cli.reports import write_json
from bertkd_fairseq.demo.folder import RESULTS
from bertkd_fairseq.demo.run import DemoConfig, run_demo
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments

EXAMPLE = "bertkd demo --destdir demo"
CONFIG = DemoConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd demo``."""
    add_settings(parser, DemoConfig)


def run(args: argparse.Namespace) -> int:
    """Run what isn't done yet, then print the tables and write ``DIR/demo.json``."""
    bertkd = [sys.executable, "-m", "bertkd_fairseq.cli"]
    results = run_demo(from_arguments(DemoConfig, args), bertkd)
    write_json("bertkd demo", results.dest / RESULTS, results.content())
    print(results.summary())
    return 0
