"""``bertkd curves``: several training logs on one plot."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from bertkd_fairseq.cli.options import named_files, output_problems
from bertkd_fairseq.errors import ConfigurationError, must_be, raise_all
from bertkd_fairseq.training_log import plot, read_log, write_csv

EXAMPLE = "bertkd curves --run plain=plain/train.log --run distilled=kd/train.log --dest curves.png"

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd curves``."""
    parser.add_argument(
        "--run",
        action="append",
        required=True,
        metavar="NAME=LOG",
        help="log of fairseq-train (--log-format simple or json); repeat it for several runs",
    )
    parser.add_argument("--dest", default="curves.png", metavar="PNG", help="picture to write")
    parser.add_argument("--csv", metavar="FILE", help="table; beside the picture if not given")
    parser.add_argument("--title", default="", help="above the picture")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Write the PNG and the CSV."""
    dest = Path(args.dest)
    table = Path(args.csv) if args.csv else dest.with_suffix(".csv")
    logs, errors = named_files("--run", "NAME=LOG", args.run)
    errors += output_problems(dest=dest, csv=args.csv)
    if dest.suffix != ".png":
        errors.append(must_be("--dest", "a file that ends in .png", dest))
    for path in (dest, table):
        if path.exists() and not args.force:
            errors.append(f"`{path}` exists already. Use another name, or --force to replace it.")
    raise_all(errors, ConfigurationError)
    runs = {name: read_log(file) for name, file in logs.items()}
    write_csv(runs, table)
    drawn = plot(runs, dest, args.title)
    log.info("%s: %s of %d runs; numbers in %s", dest, ", ".join(drawn), len(runs), table)
    return 0
