"""``bertkd curves``: several training logs on one plot."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from bertkd_fairseq.analysis.curves.plot import METRICS, metrics, plot
from bertkd_fairseq.analysis.curves.training_log import read_log, write_csv
from bertkd_fairseq.cli.reports import named_files
from bertkd_fairseq.errors import ConfigurationError, DataError, must_be, raise_all
from bertkd_fairseq.text.outputs import output_problems

EXAMPLE = "bertkd curves logs/teacher.log logs/plain.log --run distilled=kd/train.log"

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
        help="a log and how to name its run; repeat it for several runs",
    )
    parser.add_argument("--dest", default="curves.png", metavar="PNG", help="picture to write")
    parser.add_argument("--csv", metavar="FILE", help="table; beside the picture if not given")
    parser.add_argument("--title", default="", help="above the picture")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Write the PNG and the CSV."""
    dest = Path(args.dest)
    table = Path(args.csv) if args.csv else dest.with_suffix(".csv")
    logs, errors = _logs(args)
    if dest.suffix != ".png":
        errors.append(must_be("--dest", "a file that ends in .png", dest))
    errors += output_problems({"--dest": dest, "--csv": table}, force=args.force)
    raise_all(errors, ConfigurationError)
    runs = {name: read_log(file) for name, file in logs.items()}
    if not metrics(runs):
        names = ", ".join(METRICS)
        raise DataError(
            f"At least one log must have one of {names}, but {' '.join(logs.values())} have none."
        )
    write_csv(runs, table)
    drawn = plot(runs, dest, args.title)
    log.info("%s: %s of %d runs; numbers in %s", dest, ", ".join(drawn), len(runs), table)
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
