"""Keep the results: one row for every arm and seed, in a JSON file that is committed as rows are added."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arms import RECIPE, Ladder, Student

from bertkd_fairseq.analysis.curves.training_log import read_log
from bertkd_fairseq.errors import DataError, must_be
from bertkd_fairseq.files import whole_file

Row = dict[str, Any]
OF_TEACHERS = ("accuracy", "gold_in_top_k", "gold_perplexity")
"""What is kept of the statistics of ``bertkd inspect``, without EOS, beside the calibration error."""


def read(path: Path) -> list[Row]:
    """Return the rows of a file, or none if there is no file.

    :raises DataError: if the file holds something else.
    """
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text("utf-8"))["rows"]
        [(row["arm"], row["seed"], row["settings"]) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            must_be(str(path), "rows of the ladder", f"unreadable ({error})")
        ) from error
    return rows


def is_again(arm: str, again: str) -> bool:
    """Return whether the rows of an arm are made anew. ``again`` is an arm, ``all``, or nothing."""
    return again in (arm, "all")


def missing(ladder: Ladder, rows: Sequence[Row], again: str = "") -> list[Student]:
    """Return the students of the table without a row. Rows of the arm ``again`` don't count (``all``: of any arm)."""
    done = {Student(row["arm"], row["seed"]) for row in rows if not is_again(row["arm"], again)}
    return [student for student in ladder.students() if student not in done]


def outdated(ladder: Ladder, rows: Sequence[Row], again: str = "") -> list[str]:
    """Return a message for every arm with a row that was made with other settings than the table has."""
    arms = {
        row["arm"]: None
        for row in rows
        if row["arm"] in ladder.arms and not is_again(row["arm"], again)
        if row["settings"] != ladder.fingerprint(row["arm"])
    }
    return [
        f"The results of {arm} were made with other settings than the table has now. "
        f"Give the new settings a name of their own, or run `doit again={arm}`."
        for arm in arms
    ]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process works on a file, because several arms may end at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def add(path: Path, row: Row, ladder: Ladder) -> None:
    """Put a row into the file in the order of the table. It replaces an earlier one. Call this only when locked."""
    student = (row["arm"], row["seed"])
    rows = [old for old in read(path) if (old["arm"], old["seed"]) != student]
    order = {name: i for i, name in enumerate(ladder.arms)}
    rows = sorted(
        [*rows, row], key=lambda r: (order.get(r["arm"], len(order)), r["arm"], r["seed"])
    )
    _write(path, "rows", rows)


def add_teacher(path: Path, corpus: str, teacher: str, work: Path) -> None:
    """Put what ``bertkd inspect`` says of a teacher into a file beside that of the rows. Call this only when locked."""
    path = path.with_name(f"{path.stem}_teachers.json")
    old = json.loads(path.read_text("utf-8"))["teachers"] if path.exists() else []
    row: Row = {"corpus": corpus, "teacher": teacher}
    for split in ("train", "valid"):
        found = json.loads((work / f"{teacher}.{split}.json").read_text("utf-8"))["statistics"]
        error = found["calibration"]["expected_calibration_error"]
        row[split] = {name: found[name] for name in OF_TEACHERS} | {"calibration_error": error}
    kept = [each for each in old if (each["corpus"], each["teacher"]) != (corpus, teacher)]
    _write(path, "teachers", [*kept, row])


def _write(path: Path, name: str, rows: Sequence[Row]) -> None:
    # Each row has its own line, so git can merge the results of two machines.
    lines = ",\n".join(json.dumps(row) for row in rows)
    with whole_file(path) as partial:
        partial.write_text(f'{{"{name}": [\n{lines}\n]}}\n', "utf-8")


def make(ladder: Ladder, student: Student, work: Path, subsets: Sequence[str]) -> Row:
    """Return the row of a student from what ``student.sh`` and ``score.sh`` have left in ``work``."""
    arm = ladder.arms[student.arm]
    updates = int(arm.settings["UPDATES"])
    row: Row = {
        "arm": arm.name,
        "seed": student.seed,
        "against": arm.against,
        "settings": ladder.fingerprint(arm.name),
    }
    row |= {
        "commit": _commit(),
        "cpu": _cpu(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "1")),
    }
    row |= {"precision": (work / "precision").read_text().strip(), "updates": updates}
    # A training that continues to more updates has a further log.
    logs = [
        f for f in (work / "logs").glob(f"{student}.*.log") if int(f.name.split(".")[-2]) <= updates
    ]
    row["seconds"] = round(sum(read_log(log)[-1].seconds for log in logs))
    found = re.findall(
        r"nll_loss\W+([\d.]+)", (work / "logs" / f"validate_{student}.{updates}.log").read_text()
    )
    row["valid_nll"] = float(found[-1])
    for subset in subsets:
        scores = json.loads(
            (work / f"{student}.{updates}" / f"scores.{subset}.json").read_text("utf-8")
        )
        row[f"{subset}_bleu"] = round(scores["scores"][str(student)]["bleu"]["score"], 4)
        row["signature"] = scores["signatures"]["bleu"]
    return row


def _commit() -> str:
    """Return the checkout's commit, with a + if code has changed since."""
    git = ["git", "-C", str(RECIPE)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        )
        code = [str(RECIPE.parent), str(RECIPE.parent.parent / "bertkd_fairseq")]
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *code])
    except OSError:
        return "unknown"
    return (
        head.stdout.strip() + ("+" if changed.returncode else "")
        if head.returncode == 0
        else "unknown"
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    found = (
        re.search(r"^model name\s*: (.+)$", info.read_text(), re.MULTILINE)
        if info.exists()
        else None
    )
    return found[1].strip() if found else platform.processor() or platform.machine()
