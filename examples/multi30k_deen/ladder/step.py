"""Run one step of the ladder. dodo.py calls ``python step.py KIND NAME``, where KIND is one of :data:`KINDS`.

The recipe's scripts do the work. They continue where they were interrupted, and skip what is complete.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import arms
import rows
import table as tables
from arms import RECIPE, Ladder, Student

from bertkd_fairseq.errors import BertKDError, report
from bertkd_fairseq.process.groups import end_group
from bertkd_fairseq.process.interrupts import terminated_as_interrupted

HERE = Path(__file__).resolve().parent
TABLES = RECIPE.parent.parent / "docs" / "tables.py"
KINDS = ("corpus", "teacher", "store", "quality", "student", "valid", "test")
# The environment may give only these: where things are, and the precision.
GIVEN = ("DATA", "BERT", "PRECISION")
SECONDS_TO_END = 5.0


class Steps:
    """The steps of a table. ``root`` has a folder for every corpus, which is the recipe's WORK."""

    def __init__(self, table: Path, root: Path, results: Path) -> None:
        self.ladder: Ladder = tables.read(table)
        self.table, self.root, self.results = table, root, results

    def corpus(self, name: str) -> int:
        """Make a data-bin."""
        corpus = self.ladder.corpora[name]
        env = self._env(name, corpus.settings)
        code = self._run(RECIPE / "01_prepare.sh", env, "corpus")
        if code == 0 and corpus.script:
            students = ":".join(str(self.checkpoint(student)) for student in corpus.students)
            teachers = ":".join(str(self._trained(name, one)) for one in corpus.teachers)
            env |= {"STUDENTS": students, "TEACHERS": teachers}
            code = self._run(self.table.parent / corpus.script, env, "corpus")
        return code

    def teacher(self, name: str) -> int:
        """Train a C-MLM teacher. ``name`` is CORPUS/TEACHER."""
        corpus, _, teacher = name.partition("/")
        entry = self.ladder.teachers[teacher]
        own: dict[str, object] = {"TEACHER_NAME": f"teacher.{teacher}", "SEED": 1}
        if entry.begins_with:
            begin = f"--finetune-from-model {self._trained(corpus, entry.begins_with)}"
            own["TEACHER_EXTRA"] = f"{entry.settings.get('TEACHER_EXTRA', '')} {begin}"
        env = self._env(corpus, entry.settings, **own)
        return self._run(RECIPE / "02_teacher.sh", env, f"teacher.{teacher}")

    def store(self, name: str) -> int:
        """Make the store of a teacher, which may be several models. ``name`` is CORPUS/TEACHER."""
        corpus, _, teacher = name.partition("/")
        return self._dump(corpus, teacher, self._stores(corpus, teacher))

    def quality(self, name: str) -> int:
        """Keep how good a teacher is on the training text and on valid, which it is asked for, too."""
        corpus, _, teacher = name.partition("/")
        store = self.root / corpus / f"topk.{teacher}.valid"
        env = self._env(corpus, {}, OF=teacher)
        code = self._dump(corpus, teacher, {"valid": store})
        code = code or self._run(HERE / "inspect.sh", env, store.name)
        if code == 0:
            with rows.locked(self.results):
                rows.add_teacher(self.results, corpus, teacher, self.root / corpus)
        return code

    def _dump(self, corpus: str, teacher: str, stores: dict[str, Path]) -> int:
        trained, students = self.ladder.members(teacher)
        paths = [self._trained(corpus, one) for one in trained]
        paths += [self.checkpoint(student) for student in students]
        settings = self.ladder.teachers[teacher].settings
        extra, path = settings.get("DUMP_EXTRA", ""), ":".join(map(str, paths))
        for part, store in stores.items():
            env = self._env(corpus, settings, DUMP_PATH=path, TOPK=store)
            if part != "train":
                env["DUMP_EXTRA"] = f"{extra} --gen-subset {part}"
            if code := self._run(RECIPE / "03_dump.sh", env, store.name):
                return code
        return 0

    def student(self, name: str, subsets: str = "") -> int:
        """Train a student, average its last checkpoints, and translate ``subsets``."""
        student = self._student(name)
        code = self._run(RECIPE / "student.sh", self._student_env(student, subsets), name)
        if code == 0:  # the average is made, and the many checkpoints of it aren't needed any more
            for checkpoint in self.checkpoint(student).parent.glob("checkpoint_*_*.pt"):
                checkpoint.unlink()
        return code

    def valid(self, name: str, *more: str) -> int:
        """Train a student, translate and score valid with it, and keep its row."""
        student, subsets = self._student(name), ["valid", *more]
        if rows.is_again(student.arm, os.environ.get("LADDER_AGAIN", "")):
            self._forget_scores(student)
        code = self.student(name, " ".join(subsets))
        code = code or self._run(
            HERE / "score.sh", self._student_env(student, " ".join(subsets)), name
        )
        if code:
            return code
        row = rows.make(self.ladder, student, self.work(student), subsets)
        with rows.locked(self.results):
            rows.add(self.results, row, self.ladder)
            if self.results.resolve().parent == TABLES.parent / "results":
                return subprocess.run([sys.executable, TABLES]).returncode
        return 0

    def _forget_scores(self, student: Student) -> None:
        """Let translation and scoring of a trained student run again, because their settings may have changed."""
        updates = self.ladder.arms[student.arm].settings["UPDATES"]
        for stage in ("generate_*", "compare_*", "validate"):
            for done in self.work(student).glob(f"{stage}_{student}.{updates}.done"):
                done.unlink()

    def test(self, name: str) -> int:
        """Do the same as valid, and score test as well."""
        return self.valid(name, "test")

    def work(self, student: Student) -> Path:
        """Return the recipe's WORK in which a student is trained."""
        return self.root / self.ladder.arms[student.arm].corpus

    def checkpoint(self, student: Student) -> Path:
        """Return the mean of a student's last checkpoints."""
        updates = self.ladder.arms[student.arm].settings["UPDATES"]
        return self.work(student) / str(student) / f"average_last.{updates}.pt"

    def _trained(self, corpus: str, teacher: str) -> Path:
        """Return the checkpoint of a trained teacher of a corpus."""
        work = self.root / self.ladder.corpora[corpus].taught_on
        return work / f"teacher.{teacher}" / "checkpoint_best.pt"

    def _stores(self, corpus: str, teacher: str) -> dict[str, Path]:
        """Return a teacher's store for each part of the training split, in fairseq's order."""
        work, parts = self.root / corpus, self.ladder.corpora[corpus].parts
        more = {part: work / f"topk.{teacher}.{part}" for part in parts}
        return {"train": work / f"topk.{teacher}", **more}

    def _student(self, name: str) -> Student:
        arm, _, seed = name.rpartition(".seed")
        return Student(arm, int(seed))

    def _student_env(self, student: Student, subsets: str) -> dict[str, str]:
        arm = self.ladder.arms[student.arm]
        own: dict[str, object] = {
            "NAME": arm.name,
            "SEED": student.seed,
            "SUBSETS": subsets,
            "KEEP_BEST": 0,
        }
        if arm.teacher:
            own["TOPK"] = ":".join(map(str, self._stores(arm.corpus, arm.teacher).values()))
        return self._env(arm.corpus, arm.settings, **own)

    def _env(self, corpus: str, settings: dict[str, str], **own: object) -> dict[str, str]:
        """Return the environment of a script. Only the table gives its settings, not what happens to be set."""
        hidden = arms.recipe_settings() - set(GIVEN)
        env = {name: value for name, value in os.environ.items() if name not in hidden}
        env.setdefault("OMP_NUM_THREADS", "1")
        env.setdefault("PYTHON", sys.executable)
        env |= arms.with_variables(
            {**self.ladder.settings, **self.ladder.corpora[corpus].settings, **settings}
        )
        return {
            **env,
            "WORK": str(self.root / corpus),
            "ENSEMBLE": "0",  # the table says who teaches
            **{name: str(value) for name, value in own.items()},
        }

    def _run(self, script: Path, env: dict[str, str], lock: str) -> int:
        """Run a script to its end, and leave no process behind, however this process ends.

        If this process was killed nevertheless, the next one waits until the script that is left has ended.
        """
        work = Path(env["WORK"])
        work.mkdir(parents=True, exist_ok=True)
        parent = os.getppid()
        with (work / f".{lock}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            child = subprocess.Popen(
                ["bash", script], env=env, start_new_session=True, pass_fds=[file.fileno()]
            )
            try:
                while True:
                    with suppress(subprocess.TimeoutExpired):
                        return child.wait(timeout=0.5)
                    if os.getppid() != parent:  # doit was killed
                        return 1
            finally:
                end_group(child, SECONDS_TO_END)


def main() -> int:
    """Run the step that the command line names."""
    kind, name = sys.argv[1:]
    try:
        with terminated_as_interrupted():
            places = (Path(os.environ[f"LADDER_{place}"]) for place in ("TABLE", "WORK", "RESULTS"))
            return getattr(Steps(*places), kind)(name)
    except BertKDError as error:
        return report(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
