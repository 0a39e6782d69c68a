"""The settings of a selection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.errors import must_be, outside
from bertkd_fairseq.files import FolderKind, dest_problems, read_marker
from bertkd_fairseq.selection.choosing import BOTH, CRITERIA, REFERENCE, TEACHER, Bounds
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.text.data_bin import DATA_BIN, SETTINGS_FILE
from bertkd_fairseq.text.outputs import inside_problems

CHRF, BLEU = METRICS = ("chrf", "bleu")
SAME, APART, NO = WITH_REFERENCE = ("same", "apart", "no")
SELECTION = "selection"
"""What ``bertkd.json`` has about the selection; by it, the folder is known as one of ours."""


def _own_files(folder: Path) -> Sequence[str] | None:
    return DATA_BIN.files(folder) if SELECTION in read_marker(folder / SETTINGS_FILE) else None


SELECTED = FolderKind("selection", "bertkd select", _own_files)

_WHICH = "which hypotheses are taken"


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """The settings of :func:`bertkd_fairseq.selection.run.select`."""

    nbest: Sequence[str] = setting(
        "output of fairseq-generate for the split, all lines of it: of one student or several, of the whole split or "
        "of shards, which together have every sentence",
        metavar="FILE",
        several=True,
    )
    data_bin: str = setting(
        "data-bin of `bertkd prepare` that they were decoded from", metavar="DIR"
    )
    destdir: str = setting("data-bin to make", metavar="DIR")
    by: str = setting(
        "teacher: the score in --rescored. student: the student's own, as H- has it. reference: likeness to the "
        "reference. both: the sum of the ranks by teacher and by reference",
        choices=CRITERIA,
        group=_WHICH,
    )
    rescored: Sequence[str] = setting(
        "output of `bertkd rescore` for each file of --nbest, in the same order and with the same weights",
        default=(),
        metavar="FILE",
        several=True,
        group=_WHICH,
    )
    metric: str = setting(
        "likeness to the reference: of sentences, by sacreBLEU",
        default=CHRF,
        choices=METRICS,
        group=_WHICH,
    )
    keep: int = setting(
        "number of hypotheses for each sentence, at most",
        default=1,
        at_least=1,
        metavar="N",
        group=_WHICH,
    )
    keep_duplicates: bool = setting(
        "take hypotheses that are equal to each other, or to the reference beside them, as well",
        default=False,
        group=_WHICH,
    )
    min_length: int = setting(
        "least number of symbols of a hypothesis, EOS not counted",
        default=1,
        at_least=0,
        metavar="N",
        group=_WHICH,
    )
    max_length: int | None = setting(
        "largest number of symbols of a hypothesis; any if not given",
        default=None,
        at_least=1,
        metavar="N",
        group=_WHICH,
    )
    max_ratio: float | None = setting(
        "how many times as long as the other one the longer side of a pair may be; any if not given",
        default=None,
        at_least=1,
        metavar="R",
        group=_WHICH,
    )
    with_reference: str = setting(
        "same: the split is all pairs as they were and then the new ones. apart: the split stays as it is, so that a "
        "teacher store of it still fits, and the new pairs are a part beside it, train1. no: the new pairs alone",
        default=SAME,
        choices=WITH_REFERENCE,
    )
    backward: bool = setting(
        "the lists translate from the target to the source language: hypotheses become sources",
        default=False,
    )
    gen_subset: str = setting(
        "split that the lists were decoded from", default="train", metavar="SPLIT"
    )
    force: bool = setting("replace an earlier selection at --destdir", default=False)

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without reading an n-best list."""
        problems = range_problems(self)
        rescored, by = named(self, "rescored"), named(self, "by")
        if self.by in (TEACHER, BOTH) and not self.rescored:
            problems.append(f"`{by} {self.by}` needs `{rescored}`. Make it with `bertkd rescore`.")
        elif self.rescored and len(self.rescored) != len(self.nbest):
            wanted = f"{len(self.nbest)} files, one for each of {named(self, 'nbest')}"
            problems.append(must_be(rescored, wanted, len(self.rescored)))
        for name in ("nbest", "rescored"):
            files = list(map(os.path.realpath, getattr(self, name)))
            if len({*files}) < len(files):
                seen = " ".join(getattr(self, name))
                problems.append(must_be(named(self, name), "different files", seen))
        if self.max_length is not None and self.max_length < self.min_length:
            least = max(1, self.min_length)
            problems += outside(named(self, "max_length"), self.max_length, at_least=least)
        destdir = named(self, "destdir")
        if os.path.realpath(self.destdir) == os.path.realpath(self.data_bin):
            wanted = f"another folder than {named(self, 'data_bin')}"
            return [*problems, must_be(destdir, wanted, self.destdir)]
        problems += dest_problems(
            Path(self.destdir), SELECTED, self.force, name=destdir, force_name=named(self, "force")
        )
        return problems + inside_problems(destdir, self.destdir)

    @property
    def bounds(self) -> Bounds:
        """The lengths that are allowed."""
        return Bounds(self.min_length, self.max_length, self.max_ratio)

    @property
    def needs_metric(self) -> bool:
        """Whether hypotheses are compared with the reference."""
        return self.by in (REFERENCE, BOTH)
