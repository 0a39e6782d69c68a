"""Which pairs of a parallel text are kept (appendix A of the paper)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from bertkd_fairseq.text.languages import length
from bertkd_fairseq.text.lines import Sides


class Cleaned(NamedTuple):
    """Numbers of the pairs that stay and of those that go, and how many go for each reason."""

    kept: list[int]
    dropped: list[int]
    reasons: dict[str, int]


@dataclass(frozen=True)
class CleaningRules:
    """Which training pairs stay, by the length of their sides (appendix A of the paper).

    A length is a number of Moses tokens, or of characters on a side whose language writes no spaces between words
    (:func:`~bertkd_fairseq.text.languages.has_spaces` tells). ``min_length`` bounds either. ``max_ratio`` bounds the
    longer side over the shorter, whichever it is, where both are counted in tokens.

    The paper says nothing of characters. 350 are about 175 tokens: in 50,000 pairs of the Tanaka corpus, Japanese has
    1.9 characters for each English token.
    """

    min_length: int = 1
    max_length: int = 175
    max_ratio: float = 1.5
    max_characters: int = 350
    source_has_spaces: bool = True
    target_has_spaces: bool = True

    def reason_to_drop(self, source: str, target: str) -> str | None:
        """Return why a tokenised pair goes, or None.

        It is one of empty, too_short, too_few_characters, too_long, too_many_characters, ratio.
        """
        has_spaces = (self.source_has_spaces, self.target_has_spaces)
        sizes = map(length, (source, target), has_spaces)
        sides = list(zip(sizes, has_spaces, strict=True))
        if not all(size for size, _ in sides):
            return "empty"
        for size, spaces in sides:
            if size < self.min_length:
                return "too_short" if spaces else "too_few_characters"
        for size, spaces in sides:
            if size > (self.max_length if spaces else self.max_characters):
                return "too_long" if spaces else "too_many_characters"
        shorter, longer = sorted(size for size, _ in sides)
        if all(has_spaces) and longer > self.max_ratio * shorter:
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
