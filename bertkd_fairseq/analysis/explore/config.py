"""The settings of ``bertkd explore``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bertkd_fairseq.files import missing_students
from bertkd_fairseq.settings import named, range_problems, setting

FIRST, WORST, RANDOM = SELECTIONS = ("first", "worst", "random")


@dataclass(frozen=True, kw_only=True)
class ExploreConfig:
    """The settings of :func:`bertkd_fairseq.analysis.explore.data.explore`.

    ``students``: the name and the checkpoint of each student.
    """

    store: str = setting("teacher store made by `bertkd dump-topk`", positional=True)
    data_bin: str = setting("the data-bin that the store was made for", metavar="DIR")
    students: Sequence[tuple[str, str]] = setting(
        "name and checkpoint of each student", default=(), option="--student", declared=False
    )
    max_sentences: int = setting(
        "show at most N sentences of the store", default=1000, at_least=1, metavar="N"
    )
    select: str = setting(
        "which sentences to show: the first ones, those in which the teacher is wrong most often, or random ones",
        default=FIRST,
        choices=SELECTIONS,
    )
    seed: int = setting("seed of the random choice of sentences", default=1, at_least=0)

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without opening anything."""
        problems = range_problems(self)
        problems += missing_students(path for _, path in self.students)
        problems += [
            f"Each `{named(self, 'students')}` must have a name of its own, but {count} are called {name!r}."
            for name, count in Counter(name for name, _ in self.students).items()
            if count > 1
        ]
        return problems
