"""``bertkd dump-topk``: from a trained teacher and a data-bin to a teacher store."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bertkd_fairseq.cli.reports import add_json, json_problems, write_json
from bertkd_fairseq.dump.config import DumpConfig
from bertkd_fairseq.dump.run import dump_topk, estimate_dump
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments

EXAMPLE = "bertkd dump-topk data-bin --path teacher/checkpoint_best.pt --destdir topk --topk 8"
CONFIG = DumpConfig
COMMAND = "bertkd dump-topk"
_TORCHRUN = {"num_shards": "WORLD_SIZE", "shard_id": "RANK", "local_rank": "LOCAL_RANK"}
"""Settings that torchrun gives to the processes that it starts, and in which variables."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd dump-topk``."""
    add_settings(parser, DumpConfig)
    for name, variable in _TORCHRUN.items():
        parser.set_defaults(**{name: int(os.environ.get(variable) or getattr(DumpConfig, name))})
    text = "make nothing; estimate size and time from a few sentences"
    parser.add_argument("--dry-run", action="store_true", help=text)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Dump, or continue an interrupted dump, and print a summary."""
    config = from_arguments(DumpConfig, args, local_rank=args.local_rank)
    problems = config.problems() + json_problems(COMMAND, args.json, config.destdir)
    raise_all(problems if args.dry_run else problems + config.dest_problems())
    if args.dry_run:
        _report(asdict(estimate_dump(config)), args.json)
    elif summary := dump_topk(config).summary():
        _report(summary, args.json)
    return 0


def _report(summary: Mapping[str, Any], json: str | None) -> None:
    write_json(COMMAND, json, summary)
    print("\n".join(f"{name:<18} {value}" for name, value in summary.items()))
