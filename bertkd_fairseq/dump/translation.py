"""An ordinary translation model of fairseq as teacher. It predicts each token after the reference so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bertkd_fairseq.dump.teachers import (
    SIDES,
    LimitedBySide,
    Pair,
    SideLimits,
    autocast,
    in_float32,
)
from bertkd_fairseq.errors import ConfigurationError, must_be
from bertkd_fairseq.files import hash_file

if TYPE_CHECKING:
    from bertkd_fairseq.tasks.checkpoint import Checkpoint


class TranslationTeacher(LimitedBySide):
    """Any left-to-right encoder-decoder of a translation task. Scores as ``fairseq-generate --score-reference``."""

    def __init__(
        self, checkpoint: Checkpoint, data_bin: str, langs: tuple[str, str], name: str
    ) -> None:
        """Build the teacher for the dictionaries of ``data_bin``; ``name`` is the name of its path in messages.

        :raises BertKDError: if it doesn't fit the data-bin, or isn't a left-to-right encoder-decoder.
        """
        self.path, self.arch = checkpoint.path, checkpoint.arch
        # It needs neither BLEU, whose tokenizer may be missing, nor the teacher store that it was trained with.
        overrides: dict[str, Any] = {
            f"{side}_lang": lang for side, lang in zip(SIDES, langs, strict=True)
        }
        overrides |= {"eval_bleu": False, "teacher_topk": None}
        model, self.task = checkpoint.build(data_bin, **overrides)
        self.model: Any = model
        from fairseq.models import FairseqEncoderDecoderModel
        from fairseq.models.nat import FairseqNATModel

        kind = type(model).__name__
        left_to_right = isinstance(model, FairseqEncoderDecoderModel)
        if not left_to_right or isinstance(model, FairseqNATModel):
            wanted = "left-to-right translation models"
            raise ConfigurationError(must_be(name, wanted, f"the {kind} in {self.path}"))
        self.limits = SideLimits(*map(int, model.max_positions()))

    @property
    def facts(self) -> dict[str, Any]:
        """As :attr:`Teacher.facts`."""
        limits = {"max_positions": [self.limits.source, self.limits.target]}
        return {"kind": "translation", "sha256": hash_file(self.path), "arch": self.arch, **limits}

    @property
    def can_predict(self) -> np.ndarray:
        """As :attr:`Teacher.can_predict`. It is true of all symbols, as in fairseq."""
        return np.ones(len(self.task.target_dictionary), dtype=bool)

    def prepare(self, device: torch.device, precision: str, max_tokens: int) -> None:
        """As :meth:`Teacher.prepare`."""
        self.model.float().to(device).eval()
        output = getattr(self.model.decoder, "output_projection", None)
        if precision != "fp32" and isinstance(output, nn.Linear):
            in_float32(output)
        self._device, self._precision = device, precision

    def log_probs(self, pairs: Sequence[Pair]) -> Tensor:
        """As :meth:`Teacher.log_probs`."""
        from fairseq.data.language_pair_dataset import collate

        cfg, dictionary = self.task.cfg, self.task.target_dictionary
        samples = [
            {
                "id": number,
                "source": torch.from_numpy(self.limits.cut(pair.source)),
                "target": torch.from_numpy(pair.target),
            }
            for number, pair in enumerate(pairs)
        ]
        special = (self.task.source_dictionary.pad(), dictionary.eos())
        sample = collate(samples, *special, cfg.left_pad_source, cfg.left_pad_target)
        net_input = {key: value.to(self._device) for key, value in sample["net_input"].items()}
        with autocast(self._device, self._precision):
            output = self.model(**net_input)
            log_probs = self.model.get_normalized_probs(output, log_probs=True)  # (N, T, V)
        # fairseq sorts the pairs of a batch by length.
        where = sample["target"].ne(dictionary.pad()).nonzero()  # (rows, 2)
        where = where[sample["id"][where[:, 0]].argsort(stable=True)].to(self._device)
        rows: Tensor = log_probs[where[:, 0], where[:, 1]].float()
        return rows
