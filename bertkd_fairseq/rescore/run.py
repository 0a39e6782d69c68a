"""Rescore an n-best list by what teachers think of it: one call, with a :class:`RescoreConfig`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertkd_fairseq.dump.run import torch_device
from bertkd_fairseq.errors import DataError, raise_all
from bertkd_fairseq.files import whole_file
from bertkd_fairseq.precision import AUTO, CHOICES, choose
from bertkd_fairseq.rescore.answers import Answers, read_answers
from bertkd_fairseq.rescore.config import RescoreConfig
from bertkd_fairseq.rescore.nbest import NBest
from bertkd_fairseq.rescore.scoring import Lists, Mix
from bertkd_fairseq.rescore.tuning import Grid, Tuned, tune
from bertkd_fairseq.settings import named
from bertkd_fairseq.text.data_bin import SETTINGS_FILE, DataBin

if TYPE_CHECKING:
    import torch

    from bertkd_fairseq.dump.loading import LoadedTeachers
    from bertkd_fairseq.rescore.asking import Asked
    from bertkd_fairseq.rescore.bleu import ListBLEU

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitScores:
    """sacreBLEU on one split: of the lists' first hypotheses, of the best choice by the student and the length alone,
    and of the hypotheses chosen with the teacher. None where the data-bin has no reference, or nothing was tuned.

    ``changed``: sentences whose first hypothesis is another one than before. ``without_teacher``: lists with a
    hypothesis that has no room in a teacher, which the student orders alone. ``source_cut``: hypotheses that a
    teacher was asked about with a part of the source. ``unknown``: symbols that the dictionary hasn't.
    """

    split: str
    nbest: str
    sentences: int
    hypotheses: int
    first: float | None
    length_only: float | None
    rescored: float | None
    changed: int
    without_teacher: int
    source_cut: int
    unknown: int


@dataclass(frozen=True)
class Rescored:
    """What was chosen by, and what it came to: on the split that it was tuned on, if any, and on the one rescored."""

    output: Path
    mix: Mix
    length_only: Mix | None
    grid: Grid | None  # None where nothing was tuned
    splits: list[SplitScores]
    signature: str | None  # sacreBLEU's
    teachers: dict[str, Any]
    tokens_per_second: float
    seconds: float

    def report(self) -> dict[str, Any]:
        """Return the facts that are reported."""
        named_tuples = {"mix": self.mix, "length_only": self.length_only, "grid": self.grid}
        return {
            "output": str(self.output),
            **{name: value and value._asdict() for name, value in named_tuples.items()},
            "splits": [vars(split) for split in self.splits],
            "signature": self.signature,
            **self.teachers,
            "tokens_per_second": round(self.tokens_per_second, 1),
            "seconds": self.seconds,
        }


@dataclass
class _Part:
    """One n-best list on its way: of which split, what a choice scores, what teachers are asked and the answers."""

    split: str
    nbest: NBest
    file: Path
    bleu: ListBLEU | None
    pairs: Any = field(init=False)  # the split as fairseq's dataset
    asked: Asked = field(init=False)
    lists: Lists = field(init=False)


def rescore(config: RescoreConfig) -> Rescored:
    """Write the n-best list of ``config.nbest`` in its new order.

    What teachers answer is kept beside the output and not asked again, after an interruption or for other weights.

    :raises ConfigurationError: with every setting that can't work.
    :raises BertKDError: if files can't be read, don't fit each other, or can't be written.
    """
    raise_all(config.problems())
    start = time.monotonic()
    parts = _read_parts(config)
    device = torch_device(config)
    teachers = _load(parts, config, device)
    rate = _ask(parts, teachers, device, config)
    *_, test = parts
    grid, tuned, length_only = None, None, None
    if config.tune_nbest:
        grid = config.grid
        tuned, length_only = _tune(parts[0], grid), _tune(parts[0], grid.without_teacher())
    mix = tuned.mix if tuned else config.given
    control = length_only.mix if length_only else None
    _write(test, mix, config)
    return Rescored(
        output=Path(config.output),
        mix=mix,
        length_only=control,
        grid=grid,
        splits=[_scores(part, mix, control) for part in parts],
        signature=parts[0].bleu.signature if parts[0].bleu else None,
        teachers=teachers.facts,
        tokens_per_second=rate,
        seconds=round(time.monotonic() - start, 1),
    )


def _read_parts(config: RescoreConfig) -> list[_Part]:
    """Read the list to tune on, if there is one, and then the one to rescore; their mistakes are told at once."""
    data_bin = None
    if config.tune_nbest or Path(config.data_bin, SETTINGS_FILE).is_file():
        data_bin = DataBin.open(config.data_bin)
    wanted = [("nbest", config.gen_subset, config.scores_file)]
    if config.tune_nbest:
        wanted.insert(0, ("tune_nbest", config.tune_subset, config.tune_scores_file))
    parts, problems = [], []
    for name, split, file in wanted:
        try:
            nbest = NBest.read(getattr(config, name), named(config, name))
            bleu = _bleu(nbest, data_bin, split, needed=name == "tune_nbest")
        except DataError as error:
            problems.append(str(error))
        else:
            parts.append(_Part(split, nbest, file, bleu))
    raise_all(problems, DataError)
    return parts


def _bleu(nbest: NBest, data_bin: DataBin | None, split: str, needed: bool) -> ListBLEU | None:
    """Return what scores choices; None where the data-bin has no reference and none is ``needed``."""
    from bertkd_fairseq.rescore.bleu import ListBLEU

    if data_bin is None:
        return None
    there = data_bin.text("references", split, data_bin.target_lang).is_file()
    return ListBLEU(nbest, data_bin, split) if there or needed else None


def _load(parts: Sequence[_Part], config: RescoreConfig, device: torch.device) -> LoadedTeachers:
    """Load the teachers, and the sentences of each part; it has to be of its split."""
    from bertkd_fairseq.dump.loading import load_teachers
    from bertkd_fairseq.rescore.asking import as_asked

    settings = config.asking(
        config.gen_subset, config.precision, device.type, topk=0, cut_sources=True
    )
    teachers = load_teachers(config.path, config.data_bin, settings)
    problems = []
    for part in parts:
        pairs = part.pairs = teachers.load_pairs(part.split)
        targets = [[pairs.tgt_dict.string(pairs.tgt[i]) for i in range(len(pairs))]]
        if part.bleu and len(part.bleu.reference) == len(pairs):
            targets.append(part.bleu.reference)
        problems += part.nbest.split_problems(part.split, targets)
    raise_all(problems, DataError)
    for part in parts:
        part.asked = as_asked(part.nbest, part.pairs, teachers)
    return teachers


def _ask(
    parts: Sequence[_Part], teachers: LoadedTeachers, device: torch.device, config: RescoreConfig
) -> float:
    """Give each part the lists with the teachers' part in them, and return target tokens per second."""
    from bertkd_fairseq.rescore.asking import ask, plan_of

    precision = _precision(parts, config, device.type)
    kept = []
    for part in parts:
        plan = plan_of(part.nbest, part.split, part.pairs, teachers, precision, device.type)
        tokens, name = part.asked.num_tokens, named(config, "force")
        kept.append(Answers(part.file, plan, tokens, force=config.force, force_name=name))
    teachers.prepare(device, precision)
    rates = []
    for part, answers in zip(parts, kept, strict=True):
        log.info("%s: %d hypotheses of %s", part.nbest.path, len(part.asked.pairs), part.split)
        rates.append(ask(part.asked, answers, teachers, device))
        nbest = part.nbest
        answered = part.asked.sums(answers.logprobs)
        part.lists = Lists.of(nbest.sizes, nbest.student(), answered, nbest.lengths())
    return max(rates)


def _precision(parts: Sequence[_Part], config: RescoreConfig, device_type: str) -> str:
    """Return the precision that answers were begun with, or the one asked for, measured where that is ``auto``."""
    if config.precision == AUTO:
        for part in parts:
            begun = read_answers(part.file)[0].get("precision") if part.file.exists() else None
            if begun in CHOICES:
                log.info("precision: %s, with which %s began", begun, part.file)
                return str(begun)
    return choose(config.precision, device_type)


def _tune(part: _Part, grid: Grid) -> Tuned:
    assert part.bleu is not None  # it was needed
    return tune(part.lists, part.bleu, grid)


def _write(part: _Part, mix: Mix, config: RescoreConfig) -> None:
    order, scores = part.lists.order(mix), part.lists.scores(mix)
    with whole_file(config.output) as partial:
        part.nbest.reordered(order, scores).write(partial)


def _scores(part: _Part, mix: Mix, control: Mix | None) -> SplitScores:
    asked, lists, bleu = part.asked, part.lists, part.bleu
    chosen = lists.best(mix)
    lost = np.logical_or.reduceat(asked.too_long.no_room, np.cumsum([0, *part.nbest.sizes[:-1]]))
    return SplitScores(
        split=part.split,
        nbest=str(part.nbest.path),
        sentences=len(chosen),
        hypotheses=len(asked.pairs),
        first=bleu(np.zeros_like(chosen)) if bleu else None,
        length_only=bleu(lists.best(control)) if bleu and control else None,
        rescored=bleu(chosen) if bleu else None,
        changed=int((chosen != 0).sum()),
        without_teacher=int(lost.sum()),
        source_cut=int(asked.too_long.source_cut.sum()),
        unknown=asked.unknown,
    )
