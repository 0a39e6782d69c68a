"""``bertkd inspect``: signature, statistics and single sentences of a teacher store; students beside it."""

from __future__ import annotations

import argparse

from bertkd_fairseq.analysis.inspect.config import InspectConfig
from bertkd_fairseq.analysis.inspect.run import inspect_store
from bertkd_fairseq.analysis.inspect.text import format_inspection, format_sentence
from bertkd_fairseq.cli.reports import named_files, write_json
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments
from bertkd_fairseq.text.outputs import output_problems

EXAMPLE = "bertkd inspect topk --data-bin data-bin --verify --plot topk.png"
CONFIG = InspectConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd inspect``."""
    add_settings(parser, InspectConfig)
    parser.add_argument(
        "--student",
        action="append",
        default=[],
        metavar="NAME=CHECKPOINT",
        help="compare a student with the teacher: its accuracy on tokens that the teacher predicts correctly, and on "
        "the others. Repeat the option for several",
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers there as JSON, too")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for."""
    students, problems = named_files("--student", "NAME=CHECKPOINT", args.student)
    config = from_arguments(InspectConfig, args, students=students)
    outputs = {"--plot": args.plot, "--json": args.json}
    problems += output_problems(outputs, force=args.force, force_name="--force") + config.problems()
    if args.sentence is not None and args.json:
        problems.append("--sentence shows one sentence alone: leave out --json.")
    raise_all(problems)
    found = inspect_store(config)
    write_json("bertkd inspect", args.json, found.report())
    print(format_inspection(found) if found.sentence is None else format_sentence(found.sentence))
    return 0
