"""Ask the teachers about every hypothesis of an n-best list, in batches by length, and keep their answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertkd_fairseq.data.store_match import data_hashes
from bertkd_fairseq.dump.mixture import mixed_log_probs
from bertkd_fairseq.dump.rows import gold_of, not_finite, token_batches
from bertkd_fairseq.dump.teachers import Pair, TooLongFor
from bertkd_fairseq.progress import Progress
from bertkd_fairseq.rescore.answers import Answers

if TYPE_CHECKING:
    from bertkd_fairseq.dump.loading import LoadedTeachers
    from bertkd_fairseq.rescore.nbest import NBest

SECONDS_BETWEEN_SAVES = 20.0
_BATCH_SHARE = 4
"""The pairs of a batch have at most a quarter of ``max_tokens`` positions. A C-MLM teacher reads several copies of each
pair, and with small batches a killed process loses few answers."""

_NO_DRAWS = np.zeros((0, 0))


@dataclass(frozen=True)
class Asked:
    """An n-best list as pairs of ids, about which the teachers are asked. The rows of the pairs follow each other."""

    pairs: list[Pair]
    too_long: TooLongFor
    unknown: int  # number of symbols that aren't in the dictionary

    @property
    def offsets(self) -> np.ndarray:
        """The first row of each hypothesis: (hypotheses,)."""
        return np.array([pair.rows[0] for pair in self.pairs])

    @property
    def num_tokens(self) -> int:
        """The number of rows of all hypotheses."""
        return int(self.pairs[-1].rows[-1]) + 1

    def sums(self, logprobs: np.ndarray) -> np.ndarray:
        """Return each hypothesis's sum over its tokens: (hypotheses,) float64; NaN if it has no teacher."""
        return np.add.reduceat(logprobs.astype(np.float64), self.offsets)


def as_asked(nbest: NBest, split: Any, teachers: LoadedTeachers) -> Asked:
    """Return the pairs of source and hypothesis; ``split``, a dataset of fairseq, has the sources."""
    dictionary = split.tgt_dict
    targets = nbest.ids(dictionary.index, dictionary.eos())
    ends = np.cumsum([len(target) for target in targets])
    pairs = [
        Pair(split.src[number].numpy(), target, np.arange(end - len(target), end), _NO_DRAWS)
        for number, target, end in zip(nbest.numbers.tolist(), targets, ends, strict=True)
    ]
    sizes = (np.array([len(side) for side in sides]) for sides in _sides(pairs))
    unknown = sum(int((target == dictionary.unk()).sum()) for target in targets)
    return Asked(pairs, teachers.too_long(*sizes), unknown)


def _sides(pairs: Sequence[Pair]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [pair.source for pair in pairs], [pair.target for pair in pairs]


def plan_of(
    nbest: NBest, name: str, split: Any, teachers: LoadedTeachers, precision: str, device_type: str
) -> dict[str, Any]:
    """Return everything that the teachers' answers depend on; ``name`` is the name of the split."""
    source, target = teachers.langs
    return {
        "split": name,
        "source_lang": source,
        "target_lang": target,
        "num_masks": teachers.num_masks,
        "precision": precision,
        "max_tokens": teachers.settings.max_tokens,
        "device": device_type,
        "hypotheses": nbest.digest(),
        "hashes": data_hashes(teachers.data_bin, name, source, target, split),
        **teachers.facts,
    }


def ask(asked: Asked, answers: Answers, teachers: LoadedTeachers, device: torch.device) -> float:
    """Compute the missing ``answers``, and return target tokens per second.

    The batches depend only on the list, so an interruption changes no answer. The answers about hypotheses that are too
    long for a teacher stay NaN.

    :raises DataError: if the answers aren't numbers, as may happen in float16.
    """
    room = [pair for pair, no in zip(asked.pairs, asked.too_long.no_room, strict=True) if not no]
    batches = list(token_batches(room, max(1, teachers.settings.max_tokens // _BATCH_SHARE)))
    rows = [np.concatenate([pair.rows for pair in batch]) for batch in batches]
    open_ = [i for i, where in enumerate(rows) if np.isnan(answers.logprobs[where]).any()]
    total, left = sum(map(len, rows)), sum(len(rows[i]) for i in open_)
    saved = time.monotonic()
    with Progress("teacher", total, "tokens", total - left) as progress:
        try:
            for i in open_:
                answers.logprobs[rows[i]] = log_probs_of(batches[i], teachers, device)
                progress.add(len(rows[i]))
                if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                    answers.save()
                    saved = time.monotonic()
        finally:
            if open_:
                answers.save()
        return progress.rate


def log_probs_of(
    batch: Sequence[Pair], teachers: LoadedTeachers, device: torch.device
) -> np.ndarray:
    """Return log p(token | source, other tokens that the teacher sees) of all target tokens: (rows,) float32.

    :raises DataError: if they aren't numbers.
    """
    log_probs = mixed_log_probs(teachers.teachers, teachers.weights, batch)  # (rows, V)
    of_tokens = log_probs.gather(1, gold_of(batch, device)[:, None]).squeeze(1)
    if of_tokens.isnan().any():
        raise not_finite()
    return of_tokens.cpu().numpy()
