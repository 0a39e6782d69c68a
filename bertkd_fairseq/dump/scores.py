"""How often each teacher of a mixture is right: counted block by block while it is asked, and added up at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SCORES = "teacher_scores"
"""Where ``meta.json`` has the scores, one of each teacher, and of their mixture after them."""


@dataclass(frozen=True)
class Score:
    """What a teacher says of some target tokens.

    ``right``: tokens that are its prediction. ``impossible``: tokens to which it gives no probability, as symbols that
    its vocabulary lacks. ``logprob``: sum of log p(gold) over the others, in nats.
    """

    tokens: int = 0
    right: int = 0
    impossible: int = 0
    logprob: float = 0.0

    def __add__(self, other: Score) -> Score:
        """Return the score over both ones' tokens."""
        return Score(
            self.tokens + other.tokens,
            self.right + other.right,
            self.impossible + other.impossible,
            self.logprob + other.logprob,
        )

    @property
    def accuracy(self) -> float:
        """Share of tokens that are the prediction, from 0 to 1; NaN without tokens."""
        return self.right / self.tokens if self.tokens else math.nan

    @property
    def perplexity(self) -> float:
        """Perplexity a symbol over the tokens that have a probability; NaN without any."""
        possible = self.tokens - self.impossible
        return math.exp(-self.logprob / possible) if possible else math.nan


@dataclass(frozen=True)
class TeacherScore:
    """A teacher's score over all target tokens but EOS, and over EOS."""

    symbols: Score = Score()
    eos: Score = Score()

    def __add__(self, other: TeacherScore) -> TeacherScore:
        """Return the score over both ones' tokens."""
        return TeacherScore(self.symbols + other.symbols, self.eos + other.eos)

    @property
    def all(self) -> Score:
        """The score over all target tokens, EOS included."""
        return self.symbols + self.eos

    @classmethod
    def from_record(cls, record: Mapping[str, Mapping[str, Any]]) -> TeacherScore:
        """Return what :func:`to_records` wrote for one teacher."""
        return cls(Score(**record["symbols"]), Score(**record["eos"]))


def add_scores(blocks: Iterable[Sequence[TeacherScore]]) -> list[TeacherScore]:
    """Return the sum over ``blocks``, each of which has a score of every teacher, in the same order."""
    total: list[TeacherScore] = []
    for scores in blocks:
        total = [a + b for a, b in zip(total, scores, strict=True)] if total else list(scores)
    return total


def to_records(scores: Iterable[TeacherScore]) -> list[dict[str, Any]]:
    """Return the scores as JSON has them."""
    return [asdict(score) for score in scores]


def from_records(records: Iterable[Mapping[str, Any]]) -> list[TeacherScore]:
    """Return the scores that :func:`to_records` turned to JSON."""
    return [TeacherScore.from_record(record) for record in records]
