"""``bertkd explore``: a teacher store as one page to look through, students beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

from bertkd_fairseq.analysis.explore.config import ExploreConfig
from bertkd_fairseq.analysis.explore.data import explore
from bertkd_fairseq.analysis.explore.page import format_page
from bertkd_fairseq.cli.reports import named_files, write_json
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.files import whole_file
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments
from bertkd_fairseq.text.outputs import output_problems

EXAMPLE = "bertkd explore topk --data-bin data-bin --student plain=plain.pt --html explore.html"
CONFIG = ExploreConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd explore``."""
    add_settings(parser, ExploreConfig)
    parser.add_argument(
        "--student",
        action="append",
        default=[],
        metavar="NAME=CHECKPOINT",
        help="show a student's probabilities beside the teacher's. Repeat the option for several",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--html", required=True, metavar="FILE", help="write the page there")
    output.add_argument("--json", metavar="FILE", help="write the numbers there as JSON, too")
    output.add_argument("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Write the page and say what is in it."""
    students, problems = named_files("--student", "NAME=CHECKPOINT", args.student)
    config = from_arguments(ExploreConfig, args, students=students)
    outputs = {"--html": args.html, "--json": args.json}
    problems += output_problems(outputs, force=args.force, force_name="--force")
    raise_all(problems + config.problems())
    found = explore(config)
    with whole_file(args.html) as partial:
        partial.write_text(format_page(found), encoding="utf-8")
    write_json("bertkd explore", args.json, found.report())
    size = Path(args.html).stat().st_size / 1e6
    print(f"{args.html}: {len(found.sentences):,} of {found.in_store:,} sentences, {size:.1f} MB")
    return 0
