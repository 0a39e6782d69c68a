"""``bertkd average``: one checkpoint whose parameters are the mean of several."""

from __future__ import annotations

import argparse

from bertkd_fairseq.averaging.config import AverageConfig
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments

EXAMPLE = "bertkd average --save-dir student --last 5 --output student/average_last5.pt"
CONFIG = AverageConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd average``."""
    add_settings(parser, AverageConfig)


def run(args: argparse.Namespace) -> int:
    """Write the average and print what went into it."""
    config = from_arguments(AverageConfig, args)
    raise_all(config.problems())
    from bertkd_fairseq.averaging.checkpoints import average  # loads torch

    paths = average(config)
    print("\n".join(["mean of", *(f"  {path}" for path in paths), f"in {config.output}"]))
    return 0
