"""``bertkd average``: one checkpoint whose parameters are the mean of several."""

from __future__ import annotations

import argparse
from pathlib import Path

from bertkd_fairseq.errors import must_be, raise_all
from bertkd_fairseq.files import whole_file
from bertkd_fairseq.text.outputs import output_problems

EXAMPLE = "bertkd average --save-dir student --last 5 --output student/average_last5.pt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd average``."""
    which = parser.add_argument_group("checkpoints (--inputs, or --save-dir with --last or --best)")
    which.add_argument("--inputs", nargs="+", type=Path, metavar="FILE", help="these")
    which.add_argument("--save-dir", type=Path, metavar="DIR", help="of one training")
    which.add_argument(
        "--last", type=int, metavar="N", help="the last N by update, or by epoch if there are none"
    )
    which.add_argument(
        "--best", action="store_true", help="all that fairseq's --keep-best-checkpoints kept"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the average")
    parser.add_argument("--force", action="store_true", help="replace a file at --output")


def run(args: argparse.Namespace) -> int:
    """Write the average and print what went into it."""
    _check(args)
    import torch

    from bertkd_fairseq.averaging import average_checkpoints, best_checkpoints, last_checkpoints

    if args.inputs:
        paths = args.inputs
    elif args.best:
        paths = best_checkpoints(args.save_dir)
    else:
        paths = last_checkpoints(args.save_dir, args.last)
    average = average_checkpoints(paths)
    # Opened here: given a name, torch would not say that the disk is full.
    with whole_file(args.output) as partial, partial.open("wb") as file:
        torch.save(average, file)
    print("\n".join(["mean of", *(f"  {path}" for path in paths), f"in {args.output}"]))
    return 0


def _check(args: argparse.Namespace) -> None:
    """:raises ConfigurationError: with everything that is wrong with the options."""
    errors = output_problems({"--output": args.output}, force=args.force)
    chosen = [bool(args.inputs), args.last is not None, args.best]
    if sum(chosen) != 1:
        errors.append("Exactly one of `--inputs`, `--last` and `--best` must be given.")
    elif bool(args.inputs) == bool(args.save_dir):
        errors.append("`--save-dir` must be given with `--last` or `--best`, and only there.")
    if args.inputs and len(args.inputs) < 2:
        errors.append(must_be("--inputs", "at least 2 files", len(args.inputs)))
    if args.last is not None and args.last < 2:
        errors.append(must_be("--last", "at least 2", args.last))
    raise_all(errors)
