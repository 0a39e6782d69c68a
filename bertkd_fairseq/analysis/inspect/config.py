"""The settings of ``bertkd inspect``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bertkd_fairseq.files import missing_students
from bertkd_fairseq.settings import named, setting


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """The settings of :func:`bertkd_fairseq.analysis.inspect.run.inspect_store`.

    ``students``: name and checkpoint of each.
    """

    store: str = setting("teacher store made by `bertkd dump-topk`", positional=True)
    data_bin: str | None = setting(
        "the data-bin that the store was made for: adds statistics against the target tokens",
        default=None,
        metavar="DIR",
    )
    verify: bool = setting("read every byte and compare with the checksums", default=False)
    sentence: int | None = setting(
        "show only sentence I, token by token; the first has the number 0",
        default=None,
        metavar="I",
    )
    students: Sequence[tuple[str, str]] = setting(
        "name and checkpoint of each student", default=(), option="--student", declared=False
    )
    plot: str | None = setting("draw the statistics, as a PNG file", default=None, metavar="FILE")

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without opening anything."""
        problems = missing_students(path for _, path in self.students)
        students, plot, data_bin = (named(self, name) for name in ("students", "plot", "data_bin"))
        for option, given in ((plot, self.plot), (students, self.students)):
            if self.sentence is not None and given:
                sentence = named(self, "sentence")
                problems.append(f"{sentence} shows one sentence alone: leave out {option}.")
            if given and not self.data_bin:
                problems.append(f"{option} needs {data_bin}, to know the target tokens.")
        return problems
