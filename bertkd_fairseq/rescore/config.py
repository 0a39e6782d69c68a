"""The settings of rescoring."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.dump.config import TeacherConfig
from bertkd_fairseq.errors import must_be
from bertkd_fairseq.rescore.scoring import Mix
from bertkd_fairseq.rescore.tuning import GRID, Grid
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.text.outputs import output_problems

_MIX = "score of a hypothesis: (student + weight * teacher + bonus * length) / length ** lenpen"


@dataclass(frozen=True, kw_only=True)
class RescoreConfig(TeacherConfig):
    """The settings of :func:`bertkd_fairseq.rescore.run.rescore`."""

    nbest: str = setting("complete output of fairseq-generate --nbest N", metavar="FILE")
    data_bin: str = setting("data-bin that was decoded", metavar="DIR")
    gen_subset: str = setting("split that was decoded", default="test", metavar="SPLIT")
    output: str = setting(
        "file to write: the same output, with the hypotheses of each sentence in their new order and with new scores. "
        "The teacher's answers are kept beside it, in FILE.scores.npz",
        metavar="FILE",
    )
    weight: float | None = setting(
        "weight of the teacher's log-probability; that of the student's is 1",
        default=None,
        at_least=0,
        metavar="W",
        group=_MIX,
    )
    length_bonus: float | None = setting(
        "bonus to add for every symbol, EOS included; 0 if not given",
        default=None,
        metavar="B",
        group=_MIX,
    )
    lenpen: float | None = setting(
        "exponent of the length by which the sum is divided; 0 if not given",
        default=None,
        metavar="P",
        group=_MIX,
    )
    tune_nbest: str | None = setting(
        "output of fairseq-generate for --tune-subset. Those of --weight, --length-bonus and --lenpen that aren't "
        "given are tuned on it for sacreBLEU",
        default=None,
        metavar="FILE",
        group=_MIX,
    )
    tune_subset: str = setting(
        "split that --tune-nbest was decoded from", default="valid", metavar="SPLIT", group=_MIX
    )
    force: bool = setting(
        "replace a file at --output, and teacher's answers beside it that were made with other settings",
        default=False,
    )

    def problems(self, also: Mapping[str, str | None] | None = None) -> list[str]:
        """Return what is wrong with the settings, without reading a file.

        :param also: by their options, further files that will be written.
        """
        problems = range_problems(self)
        for name in ("weight", "length_bonus", "lenpen"):
            value = getattr(self, name)
            if (
                value is not None
                and not math.isfinite(value)
                and not (name == "weight" and value < 0)
            ):
                problems = [one for one in problems if named(self, name) not in one]
                problems.append(must_be(named(self, name), "a finite number", value))
        if self.weight is None and self.tune_nbest is None:
            weight, tune = named(self, "weight"), named(self, "tune_nbest")
            problems.append(f"One of `{weight}` and `{tune}` must be given.")
        problems += self.weight_problems()
        output = named(self, "output")
        for name in ("nbest", "tune_nbest"):
            file = getattr(self, name)
            if file and os.path.realpath(file) == os.path.realpath(self.output):
                wanted = f"another file than {named(self, name)}"
                problems.append(must_be(output, wanted, self.output))
                return problems
        outputs = {output: self.output, **(also or {})}
        return problems + output_problems(
            outputs, force=self.force, force_name=named(self, "force")
        )

    @property
    def given(self) -> Mix:
        """The weights as given, to be used if nothing is tuned. Those that aren't given are 0."""
        return Mix(self.weight or 0.0, self.length_bonus or 0.0, self.lenpen or 0.0)

    @property
    def grid(self) -> Grid:
        """The grid to tune on. A weight that is given has only its own value there."""
        return Grid(
            *(
                values if given is None else (given,)
                for values, given in zip(
                    GRID, (self.weight, self.length_bonus, self.lenpen), strict=True
                )
            )
        )

    @property
    def scores_file(self) -> Path:
        """Where the teacher's answers about ``nbest`` are kept."""
        return Path(f"{self.output}.scores.npz")

    @property
    def tune_scores_file(self) -> Path:
        """Where the teacher's answers about ``tune_nbest`` are kept."""
        return Path(f"{self.output}.tune.scores.npz")
