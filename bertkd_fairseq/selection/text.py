"""Write the result of a selection as plain text."""

from __future__ import annotations

from bertkd_fairseq.analysis.tables import aligned
from bertkd_fairseq.selection.run import Selected


def format_selected(selected: Selected) -> str:
    """Return the counts, a table of the mean scores, and the place of the data-bin."""
    counts = selected.counts
    lines = [
        f"{counts.chosen} hypotheses chosen from {counts.hypotheses} for {counts.sentences} sentences",
        *([f"left out: {counts.left_out}"] if counts.left_out else []),
        f"the best isn't the student's first in {counts.changed} sentences; none is taken in {counts.without}",
    ]
    if selected.scores:
        table = [["mean score", "best", "first"]]
        for name, mean in selected.scores.items():
            table.append([name, f"{mean.best:.4f}", f"{mean.first:.4f}"])
        lines += ["", *aligned(table)]
        if selected.signature:
            lines.append(f"reference: {selected.signature}")
    return "\n".join(
        [*lines, "", f"written: {selected.data_bin}, {selected.split}: {selected.pairs} pairs"]
    )
