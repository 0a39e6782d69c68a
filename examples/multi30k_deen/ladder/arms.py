"""The table of arms: what is trained, on which text, with which teacher.

Names in capitals are settings of the recipe (``config.sh``). All other names are the table's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bertkd_fairseq.errors import raise_all

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent


class Student(NamedTuple):
    """One training: an arm with a seed. It is written ``ARM.seedN``."""

    arm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.arm}.seed{self.seed}"


@dataclass(frozen=True)
class Corpus:
    """A data-bin: ``01_prepare.sh`` makes it with ``settings``, and then ``script`` may change it.

    ``parts``: training splits beside ``train`` that the script adds. ``base``: the corpus whose trained teachers teach
    here, too. If not given, teachers are trained on this corpus.
    """

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    script: str | None = None  # relative to the table
    students: tuple[Student, ...] = ()  # the script needs them
    teachers: tuple[str, ...] = ()  # the script needs them, trained on the base
    parts: tuple[str, ...] = ()
    base: str | None = None

    @property
    def taught_on(self) -> str:
        """The corpus that the trained teachers of this one are trained on."""
        return self.base or self.name


@dataclass(frozen=True)
class Teacher:
    """A teacher with a store: a C-MLM teacher, or the mean of the teachers in ``of`` and of ``students``.

    ``begins_with``: the C-MLM teacher whose weights the training of this one begins with.
    """

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    students: tuple[Student, ...] = ()
    of: tuple[str, ...] = ()
    begins_with: str | None = None

    @property
    def is_trained(self) -> bool:
        """Whether it is a model of its own."""
        return not (self.students or self.of)


@dataclass(frozen=True)
class Arm:
    """A student to be trained once with every seed. ``settings`` are complete."""

    name: str
    corpus: str
    seeds: tuple[int, ...]
    against: str
    settings: dict[str, str]
    teacher: str | None = None


@dataclass(frozen=True)
class Ladder:
    """A table that was read. Everything that it names is in it."""

    corpora: dict[str, Corpus]
    teachers: dict[str, Teacher]
    arms: dict[str, Arm]
    settings: dict[str, str]

    def students(self) -> list[Student]:
        """Return the trainings that the table asks for, in its order."""
        return [Student(arm.name, seed) for arm in self.arms.values() for seed in arm.seeds]

    def members(self, teacher: str) -> tuple[list[str], list[Student]]:
        """Return the models of a teacher: trained teachers and students, each in their order."""
        found = self.teachers[teacher]
        trained, students = [teacher] if found.is_trained else [], list(found.students)
        for name in found.of:
            more = self.members(name)
            trained, students = trained + more[0], students + more[1]
        return trained, students

    def fingerprint(self, arm: str) -> str:
        """Return a hash of all settings that the results of an arm depend on."""
        return hashlib.sha256(json.dumps(self._facts(arm), sort_keys=True).encode()).hexdigest()[:8]

    def _facts(self, name: str) -> dict[str, Any]:
        arm = self.arms[name]
        corpus = self.corpora[arm.corpus]
        teacher = self._teacher_facts(arm.teacher) if arm.teacher else None
        # Names are left out, so an arm can be renamed. Paths are left out, because machines have different ones.
        settings = {key: value for key, value in arm.settings.items() if "$" not in value}
        facts: dict[str, Any] = {
            "settings": settings,
            "script": corpus.script,
            "parts": corpus.parts,
            "teacher": teacher,
        }
        # Only where they are given: rows of a table without them stay valid.
        if corpus.base:
            facts["base"] = corpus.base
        if corpus.teachers:
            facts["teachers"] = [self._teacher_facts(name) for name in corpus.teachers]
        return {**facts, "students": [self._student_facts(s) for s in corpus.students]}

    def _teacher_facts(self, name: str) -> dict[str, Any]:
        teacher = self.teachers[name]
        settings = {key: value for key, value in teacher.settings.items() if "$" not in value}
        facts: dict[str, Any] = {
            "settings": settings,
            "students": [self._student_facts(s) for s in teacher.students],
            "of": [self._teacher_facts(x) for x in teacher.of],
        }
        if teacher.begins_with:
            facts["begins_with"] = self._teacher_facts(teacher.begins_with)
        return facts

    def _student_facts(self, student: Student) -> dict[str, Any]:
        return {"seed": student.seed, **self._facts(student.arm)}


def recipe_settings() -> set[str]:
    """Return the names of all settings that the scripts of the recipe and the ladder read from the environment."""
    scripts = [*RECIPE.glob("*.sh"), *RECIPE.parent.glob("stages/*.sh"), *HERE.glob("*.sh")]
    return {
        name for s in scripts for name in re.findall(r"\$\{([A-Z][A-Z_0-9]*):?[-=?]", s.read_text())
    }


def with_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings with ``$NAME`` replaced from the environment.

    :raises ConfigurationError: with every variable that isn't set.
    """
    expanded = {key: os.path.expandvars(value) for key, value in settings.items()}
    raise_all(
        f"`{key}` is {settings[key]}, so that variable must be set."
        for key, value in expanded.items()
        if key != "STUDENT_EXTRA" and "$" in value
    )
    return expanded
