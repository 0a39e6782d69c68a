"""Which pairs of a parallel text are kept (appendix A of the paper)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from bertkd_fairseq.text.lines import Sides


class Cleaned(NamedTuple):
    """Numbers of the pairs that stay and of those that go, and how many go for each reason."""

    kept: list[int]
    dropped: list[int]
    reasons: dict[str, int]


@dataclass(frozen=True)
class CleaningRules:
    """Which training pairs stay, by their number of Moses tokens (appendix A of the paper).

    ``max_ratio`` bounds the longer side over the shorter, whichever it is.
    """

    min_length: int = 1
    max_length: int = 175
    max_ratio: float = 1.5

    def reason_to_drop(self, source: str, target: str) -> str | None:
        """Return why a tokenised pair goes (empty, too_short, too_long, ratio), or None."""
        shorter, longer = sorted((len(source.split()), len(target.split())))
        if not shorter:
            return "empty"
        if shorter < self.min_length:
            return "too_short"
        if longer > self.max_length:
            return "too_long"
        if longer > self.max_ratio * shorter:
            return "ratio"
        return None

    def clean(self, tokens: Sides) -> Cleaned:
        """Return which pairs of tokenised lines stay, which go, and why."""
        reasons = [self.reason_to_drop(*pair) for pair in zip(*tokens, strict=True)]
        counts = Counter(reason for reason in reasons if reason is not None)
        return Cleaned(
            kept=[i for i, reason in enumerate(reasons) if reason is None],
            dropped=[i for i, reason in enumerate(reasons) if reason is not None],
            reasons=dict(sorted(counts.items())),
        )
