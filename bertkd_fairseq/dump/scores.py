"""Count how often each teacher of a mixture is right, block by block during the dump, and add the counts up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SCORES = "teacher_scores"
"""The key in ``meta.json`` for the scores: one of each teacher, and then that of the mixture."""


@dataclass(frozen=True)
class Score:
    """How well a teacher predicts some target tokens.

    ``right``: how many tokens it predicts. ``impossible``: how many tokens have probability 0, such as symbols that its
    vocabulary lacks. ``logprob``: the sum of log p(token) over the other tokens, in nats.
    """

    tokens: int = 0
    right: int = 0
    impossible: int = 0
    logprob: float = 0.0

    def __add__(self, other: Score) -> Score:
        """Return the score over the tokens of both."""
        return Score(
            self.tokens + other.tokens,
            self.right + other.right,
            self.impossible + other.impossible,
            self.logprob + other.logprob,
        )

    @property
    def accuracy(self) -> float:
        """The share of tokens that the teacher predicts, from 0 to 1; NaN without tokens."""
        return self.right / self.tokens if self.tokens else math.nan

    @property
    def perplexity(self) -> float:
        """The perplexity per symbol, over the tokens with a probability above 0; NaN without such tokens."""
        possible = self.tokens - self.impossible
        return math.exp(-self.logprob / possible) if possible else math.nan


@dataclass(frozen=True)
class TeacherScore:
    """A teacher's score over all target tokens without EOS, and its score over EOS."""

    symbols: Score = Score()
    eos: Score = Score()

    def __add__(self, other: TeacherScore) -> TeacherScore:
        """Return the score over the tokens of both."""
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
    """Return each teacher's score over all ``blocks``. Each block has the scores of all teachers in the same order."""
    total: list[TeacherScore] = []
    for scores in blocks:
        total = [a + b for a, b in zip(total, scores, strict=True)] if total else list(scores)
    return total


def to_records(scores: Iterable[TeacherScore]) -> list[dict[str, Any]]:
    """Return the scores in the form that is written as JSON."""
    return [asdict(score) for score in scores]


def from_records(records: Iterable[Mapping[str, Any]]) -> list[TeacherScore]:
    """Return the scores from the form that :func:`to_records` returns."""
    return [TeacherScore.from_record(record) for record in records]
