"""How a dump's time is estimated: always within its time, and rough where whole batches take too long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bertkd_fairseq.dump import estimate as dump_estimate
from bertkd_fairseq.dump.estimate import measure_rate
from bertkd_fairseq.dump.rows import MaskedCopy
from bertkd_fairseq.masking import Question

LENGTH, MASKED = 20, 2


class SlowDump:
    """A dump of equal copies that takes so many seconds a position, on a clock of its own."""

    max_tokens = 2000

    def __init__(self, seconds_a_position: float, warm_up: float = 0.0) -> None:
        self.now, self.speed, self.warm_up = 0.0, seconds_a_position, warm_up

    def copies(self, sentences: Any) -> list[MaskedCopy]:
        half = np.zeros(LENGTH // 2, dtype=int)
        source = half[: LENGTH - len(half) - 1]
        rows = np.arange(MASKED)
        return [
            MaskedCopy(source, half, Question(half > 0, half > 0), rows, np.zeros((0, 0)))
            for _ in sentences
        ]

    def ask(self, batch: list[MaskedCopy]) -> None:
        self.now += self.warm_up + self.speed * sum(map(len, batch))
        self.warm_up = 0.0


@pytest.mark.parametrize(
    ("seconds_a_position", "rough"),
    [(1e-6, False), (5e-4, False), (2e-2, True), (0.5, True), (3.0, True)],
)
def test_the_rate_is_right_and_in_time(
    monkeypatch: pytest.MonkeyPatch, seconds_a_position: float, rough: bool
) -> None:
    dump = SlowDump(seconds_a_position, warm_up=0.3)
    monkeypatch.setattr(dump_estimate, "time", SimpleNamespace(monotonic=lambda: dump.now))
    rate = measure_rate(dump, range(1024))  # type: ignore[arg-type]
    assert rate.tokens_per_second == pytest.approx(MASKED / LENGTH / seconds_a_position)
    assert rate.rough == rough
    # The least that can be asked is one copy, twice: to warm up, and to measure.
    assert dump.now < max(dump_estimate.SECONDS * 1.3, 0.3 + 2 * LENGTH * seconds_a_position + 1)
