"""A C-MLM teacher (paper, section 3.2), alone or in a mixture."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bertkd_fairseq.dump.config import RowSettings
from bertkd_fairseq.dump.rows import (
    MaskedCopy,
    masked_copies,
    masked_logits,
    set_precision,
    token_batches,
)
from bertkd_fairseq.dump.teachers import SIDES, Pair, TooLongFor
from bertkd_fairseq.files import hash_file
from bertkd_fairseq.masking import PIECE, UNIFORM, WORD, Questions
from bertkd_fairseq.teacher_input import fit_source, fitted_lengths

if TYPE_CHECKING:
    from bertkd_fairseq.tasks.checkpoint import Checkpoint

log = logging.getLogger(__name__)


class CMLMTeacher:
    """A BERT that was fine-tuned with ``--task bert_cmlm``. It reads masked copies of pairs, as ``settings`` say."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        data_bin: str,
        settings: RowSettings,
        langs: tuple[str | None, str | None],
    ) -> None:
        """Build the teacher for the dictionary of ``data_bin``.

        :param langs: source and target language, each None if it isn't known.
        :raises BertKDError: if the teacher doesn't fit the data-bin.
        """
        known = {f"{side}_lang": lang for side, lang in zip(SIDES, langs, strict=True) if lang}
        self.path = checkpoint.path
        self.model, self.task = checkpoint.build(data_bin, **known)
        self.max_positions = min(self.model.max_positions(), self.task.cfg.max_positions)
        marks = self.task.word_marks() if settings.mask_unit == WORD else None
        future, seed = settings.future, settings.hide_seed
        self.questions = Questions(settings.num_masks, future, seed, marks)
        if differ := _hiding_differs(self.task.cfg, settings.hiding):
            log.warning("%s was trained with %s and is asked with %s", self.path, *differ)

    @property
    def identity(self) -> dict[str, Any]:
        """What a store records of this teacher if it is the only one."""
        return {
            "sha256": hash_file(self.path),
            "arch": "bert_cmlm_teacher",
            "attention": self.model.attention,
        }

    @property
    def facts(self) -> dict[str, Any]:
        """As :attr:`Teacher.facts`."""
        return {"kind": "cmlm", **self.identity, "max_positions": self.max_positions}

    @property
    def positions(self) -> str:
        """As :attr:`Teacher.positions`."""
        return str(self.max_positions)

    @property
    def can_predict(self) -> np.ndarray:
        """As :attr:`Teacher.can_predict`."""
        return np.asarray(~self.model.never_predicted.cpu().numpy())

    def too_long(
        self, source_sizes: np.ndarray, target_sizes: np.ndarray, *, cut_sources: bool
    ) -> TooLongFor:
        """As :meth:`Teacher.too_long`."""
        sizes = (source_sizes, target_sizes)
        fitted = fitted_lengths(*sizes, self.max_positions, cut_sources=cut_sources)
        return TooLongFor(fitted.source_cut, fitted.no_room)

    def prepare(self, device: torch.device, precision: str, max_tokens: int) -> None:
        """As :meth:`Teacher.prepare`."""
        set_precision(self.model, precision)
        self.model.to(device).eval()
        self._device, self._max_tokens = device, max_tokens

    def log_probs(self, pairs: Sequence[Pair]) -> Tensor:
        """As :meth:`Teacher.log_probs`. The masked copies of ``pairs`` are read in batches of their own."""
        copies: list[MaskedCopy] = []
        first_row = 0
        for pair in pairs:
            source = fit_source(
                pair.source + self.task.source_offset, len(pair.target), self.max_positions
            )
            assert source is not None  # the mixture leaves out pairs that are too long
            rows = np.arange(first_row, first_row + len(pair.target))
            questions = self.questions.of(pair.target, pair.sentence)
            copies += masked_copies(source, pair.target, rows, pair.uniforms[:0], questions)
            first_row += len(pair.target)
        dictionary = self.task.target_dictionary
        filled = torch.empty((first_row, len(dictionary)), device=self._device)
        for batch in token_batches(copies, self._max_tokens):
            special = (dictionary.bos(), dictionary.pad())
            logits = masked_logits(self.model, batch, *special, self._device)
            where = torch.from_numpy(np.concatenate([copy.rows for copy in batch]))
            filled[where.to(self._device)] = logits.float().log_softmax(1)
        return filled


def _hiding_differs(trained: Any, asked: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what was hidden in training and what a dump hides, as options; None where that is the same."""
    rate = str(getattr(trained, "hide_future", 0))  # checkpoints of before have no such setting
    before = {
        "hide_future": rate if rate == UNIFORM else f"{float(rate):g}",
        "future_window": getattr(trained, "future_window", None),
        "mask_unit": getattr(trained, "mask_unit", PIECE),
    }
    now = {
        "hide_future": f"{asked.get('hide_future', 0):g}",
        "future_window": asked.get("future_window"),
        "mask_unit": asked.get("mask_unit", PIECE),
    }
    if rate == UNIFORM and asked.get("hide_future"):
        before["hide_future"] = now["hide_future"]
    if before == now:
        return None
    both = (
        (f"--{name.replace('_', '-')} {value}" for name, value in each.items() if value is not None)
        for each in (before, now)
    )
    trained_with, asked_with = map(" ".join, both)
    return trained_with, asked_with
