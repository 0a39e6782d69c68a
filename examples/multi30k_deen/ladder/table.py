"""Read the table of arms from YAML. docs/experiments.md describes its form."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from arms import Arm, Corpus, Ladder, Student, Teacher, recipe_settings
from omegaconf import OmegaConf

from bertkd_fairseq.errors import ConfigurationError, must_be, raise_all

# The ladder sets these itself, or makes them from the table's own names.
_OWN = frozenset(
    [
        "WORK",
        "SEED",
        "NAME",
        "TOPK",
        "SUBSETS",
        "TEACHER_NAME",
        "DUMP_PATH",
        "KEEP_BEST",
        "STUDENT_EXTRA",
        "SHARDS",
        "ENSEMBLE",
        "BERT_WEIGHT",
    ]
)
# What is the same for all arms of a corpus, and what belongs to a teacher.
_OF_CORPUS = re.compile(r"DATA|BERT|SRC|TGT|TRAIN_PAIRS|UNPAIRED|SUBWORD|VOCAB_SIZE|PREPARE_\w+")
_OF_TEACHER = re.compile(r"TEACHER_\w+|DUMP_\w+|TOPK_K")
_ALSO_OF_TEACHER = frozenset({"VALIDATE_EVERY", "BERT"})
_TABLE = ["baseline", "seeds", "settings", "options", "corpora", "teachers", "arms"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_STUDENT = re.compile(r"(.+)\.seed([1-9]\d*)")


def read(path: Path) -> Ladder:
    """Read the table of a file.

    :raises ConfigurationError: with every mistake in the table.
    """
    if not path.is_file():
        raise ConfigurationError(f"`{path}` must be a table of arms, but there is none.")
    try:
        table = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # of YAML, and of omegaconf for a name that is there twice
        raise ConfigurationError(f"`{path}` must be YAML, each name once: {error}") from error
    if not isinstance(table, dict):
        raise ConfigurationError(must_be(str(path), "a table of names", type(table).__name__))
    reader = _Reader(recipe_settings() - _OWN)
    ladder = reader.ladder(table)
    raise_all(f"{path}: {problem}" for problem in reader.problems)
    return ladder


class _Reader:
    """Makes a ladder from the content of a YAML file. It collects what is wrong, and leaves that out."""

    def __init__(self, known: set[str]) -> None:
        self.problems: list[str] = []
        self._known = known

    def ladder(self, table: Mapping[str, Any]) -> Ladder:
        table = self._table("the table", table, _TABLE)
        common = self._settings("settings", table.get("settings", {}))
        corpora = {name: self._corpus(name, entry) for name, entry in self._named(table, "corpora")}
        teachers = {
            name: self._teacher(name, entry) for name, entry in self._named(table, "teachers")
        }
        arms = {
            name: self._arm(name, entry, table, common, corpora)
            for name, entry in self._named(table, "arms")
        }
        ladder = Ladder(corpora, teachers, arms, common)
        if not arms:
            self.problems.append("`arms` must name at least one arm.")
        self._references(ladder)
        return ladder

    def _corpus(self, name: str, entry: Any) -> Corpus:
        where = f"corpora.{name}"
        names = ["script", "students", "teachers", "parts", "base"]
        entry = self._table(where, entry, names, settings=True)
        settings = self._settings(where, entry)
        students = self._students(where, entry.get("students", []))
        teachers = tuple(self._list(f"{where}.teachers", entry.get("teachers", []), str))
        parts = tuple(self._list(f"{where}.parts", entry.get("parts", []), str))
        base = entry.get("base")
        return Corpus(name, settings, entry.get("script"), students, teachers, parts, base)

    def _teacher(self, name: str, entry: Any) -> Teacher:
        where = f"teachers.{name}"
        entry = self._table(where, entry, ["students", "of", "begins_with"], settings=True)
        settings = self._settings(where, entry)
        for key in settings:
            if not _OF_TEACHER.fullmatch(key) and key not in _ALSO_OF_TEACHER:
                self.problems.append(f"`{where}.{key}` is no setting of a teacher or of its store.")
        students = self._students(where, entry.get("students", []))
        of = tuple(self._list(f"{where}.of", entry.get("of", []), str))
        begins_with = entry.get("begins_with")
        if begins_with and (students or of):
            self.problems.append(
                f"`{where}` must have begins_with only if it is trained, without students and of."
            )
        return Teacher(name, settings, students, of, begins_with)

    def _arm(
        self,
        name: str,
        entry: Any,
        table: Mapping[str, Any],
        common: Mapping[str, str],
        corpora: Mapping[str, Corpus],
    ) -> Arm:
        where = f"arms.{name}"
        entry = self._table(
            where, entry, ["corpus", "teacher", "seeds", "options", "against"], settings=True
        )
        own = self._settings(where, entry)
        for key in own:
            if _OF_CORPUS.fullmatch(key) or _OF_TEACHER.fullmatch(key):
                kind = "corpus" if _OF_CORPUS.fullmatch(key) else "teacher"
                self.problems.append(f"`{where}.{key}` must stand in a {kind} that the arm names.")
        corpus = entry.get("corpus", next(iter(corpora), None))
        teacher = entry.get("teacher")
        options = " ".join(str(x) for x in (table.get("options"), entry.get("options")) if x)
        settings = {**common, **(corpora[corpus].settings if corpus in corpora else {}), **own}
        settings["STUDENT_EXTRA"] = options
        if not teacher:
            if settings.get("KD_ALPHA", "0") != "0":
                self.problems.append(f"`{where}` has KD_ALPHA, so it must name a teacher.")
            settings["KD_ALPHA"] = "0"
        for key, least in (("UPDATES", 1), ("AVERAGE", 2), ("VALIDATE_EVERY", 1)):
            value = settings.get(key)
            if value is None or not value.isdecimal() or int(value) < least:
                self.problems.append(
                    must_be(f"{where}.{key}", f"a whole number from {least} on", value or "missing")
                )
        seeds = self._list(f"{where}.seeds", entry.get("seeds", table.get("seeds", [])), int)
        if not seeds or min(seeds) < 1 or len(set(seeds)) < len(seeds):
            self.problems.append(must_be(f"{where}.seeds", "different numbers from 1 on", seeds))
        against = entry.get("against", table.get("baseline", name))
        return Arm(name, str(corpus), tuple(seeds), str(against), settings, teacher)

    def _references(self, ladder: Ladder) -> None:
        """Note names that don't exist, and circles."""
        for arm in ladder.arms.values():
            self._one_of(f"arms.{arm.name}.corpus", arm.corpus, ladder.corpora)
            self._one_of(f"arms.{arm.name}.against", arm.against, ladder.arms)
            if arm.teacher:
                self._one_of(f"arms.{arm.name}.teacher", arm.teacher, ladder.teachers)
        for kind, entries in (("corpora", ladder.corpora), ("teachers", ladder.teachers)):
            for entry in entries.values():
                for student in entry.students:
                    self._one_of(f"{kind}.{entry.name}.students", student.arm, ladder.arms)
        trained = [name for name, teacher in ladder.teachers.items() if teacher.is_trained]
        for teacher in ladder.teachers.values():
            for name in teacher.of:
                self._one_of(f"teachers.{teacher.name}.of", name, ladder.teachers)
            if teacher.begins_with:
                self._one_of(f"teachers.{teacher.name}.begins_with", teacher.begins_with, trained)
        bases = [name for name, corpus in ladder.corpora.items() if not corpus.base]
        for corpus in ladder.corpora.values():
            if corpus.base:
                self._one_of(f"corpora.{corpus.name}.base", corpus.base, bases)
            for name in corpus.teachers:
                self._one_of(f"corpora.{corpus.name}.teachers", name, trained)
            if corpus.teachers and not corpus.base:
                self.problems.append(
                    f"`corpora.{corpus.name}` has teachers, so it must have a base that they are trained on."
                )
        if not self.problems:
            self._circles(ladder)

    def _circles(self, ladder: Ladder) -> None:
        graph: dict[str, set[str]] = {}
        for teacher in ladder.teachers.values():
            names = [*teacher.of, *([teacher.begins_with] if teacher.begins_with else [])]
            models = {f"teacher {name}" for name in names}
            graph[f"teacher {teacher.name}"] = models | {f"arm {s.arm}" for s in teacher.students}
        for arm in ladder.arms.values():
            corpus = ladder.corpora[arm.corpus]
            teachers = [*corpus.teachers, *([arm.teacher] if arm.teacher else [])]
            graph[f"arm {arm.name}"] = {f"arm {s.arm}" for s in corpus.students}
            graph[f"arm {arm.name}"] |= {f"teacher {name}" for name in teachers}
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            self.problems.append(f"These need each other: {' <- '.join(error.args[1])}.")

    def _one_of(self, where: str, name: str, there: Iterable[str]) -> None:
        if name not in there:
            self.problems.append(must_be(where, f"one of {', '.join(there) or 'none'}", name))

    def _named(self, table: Mapping[str, Any], kind: str) -> Iterable[tuple[str, Any]]:
        for name, entry in self._mapping(kind, table.get(kind, {})).items():
            if not _NAME.fullmatch(str(name)) or re.search(r"\.seed\d", str(name)):
                wanted = "a name of letters, digits and . _ + -, without .seedN"
                self.problems.append(must_be(f"{kind}.{name}", wanted, repr(str(name))))
            yield str(name), entry

    def _mapping(self, where: str, value: Any) -> Mapping[str, Any]:
        if isinstance(value, Mapping):
            return value
        self.problems.append(must_be(where, "a table of names", repr(value)))
        return {}

    def _table(
        self, where: str, value: Any, names: list[str], *, settings: bool = False
    ) -> Mapping[str, Any]:
        """Return a mapping, after noting unknown keys in it. ``_settings`` checks those of settings."""
        value = self._mapping(where, value)
        for key in value:
            if key not in names and not (settings and str(key).isupper()):
                wanted = ", ".join(names) + (" or a setting of the recipe" if settings else "")
                self.problems.append(f"{where} must hold {wanted}, but holds `{key}`.")
        return value

    def _settings(self, where: str, value: Any) -> dict[str, str]:
        """Return the settings of the recipe among the entries."""
        found = {}
        for key, entry in self._mapping(where, value).items():
            if not str(key).isupper():
                if where == "settings":
                    self.problems.append(
                        f"settings must hold settings of the recipe, but holds `{key}`."
                    )
            elif key not in self._known:
                close = difflib.get_close_matches(key, sorted(self._known), 1)
                own = " It is the ladder's own." if key in _OWN else ""
                hint = f" Do you mean {close[0]}?" if close and not own else own
                self.problems.append(
                    f"`{where}.{key}` is no setting that the table can give.{hint}"
                )
            elif isinstance(entry, bool) or not isinstance(entry, str | int | float):
                self.problems.append(must_be(f"{where}.{key}", "text or a number", repr(entry)))
            else:
                found[key] = str(entry)
        return found

    def _list(self, where: str, value: Any, kind: type) -> list[Any]:
        if isinstance(value, list) and all(type(x) is kind for x in value):
            return value
        self.problems.append(
            must_be(where, f"a list of {'numbers' if kind is int else 'names'}", repr(value))
        )
        return []

    def _students(self, where: str, value: Any) -> tuple[Student, ...]:
        students = []
        for name in self._list(f"{where}.students", value, str):
            if match := _STUDENT.fullmatch(name):
                students.append(Student(match[1], int(match[2])))
            else:
                self.problems.append(must_be(f"{where}.students", "of the form ARM.seedN", name))
        return tuple(students)
