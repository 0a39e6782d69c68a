"""How much of the loss is the teacher's, update by update."""

from __future__ import annotations

from dataclasses import dataclass

CONSTANT, LINEAR = SCHEDULES = ("constant", "linear")


@dataclass(frozen=True)
class AlphaSchedule:
    """``start`` throughout, or linear from ``start`` to ``end`` over ``updates`` and ``end`` from then on."""

    start: float
    kind: str = CONSTANT
    end: float | None = None
    updates: int = 0

    def at(self, update: int) -> float:
        """Return alpha at an update, counted from 0."""
        if self.kind == CONSTANT or self.end is None:
            return self.start
        passed = min(update / self.updates, 1.0)
        return self.start + passed * (self.end - self.start)

    @property
    def needs_teacher(self) -> bool:
        """Whether alpha is ever above 0."""
        return max(self.start, self.at(self.updates)) > 0
