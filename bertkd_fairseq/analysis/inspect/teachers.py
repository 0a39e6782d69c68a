"""How each teacher of a mixture does against the target tokens, as counted when the store was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertkd_fairseq.dump.scores import SCORES, TeacherScore, from_records


def teacher_summary(meta: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return accuracy and perplexity of each teacher and of all together, by what they are; empty for one teacher.

    ``meta``: the store's ``meta.json``.
    """
    if SCORES not in meta:
        return {}
    names = [
        f"teacher {number}, weight {facts['weight']:.3g}, {facts['kind']} {facts['arch']} {facts['sha256'][:8]}"
        for number, facts in enumerate(meta["teachers"], 1)
    ]
    scores = from_records(meta[SCORES])
    return dict(zip([*names, "teachers together"], map(_summary, scores), strict=True))


def teacher_lines(summary: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each entry of :func:`teacher_summary`."""
    lines = []
    for name, values in summary.items():
        line = (
            f"{name}: accuracy {values['accuracy']:.1f}% (with EOS {values['accuracy_with_eos']:.1f}%), "
            f"perplexity {values['perplexity']:.2f} (with EOS {values['perplexity_with_eos']:.2f})"
        )
        if values["impossible"]:
            line += f", {values['impossible']} tokens without a probability apart"
        lines.append(line)
    return lines


def _summary(score: TeacherScore) -> dict[str, Any]:
    """Return accuracies in per cent, perplexities a symbol, and the tokens that no perplexity counts."""
    return {
        "accuracy": round(100 * score.symbols.accuracy, 2),
        "accuracy_with_eos": round(100 * score.all.accuracy, 2),
        "perplexity": round(score.symbols.perplexity, 4),
        "perplexity_with_eos": round(score.all.perplexity, 4),
        "impossible": score.all.impossible,
    }
