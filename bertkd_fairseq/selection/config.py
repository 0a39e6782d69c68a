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
"""The key of ``bertkd.json`` that has the facts of the selection. It marks the folder as one of ours."""


def _own_files(folder: Path) -> Sequence[str] | None:
    return DATA_BIN.files(folder) if SELECTION in read_marker(folder / SETTINGS_FILE) else None


SELECTED = FolderKind("selection", "bertkd select", _own_files)

_WHICH = "which hypotheses are taken"


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """The settings of :func:`bertkd_fairseq.selection.run.select`."""

    nbest: Sequence[str] = setting(
        "output of fairseq-generate for the split, with all its lines. Several files may be of several students, or "
        "of shards of the split. Together they must have every sentence",
        metavar="FILE",
        several=True,
    )
    data_bin: str = setting(
        "data-bin of `bertkd prepare` that the lists were decoded from", metavar="DIR"
    )
    destdir: str = setting("data-bin to make", metavar="DIR")
    by: str = setting(
        "what makes a hypothesis the best one. teacher: the score in --rescored. student: the student's own score, in "
        "the H- lines. reference: the likeness to the reference. both: the sum of the ranks by teacher and by "
        "reference",
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
        "metric for the likeness to the reference. sacreBLEU computes it for each sentence",
        default=CHRF,
        choices=METRICS,
        group=_WHICH,
    )
    keep: int = setting(
        "largest number of hypotheses to take for each sentence",
        default=1,
        at_least=1,
        metavar="N",
        group=_WHICH,
    )
    keep_duplicates: bool = setting(
        "also take hypotheses that are equal to each other, or to the reference beside them",
        default=False,
        group=_WHICH,
    )
    min_length: int = setting(
        "smallest number of symbols of a hypothesis, without EOS",
        default=1,
        at_least=0,
        metavar="N",
        group=_WHICH,
    )
    max_length: int | None = setting(
        "largest number of symbols of a hypothesis, without EOS; no limit if not given",
        default=None,
        at_least=1,
        metavar="N",
        group=_WHICH,
    )
    max_ratio: float | None = setting(
        "largest ratio of the two lengths of a pair, longer to shorter; no limit if not given",
        default=None,
        at_least=1,
        metavar="R",
        group=_WHICH,
    )
    with_reference: str = setting(
        "where the new pairs go. same: into the split, after all of its pairs. apart: into a part of their own, such "
        "as train1. The split stays as it is then, so a teacher store of it still fits. no: the split has only the "
        "new pairs",
        default=SAME,
        choices=WITH_REFERENCE,
    )
    backward: bool = setting(
        "the lists are translations from the target language to the source language, so hypotheses become sources",
        default=False,
    )
    gen_subset: str = setting(
        "split that the lists were decoded from", default="train", metavar="SPLIT"
    )
    force: bool = setting("replace an earlier selection at --destdir", default=False)

    def problems(self) -> list[str]:
        """Return what is wrong with the settings. No n-best list is read for it."""
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
        """Whether the choice needs the likeness of hypotheses to the reference."""
        return self.by in (REFERENCE, BOTH)
