"""``bertkd rescore``: choose among the translations of an n-best list by what a teacher thinks of them."""

from __future__ import annotations

import argparse
import logging

from bertkd_fairseq.cli.reports import write_json
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.rescore.config import RescoreConfig
from bertkd_fairseq.rescore.run import rescore
from bertkd_fairseq.rescore.text import format_rescored
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments

EXAMPLE = (
    "bertkd rescore --nbest test.out --data-bin data-bin --path teacher/checkpoint_best.pt "
    "--tune-nbest valid.out --output rescored.out"
)
CONFIG = RescoreConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd rescore``."""
    add_settings(parser, RescoreConfig)
    parser.add_argument("--json", metavar="FILE", help="write the report there as JSON, too")


def run(args: argparse.Namespace) -> int:
    """Write the lists in their new order and print what that scores."""
    logging.getLogger("sacrebleu").setLevel(logging.WARNING)
    config = from_arguments(RescoreConfig, args)
    raise_all(config.problems({"--json": args.json}))
    rescored = rescore(config)
    write_json("bertkd rescore", args.json, rescored.report())
    print(format_rescored(rescored))
    return 0
