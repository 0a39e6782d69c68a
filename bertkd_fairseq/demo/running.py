"""Run a demo's stages one after the other: each once, with progress, from where an interrupted run left it.

A stage is a subprocess with a log under ``DEST/logs``, whose first line is the command. ``DEST/stages.json`` records
what was begun with which command and what is done: the same command continues, another one starts over.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

from bertkd_fairseq.demo.folder import RECORD, remove_product
from bertkd_fairseq.demo.stages import Stage, log_file
from bertkd_fairseq.errors import BertKDError
from bertkd_fairseq.files import whole_file
from bertkd_fairseq.installed import user_dir
from bertkd_fairseq.process.groups import end_group
from bertkd_fairseq.progress import Progress

_SECONDS_TO_END = 3.0
"""How long a child has to end by itself when it is asked to."""

_SECONDS_BETWEEN_LOOKS = 0.5

log = logging.getLogger(__name__)


class StageError(BertKDError):
    """A stage that ended with an error; the message has the end of its log."""


class Record:
    """What was begun and done before in a demo's folder, by the name of the stage."""

    def __init__(self, dest: Path) -> None:
        self.dest = dest
        self.path = dest / RECORD
        known = json.loads(self.path.read_text("utf-8")) if self.path.is_file() else {}
        self.precision: str | None = known.get("precision")
        self.stages: dict[str, dict[str, Any]] = known.get("stages", {})

    def is_done(self, stage: Stage) -> bool:
        """Tell whether this very command has been completed and its result is still there."""
        seen = self.stages.get(stage.name, {})
        return seen.get("argv") == stage.argv and bool(seen.get("done")) and stage.result.exists()

    def was_begun(self, stage: Stage) -> bool:
        """Tell whether this very command was begun and didn't end: it continues."""
        seen = self.stages.get(stage.name, {})
        return seen.get("argv") == stage.argv and not seen.get("done")

    def seconds(self, stage: Stage) -> float:
        """Return what the stage has taken so far, in all attempts of this command."""
        return float(self.stages[stage.name]["seconds"])

    def begin(self, stage: Stage) -> None:
        """Record that the stage runs from now on, and that the stages behind it have to run again."""
        earlier = self.seconds(stage) if self.was_begun(stage) else 0.0
        names = list(self.stages)
        kept = names[: names.index(stage.name)] if stage.name in names else names
        self.stages = {name: self.stages[name] for name in kept}
        self.stages[stage.name] = {"argv": stage.argv, "seconds": earlier, "done": False}
        self.write()

    def end(self, stage: Stage, seconds: float, *, done: bool) -> None:
        """Record the end of an attempt."""
        seen = self.stages[stage.name]
        seen |= {"seconds": round(seen["seconds"] + seconds, 1), "done": done}
        self.write()

    def write(self) -> None:
        """Write what is known now."""
        with whole_file(self.path) as partial:
            known = {"precision": self.precision, "stages": self.stages}
            partial.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


def run_stage(stage: Stage, record: Record) -> float:
    """Run a stage unless it is done, and return the seconds that it took.

    :raises StageError: if its command fails.
    """
    if record.is_done(stage):
        log.info("  done before, in %.1f s", record.seconds(stage))
        return record.seconds(stage)
    continues = record.was_begun(stage)
    if not continues:
        for path in stage.products:
            remove_product(record.dest, path)
    record.begin(stage)
    start = time.monotonic()
    try:
        code = _run_command(stage, record.dest, continues)
    except KeyboardInterrupt:
        record.end(stage, time.monotonic() - start, done=False)
        log.info("interrupted in stage %s; the same command continues there", stage.name)
        raise
    done = code == 0 and stage.result.exists()
    record.end(stage, time.monotonic() - start, done=done)
    if not done:
        path = log_file(record.dest, stage.name)
        tail = "\n".join(path.read_text("utf-8", errors="replace").splitlines()[-15:])
        raise StageError(
            f"stage {stage.name} failed with exit code {code}. The end of {path}:\n{tail}"
        )
    log.info("  done in %.1f s", record.seconds(stage))
    return record.seconds(stage)


def _run_command(stage: Stage, dest: Path, continues: bool) -> int:
    """Run the stage's command to its end, showing its progress, and return its exit code.

    However this ends, no process of the stage is left.
    """
    env = dict(os.environ)
    package = user_dir()
    if "site-packages" not in package.parts:  # a checkout: children must find it from any folder
        paths = (str(package.parent), env.get("PYTHONPATH"))
        env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    path = log_file(dest, stage.name)
    with path.open("a" if continues else "w", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(stage.argv)}\n")
        file.flush()
        # A session of its own: a signal to its group reaches all that it starts, and Ctrl-C comes through us alone.
        process = subprocess.Popen(
            stage.argv, stdout=file, stderr=file, env=env, start_new_session=True
        )
        try:
            return _watch(process, stage, path)
        finally:
            end_group(process, _SECONDS_TO_END)


def _watch(process: subprocess.Popen[bytes], stage: Stage, path: Path) -> int:
    watched = stage.watched or path
    begin = watched.stat().st_size if watched.exists() else 0
    progress: Progress | None = None
    try:
        while True:
            try:
                return process.wait(timeout=_SECONDS_BETWEEN_LOOKS)
            except subprocess.TimeoutExpired:
                count = stage.count(_new_text(watched, begin))
            if count is None:
                continue
            if progress is None:
                progress = Progress(stage.name, stage.total, stage.unit, done=count)
            progress.add(count - progress.done)
    finally:
        if progress is not None:
            progress.close()


def _new_text(path: Path, begin: int) -> str:
    """Return what this attempt has written."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        if path.stat().st_size >= begin:
            file.seek(begin)
        return file.read().decode("utf-8", errors="replace")
