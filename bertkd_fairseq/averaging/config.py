"""The settings of ``bertkd average``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.errors import must_be
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.text.outputs import output_problems

_WHICH = "checkpoints (--inputs, or --save-dir with --last or --best)"


@dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """The settings of :func:`bertkd_fairseq.averaging.checkpoints.average`.

    Either ``inputs``, or ``save_dir`` with ``last`` or ``best``.
    """

    inputs: Sequence[Path] | None = setting(
        "average exactly these checkpoint files",
        default=None,
        metavar="FILE",
        several=True,
        group=_WHICH,
    )
    save_dir: Path | None = setting(
        "folder of one training; choose from it with --last or --best",
        default=None,
        metavar="DIR",
        group=_WHICH,
    )
    last: int | None = setting(
        "average the last N checkpoints by update, or by epoch if there are none by update",
        default=None,
        at_least=2,
        metavar="N",
        group=_WHICH,
    )
    best: bool = setting(
        "average all checkpoints that fairseq's --keep-best-checkpoints kept",
        default=False,
        group=_WHICH,
    )
    output: Path = setting("checkpoint to write", metavar="FILE")
    force: bool = setting("replace a file at --output", default=False)

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without opening a checkpoint."""
        output, force = named(self, "output"), named(self, "force")
        problems = output_problems({output: self.output}, force=self.force, force_name=force)
        inputs, last, best, save_dir = (
            named(self, name) for name in ("inputs", "last", "best", "save_dir")
        )
        if sum([bool(self.inputs), self.last is not None, self.best]) != 1:
            problems.append(f"Exactly one of `{inputs}`, `{last}` and `{best}` must be given.")
        elif bool(self.inputs) == bool(self.save_dir):
            problems.append(
                f"`{save_dir}` must be given with `{last}` or `{best}`, and only there."
            )
        if self.inputs and len(self.inputs) < 2:
            problems.append(must_be(inputs, "at least 2 files", len(self.inputs)))
        return problems + range_problems(self)
