"""Several training logs on one plot, and their numbers as a table: one call, with a :class:`CurvesConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.analysis.curves.plot import METRICS, metrics, plot
from bertkd_fairseq.analysis.curves.training_log import read_log, write_csv
from bertkd_fairseq.errors import DataError, must_be, raise_all
from bertkd_fairseq.settings import named, setting
from bertkd_fairseq.text.outputs import output_problems


@dataclass(frozen=True, kw_only=True)
class CurvesConfig:
    """The settings of :func:`plot_curves`; ``logs``: the file of each run by its name."""

    logs: Mapping[str, str | Path]
    output: Path = setting(
        "picture to write", default=Path("curves.png"), metavar="PNG", old_option="--dest"
    )
    csv: Path | None = setting(
        "table to write; beside the picture if not given", default=None, metavar="FILE"
    )
    title: str = setting("text above the picture", default="")
    force: bool = setting("replace files that exist", default=False)

    @property
    def table(self) -> Path:
        """Where the table goes."""
        return self.csv or self.output.with_suffix(".csv")

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without reading a log."""
        problems = []
        output, csv = named(self, "output"), named(self, "csv")
        if self.output.suffix != ".png":
            problems.append(must_be(output, "a file that ends in .png", self.output))
        files = {output: self.output, csv: self.table}
        force = named(self, "force")
        return problems + output_problems(files, force=self.force, force_name=force)


@dataclass(frozen=True)
class Curves:
    """What was drawn: the metrics, of how many runs, and where."""

    metrics: list[str]
    num_runs: int
    picture: Path
    table: Path


def plot_curves(config: CurvesConfig) -> Curves:
    """Write the picture and the table.

    :raises ConfigurationError: with every setting that can't work.
    :raises DataError: if a log can't be read, or none has anything to draw.
    :raises OutputError: if a file can't be written.
    """
    raise_all(config.problems())
    runs = {name: read_log(file) for name, file in config.logs.items()}
    if not metrics(runs):
        names, files = ", ".join(METRICS), " ".join(map(str, config.logs.values()))
        raise DataError(f"At least one log must have one of {names}, but {files} have none.")
    write_csv(runs, config.table)
    drawn = plot(runs, config.output, config.title)
    return Curves(drawn, len(runs), config.output, config.table)
