"""Write the result of rescoring as plain text."""

from __future__ import annotations

from bertkd_fairseq.analysis.tables import aligned
from bertkd_fairseq.rescore.run import Rescored
from bertkd_fairseq.rescore.scoring import Mix


def format_rescored(rescored: Rescored) -> str:
    """Return a table of scores with their weights, and how many lists and sources were too long."""
    splits, control = rescored.splits, rescored.length_only
    lines = []
    if rescored.signature:
        rows = [("first of the list", "first")]
        if control:
            rows.append((f"student alone, {_length(control)}", "length_only"))
        rows.append(
            (f"rescored, weight {rescored.mix.weight:g}, {_length(rescored.mix)}", "rescored")
        )
        table = [["sacreBLEU", *(split.split for split in splits)]]
        table += [[label, *(_score(getattr(s, name)) for s in splits)] for label, name in rows]
        lines += [*aligned(table), rescored.signature, ""]
    for split in splits:
        line = f"{split.split}: another hypothesis first in {split.changed} of {split.sentences} sentences"
        if split.without_teacher:
            line += f"; {split.without_teacher} lists are too long for the teacher and are ordered without it"
        if split.source_cut:
            line += f"; the source was cut for {split.source_cut} of {split.hypotheses} hypotheses"
        lines.append(line)
    return "\n".join([*lines, f"written: {rescored.output}"])


def _length(mix: Mix) -> str:
    return f"length bonus {mix.length_bonus:g}, lenpen {mix.lenpen:g}"


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.2f}"
