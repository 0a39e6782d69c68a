"""Run the whole demo: one call, with a :class:`DemoConfig`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bertkd_fairseq.analysis.curves.training_log import read_log
from bertkd_fairseq.demo.estimate import estimated_seconds
from bertkd_fairseq.demo.folder import COMMAND, RESULTS, make_folder
from bertkd_fairseq.demo.running import Record, run_stage
from bertkd_fairseq.demo.stages import (
    COMPARED,
    CURVES,
    DUMPED,
    FULL,
    QUICK,
    SCORES,
    TABLES,
    Stage,
    log_file,
    plan,
)
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.files import only_process
from bertkd_fairseq.precision import AUTO, CHOICES
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.text.outputs import inside_problems

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The settings of :func:`run_demo`."""

    destdir: Path = setting(
        "folder for all results", default=Path("demo"), metavar="DIR", old_option="--dest"
    )
    seed: int = setting("seed of corpus, teacher and students", default=1)
    force: bool = setting("start over if DIR has a demo already", default=False)
    quick: bool = setting(
        "run every stage in under a minute, to see that it works here; far too short to learn anything",
        default=False,
    )
    precision: str = setting(
        "precision of all trainings and the dump; auto measures and takes bf16 only where it is faster. A demo that "
        "continues keeps the precision that it began with",
        default=AUTO,
        choices=[choice for choice in CHOICES if choice != "fp16"],
    )

    @property
    def dest(self) -> Path:
        """The folder, wherever the process goes meanwhile."""
        return self.destdir.resolve()

    def problems(self) -> list[str]:
        """Return what is wrong with the settings."""
        return range_problems(self) + inside_problems(named(self, "destdir"), self.dest)


@dataclass(frozen=True)
class TeacherResults:
    """The best validation of the teacher."""

    masked_accuracy: float
    ppl: float


@dataclass(frozen=True)
class DemoResults:
    """What a demo came to; ``tables`` are those of ``bertkd compare``."""

    dest: Path
    tables: str
    seed: int
    quick: bool
    precision: str
    seconds: dict[str, float]  # by stage
    scores: dict[str, Any]  # the report of `bertkd compare`
    dump: dict[str, Any]  # the report of `bertkd dump-topk`
    teacher: TeacherResults
    curves: str
    html: str  # the report of `bertkd compare` with plots

    def content(self) -> dict[str, Any]:
        """Return what ``DIR/demo.json`` holds."""
        content = asdict(self)
        del content["dest"], content["tables"]
        return content

    def summary(self) -> str:
        """Return the lines that the demo ends with."""
        lines = [
            f"{'stage':<19}  seconds",
            *(f"{stage:<19}  {seconds:7.1f}" for stage, seconds in self.seconds.items()),
            f"{'all':<19}  {sum(self.seconds.values()):7.1f}",
            f"\n{self.tables}\n",
            f"teacher on valid: masked accuracy {self.teacher.masked_accuracy:.1f}% (the closing token "
            f"apart), perplexity {self.teacher.ppl:.2f}",
            f"dump: {self.dump['bytes_per_token']} bytes a token, {self.dump['tokens']} tokens",
            f"report with plots: {self.html}",
            f"curves: {self.curves}",
            f"all numbers: {self.dest / RESULTS}",
        ]
        if self.quick:
            lines.append(
                "A quick demo is far too short to learn anything: the scores mean nothing."
            )
        return "\n".join(lines)


def run_demo(config: DemoConfig, bertkd: Sequence[str]) -> DemoResults:
    """Run what isn't done yet, and return all results.

    :param bertkd: how to call that command, as the beginning of an argv.
    :raises ConfigurationError: if ``destdir`` holds something else, or another demo is at work there.
    :raises StageError: if a stage fails.
    """
    raise_all(config.problems())
    dest = config.dest
    make_folder(dest, force=config.force, name=named(config, "destdir"))
    with only_process(dest, COMMAND):
        record = Record(dest)
        precision = _precision(config.precision, record)
        sizes = QUICK if config.quick else FULL
        seconds = _run_all(plan(dest, sizes, config.seed, precision, bertkd), record)
    return DemoResults(
        dest=dest,
        tables=(dest / TABLES).read_text("utf-8").rstrip(),
        seed=config.seed,
        quick=config.quick,
        precision=precision,
        seconds=seconds,
        scores=json.loads((dest / SCORES).read_text("utf-8")),
        dump=json.loads((dest / DUMPED).read_text("utf-8")),
        teacher=_teacher_results(dest),
        curves=str(dest / CURVES),
        html=str(dest / COMPARED),
    )


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


def _teacher_results(dest: Path) -> TeacherResults:
    valid = [point for point in read_log(log_file(dest, "teacher")) if point.split == "valid"]
    best = min(valid, key=lambda point: point.values["loss"]).values
    return TeacherResults(best["masked_accuracy"], best["ppl"])
