"""The experiments as tasks of doit: ``doit -f examples/multi30k_deen/ladder/dodo.py`` runs what is missing.

docs/experiments.md has the commands. Each task is a step (step.py), which continues by itself and skips what is
complete. So doit doesn't have to remember anything: a student is done if it has a row in the results.
"""

import os
import sys
from pathlib import Path

from doit import get_initial_workdir, get_var
from doit.action import CmdAction

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import arms  # noqa: E402
import rows  # noqa: E402
import table  # noqa: E402

from bertkd_fairseq.errors import BertKDError, raise_all, report  # noqa: E402

START = Path(get_initial_workdir())
TABLE = START / os.environ.get("ARMS", HERE / "arms.yaml")
WORK = START / os.environ.get("WORK", f"work/{TABLE.stem}")
RESULTS = START / os.environ.get("RESULTS", HERE.parents[2] / "docs" / "results" / "ladder.json")

AGAIN = get_var("again", "")
try:
    LADDER, ROWS = table.read(TABLE), rows.read(RESULTS)
    raise_all(rows.outdated(LADDER, ROWS, AGAIN))
except BertKDError as error:
    sys.exit(report(error))
MISSING = rows.missing(LADDER, ROWS, AGAIN)
TESTED = {arms.Student(row["arm"], row["seed"]) for row in ROWS if "test_bleu" in row}

DOIT_CONFIG = {
    "default_tasks": ["valid"],
    "num_process": 2,
    "par_type": "thread",  # if doit is killed, no part of it is left, and its steps notice that
    "continue": True,
    "verbosity": 2,
    "backend": "json",
    "dep_file": str(WORK / ".doit.json"),
}
WORK.mkdir(parents=True, exist_ok=True)


def _task(kind: str, name: str, needs: list[str], **more: object) -> dict[str, object]:
    places = {"LADDER_TABLE": TABLE, "LADDER_WORK": WORK, "LADDER_RESULTS": RESULTS}
    env = {**os.environ, **places, "LADDER_AGAIN": AGAIN}
    action = CmdAction(
        [sys.executable, HERE / "step.py", kind, name], shell=False, cwd=START, env=env
    )
    return {"name": name, "actions": [action], "task_dep": needs, **more}


def _students(students):
    """Return the tasks that train students for other tasks. If a student has no score yet, its task scores it, too."""
    return [f"{'valid' if student in MISSING else 'student'}:{student}" for student in students]


def _needs(student):
    arm = LADDER.arms[student.arm]
    return [f"corpus:{arm.corpus}", *([f"store:{arm.corpus}/{arm.teacher}"] if arm.teacher else [])]


def _stores() -> list[tuple[str, str]]:
    return sorted({(arm.corpus, arm.teacher) for arm in LADDER.arms.values() if arm.teacher})


def _all_students() -> list[arms.Student]:
    """Return the students of the table, and those that only a teacher or a corpus needs."""
    asked = LADDER.students()
    for entry in (*LADDER.teachers.values(), *LADDER.corpora.values()):
        asked += entry.students
    return list(dict.fromkeys(asked))


def task_corpus():
    """Make a data-bin from raw text."""
    for corpus in LADDER.corpora.values():
        teachers = [f"teacher:{corpus.taught_on}/{name}" for name in corpus.teachers]
        yield _task("corpus", corpus.name, teachers + _students(corpus.students))


def task_teacher():
    """Train a C-MLM teacher on a corpus."""
    trained = {
        (LADDER.corpora[corpus].taught_on, one)
        for corpus, name in _stores()
        for one in LADDER.members(name)[0]
    }
    trained |= {(each.taught_on, one) for each in LADDER.corpora.values() for one in each.teachers}
    for corpus, name in list(trained):
        while name := LADDER.teachers[name].begins_with:
            trained.add((corpus, name))
    for corpus, name in sorted(trained):
        begins_with = LADDER.teachers[name].begins_with
        needs = [f"teacher:{corpus}/{begins_with}"] if begins_with else []
        yield _task("teacher", f"{corpus}/{name}", [f"corpus:{corpus}", *needs])


def task_store():
    """Make the store of a teacher for all tokens of a corpus. The teacher may be several models."""
    for corpus, name in _stores():
        trained, students = LADDER.members(name)
        base = LADDER.corpora[corpus].taught_on
        needs = [f"corpus:{corpus}", *(f"teacher:{base}/{one}" for one in trained)]
        yield _task("store", f"{corpus}/{name}", needs + _students(students))


def task_quality():
    """See how good a teacher is on the training text and on valid. This is never done by default."""
    for corpus, name in _stores():
        yield _task("quality", f"{corpus}/{name}", [f"store:{corpus}/{name}"])


def task_student():
    """Train a student and average its last checkpoints, for a teacher or a corpus."""
    for student in _all_students():
        yield _task("student", str(student), _needs(student))


def task_valid():
    """Train a student and score it on valid. By default, doit does this for all students that have no row."""
    for student in LADDER.students():
        needed = student in MISSING
        yield _task("valid", str(student), _needs(student) if needed else [], uptodate=[not needed])


def task_test():
    """Do the same as valid, and score the student on test as well. This is never done by default."""
    for student in LADDER.students():
        needed = student in MISSING or student not in TESTED
        yield _task("test", str(student), _needs(student) if needed else [], uptodate=[not needed])
