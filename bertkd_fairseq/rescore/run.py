"""Rescore an n-best list by teachers' log-probabilities, by one call with a :class:`RescoreConfig`."""

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
    """The scores of one split, and counts.

    ``first``, ``length_only``, ``rescored``: sacreBLEU of the lists' first hypotheses, of the best choice by the
    student and the length alone, and of the hypotheses chosen with the teacher. They are None if the data-bin has no
    reference, and ``length_only`` also if nothing was tuned.
    ``changed``: number of sentences whose first hypothesis is another one than before.
    ``without_teacher``: number of lists with a hypothesis that is too long for a teacher. They are ordered without it.
    ``source_cut``: number of hypotheses about which a teacher was asked with a source that was cut.
    ``unknown``: number of symbols that aren't in the dictionary.
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
    """The weights that were used, and the scores.

    ``splits``: the split that was tuned on, if any, and then the one that was rescored. ``length_only``: the best
    weights without the teacher. It and ``grid`` are None if nothing was tuned.
    """

    output: Path
    mix: Mix
    length_only: Mix | None
    grid: Grid | None
    splits: list[SplitScores]
    signature: str | None  # of sacreBLEU; None without a reference
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
    """One n-best list while it is rescored: its split, its file of answers, what scores it, and the teachers' part."""

    split: str
    nbest: NBest
    file: Path
    bleu: ListBLEU | None
    pairs: Any = field(init=False)  # the split as fairseq's dataset
    asked: Asked = field(init=False)
    lists: Lists = field(init=False)


def rescore(config: RescoreConfig) -> Rescored:
    """Write the n-best list of ``config.nbest`` in its new order.

    The teachers' answers are kept beside the output. After an interruption, or with other weights, they aren't computed
    again.

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
    """Read the list to tune on, if there is one, and the list to rescore. Mistakes of both are raised at once."""
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
    """Return the BLEU of choices from ``nbest``; None if the data-bin has no reference and none is ``needed``."""
    from bertkd_fairseq.rescore.bleu import ListBLEU

    if data_bin is None:
        return None
    there = data_bin.text("references", split, data_bin.target_lang).is_file()
    return ListBLEU(nbest, data_bin, split) if there or needed else None


def _load(parts: Sequence[_Part], config: RescoreConfig, device: torch.device) -> LoadedTeachers:
    """Load the teachers and the sentences of each part, and check that each list is of its split."""
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
    """Ask the teachers, set ``lists`` of each part, and return target tokens per second."""
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
    """Return the precision that answers were begun with, or else the one asked for, where ``auto`` is measured."""
    if config.precision == AUTO:
        for part in parts:
            begun = read_answers(part.file)[0].get("precision") if part.file.exists() else None
            if begun in CHOICES:
                log.info("precision: %s, with which %s began", begun, part.file)
                return str(begun)
    return choose(config.precision, device_type)


def _tune(part: _Part, grid: Grid) -> Tuned:
    assert part.bleu is not None  # _read_parts needs it for the list to tune on
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
