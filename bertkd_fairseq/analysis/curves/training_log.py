"""Read the logs of fairseq-train: what a training run logged, at which update, after how long."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.files import whole_file
from bertkd_fairseq.text.lines import read_lines

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \| INFO \| (.*)")
# What fairseq-hydra-train puts before a message, in Hydra's own format.
_HYDRA = re.compile(r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+\]\[([\w.]+)\]\[INFO\] - ")
_STATISTICS = re.compile(r"(train_inner|train|valid\w*) \| (.*)")
_SIMPLE_INTERVAL = re.compile(r"epoch \d+:\s+\d+ / \d+ (.*)")
# What training itself logs, and so takes part in its time: modules and other processes speak before it begins.
_TRAINING = re.compile(rf"(fairseq_cli\.train|fairseq\.trainer) \| |{_STATISTICS.pattern}")
# The configuration is the first thing that training logs; then where it continues, if it does.
_ATTEMPT = re.compile(r"fairseq_cli\.train \| (\{|Namespace\()")
_CONTINUES = re.compile(r"fairseq\.trainer \| Loaded checkpoint .* @ (\d+) updates\)")
_FROM_NOTHING = "fairseq.trainer | No existing checkpoint found"


@dataclass(frozen=True)
class Point:
    """What a run logged at one update; ``split`` is ``train_inner``, ``train`` or ``valid``.

    ``seconds`` is the time spent on the run until then, in all attempts together.
    """

    split: str
    update: int
    seconds: float
    values: dict[str, float]


def read_log(path: str | Path) -> list[Point]:
    """Return the points of a log (``--log-format json``, ``simple`` or ``tqdm``) by update, Hydra's too.

    A log may hold several attempts at one run, one after the other. Each continues from a
    checkpoint: what had been logged beyond it is dropped, an update that is seen twice keeps the
    later line, and time adds up over the attempts, without the pauses between them. An attempt that
    finds no checkpoint begins another run: what stands before it in the file is left out, with its time.

    :raises DataError: if there is no such file or no statistics in it.
    """
    points: dict[tuple[str, int], Point] = {}
    clock = _Clock()
    for line in read_lines(path):
        if not (match := _LINE.search(_HYDRA.sub(r"\1 | INFO | \2 | ", line))):
            continue
        message = match[2]
        if not _TRAINING.match(message):
            continue
        if _ATTEMPT.match(message):
            clock.pause()
        clock.read(match[1])
        start = _start_of_attempt(message)
        if start is not None:
            points = {key: p for key, p in points.items() if p.update <= start} if start else {}
        if start == 0:
            clock.forget_earlier_attempts()
        if not (statistics := _STATISTICS.match(message)):
            continue
        split, values = statistics[1], _numbers(statistics[1], statistics[2])
        update = values.pop("num_updates", None)
        if update is not None:
            points[split, int(update)] = Point(split, int(update), clock.seconds, values)
    if not points:
        raise DataError(
            f"`{path}` must be a log of fairseq-train, but holds no line of statistics. "
            "Keep what `fairseq-train --log-format simple --log-interval 100` prints, by "
            f"`> {path} 2>&1`: the lines of its `--log-file` have no time."
        )
    return sorted(points.values(), key=lambda point: point.update)


class _Clock:
    """Adds up the time between lines, less the pauses between attempts."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._before = 0.0  # of earlier attempts
        self._last: datetime | None = None

    def pause(self) -> None:
        self._before, self._last = self.seconds, None

    def forget_earlier_attempts(self) -> None:
        self.seconds -= self._before
        self._before = 0.0

    def read(self, stamp: str) -> None:
        now = datetime.fromisoformat(stamp)
        if self._last is not None:  # a clock that was set back mustn't take time away
            self.seconds += max(0.0, (now - self._last).total_seconds())
        self._last = now


def _start_of_attempt(message: str) -> int | None:
    """Return the update from which this attempt goes on, where ``message`` says it."""
    if message.startswith(_FROM_NOTHING):
        return 0
    found = _CONTINUES.match(message)
    return int(found[1]) if found else None


def _numbers(split: str, message: str) -> dict[str, float]:
    """Return the numbers of one message, whichever of fairseq's formats it has."""
    pairs: list[tuple[str, Any]]
    if message.startswith("{"):
        try:
            stats = json.loads(message)
        except ValueError:  # the line was being written when the run was stopped
            return {}
        pairs = [(key.removeprefix(f"{split}_"), value) for key, value in stats.items()]
    elif interval := _SIMPLE_INTERVAL.match(message):
        pairs = [tuple(part.split("=", 1)) for part in interval[1].split(", ") if "=" in part]  # type: ignore[misc]
    else:
        parts = (part.split() for part in message.split("|"))
        pairs = [(part[0], part[1]) for part in parts if len(part) == 2]
    values = {}
    for key, value in pairs:
        try:
            values[key] = float(value)
        except (TypeError, ValueError):  # None, or the name of a subset
            continue
    return values


def curve(points: Sequence[Point], split: str, metric: str) -> list[Point]:
    """Return the points of one metric; ``train`` falls back to one an epoch."""
    if split == "train" and any(p.split == "train_inner" and metric in p.values for p in points):
        split = "train_inner"
    return [p for p in points if p.split == split and metric in p.values]


def write_csv(runs: Mapping[str, Sequence[Point]], path: str | Path) -> None:
    """Write every number of every run: run, split, update, seconds, metric, value."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("run", "split", "update", "seconds", "metric", "value"))
        for name, points in runs.items():
            for point in points:
                for metric, value in point.values.items():
                    row = (point.split, point.update, point.seconds, metric, value)
                    writer.writerow((name, *row))
