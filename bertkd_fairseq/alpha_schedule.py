"""How much of the loss is the teacher's, update by update."""

from __future__ import annotations

from dataclasses import dataclass

from bertkd_fairseq.errors import must_be

SCHEDULES = ("constant", "linear")


@dataclass(frozen=True)
class AlphaSchedule:
    """``start`` throughout, or linear from ``start`` to ``end`` over ``updates`` and ``end`` from then on."""

    start: float
    kind: str = "constant"
    end: float | None = None
    updates: int = 0

    def problems(self) -> list[str]:
        """Return what is wrong with the options, in the words of the command line."""
        problems = []
        if not 0.0 <= self.start <= 1.0:
            problems.append(must_be("--kd-alpha", "from 0 to 1", self.start))
        if self.kind not in SCHEDULES:
            wanted = f"one of {', '.join(SCHEDULES)}"
            problems.append(must_be("--kd-alpha-schedule", wanted, self.kind))
        if self.kind == "linear" and (self.end is None or not 0.0 <= self.end <= 1.0):
            wanted = "from 0 to 1 with --kd-alpha-schedule linear"
            problems.append(must_be("--kd-alpha-end", wanted, self.end))
        if self.kind == "linear" and self.updates < 1:
            wanted = "at least 1 with --kd-alpha-schedule linear"
            problems.append(must_be("--kd-alpha-updates", wanted, self.updates))
        if self.kind == "constant" and (self.end is not None or self.updates):
            problems.append(
                "--kd-alpha-end and --kd-alpha-updates have no meaning without --kd-alpha-schedule linear. "
                "Add it, or leave them out."
            )
        return problems

    def at(self, update: int) -> float:
        """Return alpha at an update, counted from 0."""
        if self.kind == "constant" or self.end is None:
            return self.start
        passed = min(update / self.updates, 1.0)
        return self.start + passed * (self.end - self.start)

    @property
    def needs_teacher(self) -> bool:
        """Whether alpha is ever above 0."""
        return max(self.start, self.at(self.updates)) > 0
