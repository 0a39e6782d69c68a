"""``bertkd select``: make a data-bin of hypotheses from n-best lists, beside the reference or in its place."""

from __future__ import annotations

import argparse
import logging

from bertkd_fairseq.cli.reports import add_json, json_problems, write_json
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.selection.config import SelectConfig
from bertkd_fairseq.selection.run import select
from bertkd_fairseq.selection.text import format_selected
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments

EXAMPLE = (
    "bertkd select --nbest train.out --rescored train.rescored.out --by teacher --data-bin data-bin "
    "--destdir selected"
)
CONFIG = SelectConfig
COMMAND = "bertkd select"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd select``."""
    add_settings(parser, SelectConfig)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Make the data-bin and print what was chosen."""
    logging.getLogger("sacrebleu").setLevel(logging.WARNING)
    config = from_arguments(SelectConfig, args)
    raise_all(json_problems(COMMAND, args.json, config.destdir) + config.problems())
    selected = select(config)
    write_json(COMMAND, args.json, selected.report())
    print(format_selected(selected))
    return 0
