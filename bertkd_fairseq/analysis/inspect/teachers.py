"""How each teacher of a mixture does against the target tokens, as counted when the store was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertkd_fairseq.dump.scores import SCORES, TeacherScore, from_records

COLUMNS = ("", "weight", "right, %", "with EOS", "perplexity", "with EOS", "no probability")


@dataclass(frozen=True)
class TeacherSummary:
    """A teacher, or all together: how often it is right in per cent, and its perplexity a symbol.

    ``impossible``: tokens to which it gives no probability; no perplexity counts them. ``weight`` is 1 of all together.
    """

    name: str
    weight: float
    accuracy: float
    accuracy_with_eos: float
    perplexity: float
    perplexity_with_eos: float
    impossible: int


def teacher_summaries(meta: Mapping[str, Any]) -> list[TeacherSummary]:
    """Return each teacher and all together, from a store's ``meta.json``; nothing for one C-MLM teacher."""
    if SCORES not in meta:
        return []
    names = [f"{facts['kind']} {facts['arch']} {facts['sha256'][:8]}" for facts in meta["teachers"]]
    weights = [float(facts["weight"]) for facts in meta["teachers"]]
    scores = from_records(meta[SCORES])
    rows = zip([*names, "together"], [*weights, 1.0], scores, strict=True)
    return [_summary(*row) for row in rows]


def teacher_rows(teachers: Sequence[TeacherSummary]) -> list[list[str]]:
    """Return the rows of a table with :data:`COLUMNS`."""
    return [
        [
            teacher.name,
            f"{teacher.weight:.2f}",
            f"{teacher.accuracy:.1f}",
            f"{teacher.accuracy_with_eos:.1f}",
            f"{teacher.perplexity:.2f}",
            f"{teacher.perplexity_with_eos:.2f}",
            f"{teacher.impossible:,}",
        ]
        for teacher in teachers
    ]


def _summary(name: str, weight: float, score: TeacherScore) -> TeacherSummary:
    return TeacherSummary(
        name=name,
        weight=weight,
        accuracy=100 * score.symbols.accuracy,
        accuracy_with_eos=100 * score.all.accuracy,
        perplexity=score.symbols.perplexity,
        perplexity_with_eos=score.all.perplexity,
        impossible=score.all.impossible,
    )
