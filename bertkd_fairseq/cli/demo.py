"""``bertkd demo``: every stage through the very same commands, on a generated language pair."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from bertkd_fairseq.analysis.curves.training_log import read_log
from bertkd_fairseq.cli.reports import write_json
from bertkd_fairseq.demo.estimate import estimated_seconds
from bertkd_fairseq.demo.folder import COMMAND, make_folder
from bertkd_fairseq.demo.running import Record, run_stage
from bertkd_fairseq.demo.stages import FULL, QUICK, Stage, log_file, plan
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.files import only_process
from bertkd_fairseq.precision import AUTO, CHOICES
from bertkd_fairseq.text.outputs import inside_problems

EXAMPLE = "bertkd demo --dest demo"

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd demo``."""
    parser.add_argument("--dest", default="demo", metavar="DIR", help="folder for all results")
    parser.add_argument("--seed", type=int, default=1, help="of corpus, teacher and students")
    parser.add_argument("--force", action="store_true", help="start over if DIR has a demo already")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="under a minute: shows that every stage runs here, far too short to learn",
    )
    parser.add_argument(
        "--precision",
        choices=[choice for choice in CHOICES if choice != "fp16"],
        default=AUTO,
        help="of all trainings and the dump; auto measures and takes bf16 only where it is faster. "
        "A demo that continues keeps the precision that it began with",
    )


def run(args: argparse.Namespace) -> int:
    """Run what isn't done yet, then print the tables and write ``DEST/demo.json``."""
    dest = Path(args.dest).resolve()
    sizes = QUICK if args.quick else FULL
    raise_all(inside_problems("--dest", dest))
    make_folder(dest, force=args.force)
    with only_process(dest, COMMAND):
        record = Record(dest)
        precision = _precision(args.precision, record)
        seconds = _run_all(plan(dest, sizes, args.seed, precision), record)
    results = {
        "seed": args.seed,
        "quick": args.quick,
        "precision": precision,
        "seconds": seconds,
        **_results(dest),
    }
    write_json("bertkd demo", dest / "demo.json", results)
    print(_summary(results, dest))
    return 0


def _precision(asked: str, record: Record) -> str:
    """Return the precision that the demo began with, or the one asked for, measured where that is ``auto``."""
    import torch

    from bertkd_fairseq import precision

    if asked == AUTO and record.precision in precision.PRECISIONS:
        return str(record.precision)
    if not (asked == AUTO and torch.cuda.is_available()):  # on a GPU, trainings and dump differ
        asked = precision.choose(asked)
    record.precision = asked
    record.write()
    return asked


def _run_all(stages: list[Stage], record: Record) -> dict[str, float]:
    """Run what isn't done, after saying how long it will take, and return the seconds of every stage."""
    if not all(map(record.is_done, stages)):
        seconds = estimated_seconds(stages, record)
        log.info("this will take about %s here", _minutes(seconds))
    seconds_of = {}
    for i, stage in enumerate(stages, 1):
        log.info("[%d/%d] %s: %s", i, len(stages), stage.name, stage.purpose)
        seconds_of[stage.name] = run_stage(stage, record)
    return seconds_of


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _results(dest: Path) -> dict[str, Any]:
    valid = [point for point in read_log(log_file(dest, "teacher")) if point.split == "valid"]
    best = min(valid, key=lambda point: point.values["loss"])
    return {
        "scores": json.loads((dest / "scores.json").read_text("utf-8")),
        "dump": json.loads((dest / "topk.json").read_text("utf-8")),
        "teacher": {key: best.values[key] for key in ("masked_accuracy", "ppl")},
        "curves": str(dest / "curves.png"),
        "report": str(dest / "compare.html"),
    }


def _summary(results: dict[str, Any], dest: Path) -> str:
    """Return the tables that the demo ends with."""
    seconds = results["seconds"]
    lines = [f"{'stage':<19}  seconds", *(f"{n:<19}  {s:7.1f}" for n, s in seconds.items())]
    lines += [f"{'all':<19}  {sum(seconds.values()):7.1f}", ""]
    compared = log_file(dest, "compare").read_text("utf-8").splitlines()
    header = next(i for i, line in enumerate(compared) if line.startswith("system"))
    lines += [*compared[header:], ""]
    teacher, dump = results["teacher"], results["dump"]
    lines += [
        f"teacher on valid: masked accuracy {teacher['masked_accuracy']:.1f}% (the closing token "
        f"apart), perplexity {teacher['ppl']:.2f}",
        f"dump: {dump['bytes_per_token']} bytes a token, {dump['tokens']} tokens",
        f"report with plots: {results['report']}",
        f"curves: {results['curves']}",
        f"all numbers: {dest / 'demo.json'}",
    ]
    if results["quick"]:
        lines.append("--quick: far too short to learn anything; the scores mean nothing.")
    return "\n".join(lines)
