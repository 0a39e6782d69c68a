"""A picture of a teacher store: how often it is right, how much it keeps, how soft its targets are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

# Okabe and Ito's palette: told apart by colour-blind readers and in grey.
_BLUE, _ORANGE = "#0072B2", "#D55E00"


def plot_statistics(
    summary: dict[str, Any], mass_counts: np.ndarray, path: str | Path, title: str
) -> None:
    """Draw gold ranks, mass in the top K and softness at several temperatures, and save a PNG.

    ``summary`` is :meth:`StoreStatistics.summary`'s, ``mass_counts`` (bins,) its histogram over [0, 1].
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    ranks, mass, soft = figure.subplots(1, 3)
    counts = np.array(summary["gold_rank_counts"])
    names = [*map(str, range(1, len(counts))), "not kept"]
    ranks.bar(names, 100 * counts / max(counts.sum(), 1), color=_BLUE)
    ranks.set(
        title="Rank of the gold token", xlabel="rank in the teacher's top K", ylabel="% of tokens"
    )
    edges = np.linspace(0, 100, 51)
    pooled = mass_counts.reshape(50, -1).sum(1)
    mass.stairs(100 * pooled / max(pooled.sum(), 1), edges, fill=True, color=_BLUE)
    mass.set(
        title="Probability kept by the top K",
        xlabel="% of the teacher's mass",
        ylabel="% of tokens",
    )
    temperatures = [float(name[2:]) for name in summary["soft_target"]]
    values = list(summary["soft_target"].values())
    soft.plot(
        temperatures,
        [v["top_1_weight"] for v in values],
        "o-",
        color=_BLUE,
        label="weight of the top 1",
    )
    soft.plot(
        temperatures,
        [v["entropy_nats"] for v in values],
        "s--",
        color=_ORANGE,
        label="entropy (nats)",
    )
    soft.set(title="The soft target, EOS apart", xlabel="temperature", ylim=(0, None))
    soft.legend(fontsize=9)
    for axes in (ranks, mass, soft):
        axes.grid(alpha=0.3, axis="y")
    figure.suptitle(title, fontsize=9)
    partial = Path(f"{path}.partial")
    figure.savefig(partial, dpi=150, format="png")
    partial.rename(path)
