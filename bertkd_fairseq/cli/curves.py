"""``bertkd curves``: several training logs on one plot."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from bertkd_fairseq.analysis.curves.run import CurvesConfig, plot_curves
from bertkd_fairseq.cli.reports import named_files
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments

EXAMPLE = "bertkd curves logs/teacher.log logs/plain.log --run distilled=kd/train.log"
CONFIG = CurvesConfig

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd curves``."""
    parser.add_argument(
        "logs",
        nargs="*",
        default=[],
        metavar="LOG",
        help="logs of fairseq-train (--log-format simple or json), each named by its file: "
        "logs/plain.log is the run plain",
    )
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="NAME=LOG",
        help="a log and the name of its run; repeat the option for several runs",
    )
    add_settings(parser, CurvesConfig)


def run(args: argparse.Namespace) -> int:
    """Write the PNG and the CSV."""
    logs, problems = _logs(args)
    config = from_arguments(CurvesConfig, args, logs=logs)
    raise_all(problems + config.problems())
    curves = plot_curves(config)
    facts = (curves.picture, ", ".join(curves.metrics), curves.num_runs, curves.table)
    log.info("%s: %s of %d runs; numbers in %s", *facts)
    return 0


def _logs(args: argparse.Namespace) -> tuple[dict[str, str], list[str]]:
    """Return the log of each run by its name, and what is wrong with them."""
    named, problems = named_files("--run", "NAME=LOG", args.run)
    logs: dict[str, str] = {}
    for name, file in [(Path(file).stem, file) for file in args.logs] + named:
        if name in logs:
            problems.append(
                f"Each run must have a name of its own, but {logs[name]} and {file} are both "
                f"{name!r}. Name one with --run NAME={file}."
            )
        logs.setdefault(name, file)
    if not logs and not problems:
        problems.append("At least one `LOG` or `--run NAME=LOG` must be given.")
    return logs, problems
