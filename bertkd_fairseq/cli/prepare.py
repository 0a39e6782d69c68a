"""``bertkd prepare``: parallel text to a data-bin."""

from __future__ import annotations

import argparse

from bertkd_fairseq.cli.reports import add_json, json_problems, write_json
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments
from bertkd_fairseq.text.prepare import PrepareConfig, prepare
from bertkd_fairseq.text.prepare_report import format_report

EXAMPLE = (
    "bertkd prepare --source-lang de --target-lang en --train data/train --valid data/valid "
    "--test data/test --tokenizer bert-base-multilingual-cased --destdir data-bin"
)
CONFIG = PrepareConfig
COMMAND = "bertkd prepare"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd prepare``."""
    add_settings(parser, PrepareConfig)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare the data-bin and print the report."""
    config = from_arguments(PrepareConfig, args)
    raise_all(json_problems(COMMAND, args.json, config.destdir) + config.problems())
    prepared = prepare(config)
    write_json(COMMAND, args.json, prepared.report)
    print(format_report(prepared, config.destdir))
    return 0
