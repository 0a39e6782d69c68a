"""What a dump reads: a teacher's checkpoint and a split of a data-bin, through fairseq."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertkd_fairseq.data.store_match import data_hashes, pair_checksums
from bertkd_fairseq.dump.config import DumpConfig, RowSettings
from bertkd_fairseq.errors import ConfigurationError, must_be
from bertkd_fairseq.files import hash_file
from bertkd_fairseq.installed import versions
from bertkd_fairseq.settings import named
from bertkd_fairseq.teacher_input import FittedLengths, fitted_lengths
from bertkd_fairseq.topk_store.layout import SAMPLED

if TYPE_CHECKING:
    import torch

    from bertkd_fairseq.dump.rows import TeacherDump

_PACKAGES = ("fairseq", "fairseq-fixed", "torch", "transformers", "numpy")


@dataclass(frozen=True)
class TooLong:
    """How many pairs lose the end of their source, and how many have no teacher."""

    source_cut: int
    no_teacher: int


class DumpJob:
    """A teacher and the pairs that it is asked about."""

    def __init__(self, path: str, data_bin: str, settings: RowSettings) -> None:
        """Load both.

        :raises BertKDError: if the checkpoint is missing, refused or no teacher's, or doesn't fit the data-bin.
        """
        self.path, self.data_bin, self.settings = path, data_bin, settings
        self.teacher, self.task = load_teacher(path, data_bin)
        self.pairs = self.task.load_pairs(data_bin, settings.gen_subset)
        self.max_positions = min(self.teacher.max_positions(), self.task.cfg.max_positions)
        choices = int((~self.teacher.never_predicted).sum())
        if settings.seed is None and settings.topk > choices:
            raise ConfigurationError(
                must_be(
                    named(DumpConfig, "topk"),
                    f"at most {choices}, the symbols of the dictionary",
                    settings.topk,
                )
            )

    @property
    def target_sizes(self) -> np.ndarray:
        """Target tokens of every sentence, EOS included: (sentences,)."""
        return np.asarray(self.pairs.tgt_sizes)

    @property
    def symbols(self) -> list[str]:
        """The target dictionary, in the order of its ids."""
        return list(self.task.target_dictionary.symbols)

    def pair_checksums(self) -> np.ndarray:
        """Return the checksum of every pair: (sentences,) uint32."""
        return pair_checksums(self.pairs)

    def fitted(self) -> FittedLengths:
        """Return what becomes of pairs that are too long for the teacher."""
        source_sizes = np.asarray(self.pairs.src_sizes)
        cut = self.settings.cut_sources
        return fitted_lengths(source_sizes, self.target_sizes, self.max_positions, cut_sources=cut)

    def too_long(self) -> TooLong:
        """Return how many pairs are too long for the teacher."""
        fitted = self.fitted()
        return TooLong(int(np.sum(fitted.source_cut)), int(np.sum(fitted.no_room)))

    def plan(self, device_type: str) -> dict[str, Any]:
        """Return whatever determines the rows: a dump continues only where all is equal.

        A dict, because it is a part of the store's ``meta.json`` as it stands.
        """
        settings, task = self.settings, self.task
        sampled = {} if settings.seed is None else {"targets": SAMPLED, "seed": settings.seed}
        return {
            **sampled,
            "split": settings.gen_subset,
            "source_lang": task.cfg.source_lang,
            "target_lang": task.cfg.target_lang,
            "num_masks": settings.num_masks,
            "precision": settings.precision,
            "max_tokens": settings.max_tokens,
            "max_positions": self.max_positions,
            "too_long": asdict(self.too_long()),
            "device": device_type,
            "versions": versions(*_PACKAGES),
            "teacher": {
                "sha256": hash_file(self.path),
                "arch": "bert_cmlm_teacher",
                "attention": self.teacher.attention,
            },
            "hashes": data_hashes(
                self.data_bin,
                settings.gen_subset,
                task.cfg.source_lang,
                task.cfg.target_lang,
                self.pairs,
            ),
        }

    def dump(self, device: torch.device) -> TeacherDump:
        """Move the teacher to ``device`` in its precision and return what fills blocks with its predictions."""
        from bertkd_fairseq.dump.rows import Sampling, TeacherDump, set_precision

        settings = self.settings
        set_precision(self.teacher, settings.precision)
        self.teacher.to(device).eval()
        return TeacherDump(
            teacher=self.teacher,
            source_of=lambda sentence: self.pairs.src[sentence].numpy() + self.task.source_offset,
            target_of=lambda sentence: self.pairs.tgt[sentence].numpy(),
            bos=self.task.source_dictionary.bos(),
            pad=self.task.source_dictionary.pad(),
            topk=settings.topk,
            num_masks=settings.num_masks,
            max_positions=self.max_positions,
            max_tokens=settings.max_tokens,
            cut_sources=settings.cut_sources,
            sampling=None if settings.seed is None else Sampling(settings.topk, settings.seed),
            device=device,
        )


def load_teacher(path: str, data_bin: str) -> tuple[Any, Any]:
    """Return the teacher in ``path`` and its task, set up on ``data_bin``.

    :raises BertKDError: if the file is missing, refused, or holds no teacher.
    """
    if not os.path.exists(path):
        raise ConfigurationError(
            f"there is no checkpoint at {path}. Train a teacher with --task bert_cmlm first."
        )
    # Importing the tasks prepares the process for fairseq, which importing this module must not.
    from bertkd_fairseq.tasks.bert_cmlm import BertCMLMTask
    from bertkd_fairseq.tasks.checkpoint import load_checkpoint

    model, task = load_checkpoint(path, data_bin)

    if not isinstance(task, BertCMLMTask):
        raise ConfigurationError(
            must_be(
                named(DumpConfig, "path"),
                "a checkpoint of --task bert_cmlm",
                f"one of {type(task).__name__}",
            )
        )
    return model, task
