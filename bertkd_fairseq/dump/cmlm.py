"""A C-MLM teacher (paper, section 3.2), alone or in a mixture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bertkd_fairseq.dump.rows import (
    MaskedCopy,
    masked_copies,
    masked_logits,
    set_precision,
    token_batches,
)
from bertkd_fairseq.dump.teachers import SIDES, Pair, TooLongFor
from bertkd_fairseq.files import hash_file
from bertkd_fairseq.teacher_input import fit_source, fitted_lengths

if TYPE_CHECKING:
    from bertkd_fairseq.tasks.checkpoint import Checkpoint


class CMLMTeacher:
    """A BERT that was fine-tuned with ``--task bert_cmlm``. It reads ``num_masks`` masked copies of each pair."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        data_bin: str,
        num_masks: int,
        langs: tuple[str | None, str | None],
    ) -> None:
        """Build the teacher for the dictionary of ``data_bin``.

        :param langs: source and target language, each None if it isn't known.
        :raises BertKDError: if the teacher doesn't fit the data-bin.
        """
        known = {f"{side}_lang": lang for side, lang in zip(SIDES, langs, strict=True) if lang}
        self.path, self.num_masks = checkpoint.path, num_masks
        self.model, self.task = checkpoint.build(data_bin, **known)
        self.max_positions = min(self.model.max_positions(), self.task.cfg.max_positions)

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
            copies += masked_copies(source, pair.target, rows, pair.uniforms[:0], self.num_masks)
            first_row += len(pair.target)
        dictionary = self.task.target_dictionary
        filled = torch.empty((first_row, len(dictionary)), device=self._device)
        for batch in token_batches(copies, self._max_tokens):
            special = (dictionary.bos(), dictionary.pad())
            logits = masked_logits(self.model, batch, *special, self._device)
            where = torch.from_numpy(np.concatenate([copy.rows for copy in batch]))
            filled[where.to(self._device)] = logits.float().log_softmax(1)
        return filled
