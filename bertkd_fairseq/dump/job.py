"""Load what a dump reads: the teachers, and a split of a data-bin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertkd_fairseq.data.store_match import data_hashes, pair_checksums
from bertkd_fairseq.dump.config import DumpConfig, RowSettings
from bertkd_fairseq.dump.loading import load_teachers
from bertkd_fairseq.dump.teachers import TooLongFor
from bertkd_fairseq.errors import ConfigurationError, must_be
from bertkd_fairseq.installed import versions
from bertkd_fairseq.settings import named
from bertkd_fairseq.topk_store.layout import SAMPLED

if TYPE_CHECKING:
    import torch

    from bertkd_fairseq.dump.rows import BlockDump

_PACKAGES = ("fairseq", "fairseq-fixed", "torch", "transformers", "numpy")


@dataclass(frozen=True)
class TooLong:
    """The number of pairs whose source is cut, and the number of pairs that have no teacher."""

    source_cut: int
    no_teacher: int


class DumpJob:
    """The teachers, and the pairs that they are asked about."""

    def __init__(self, path: str, data_bin: str, settings: RowSettings) -> None:
        """Load the teachers in the colon-separated ``path``, and the pairs.

        :raises BertKDError: if a teacher is missing, can't be used, or doesn't fit the data-bin.
        """
        self.data_bin, self.settings = data_bin, settings
        self.loaded = load_teachers(path, data_bin, settings)
        self.teachers = self.loaded.teachers
        self.pairs = self.loaded.load_pairs(settings.gen_subset)
        choices = int(np.any([teacher.can_predict for teacher in self.teachers], axis=0).sum())
        if settings.seed is None and settings.topk > choices:
            raise ConfigurationError(
                must_be(
                    named(DumpConfig, "topk"),
                    f"at most {choices}, the symbols of the dictionary",
                    settings.topk,
                )
            )

    @property
    def positions(self) -> str:
        """The longest input of each teacher, for messages."""
        return ", ".join(dict.fromkeys(teacher.positions for teacher in self.teachers))

    @property
    def target_sizes(self) -> np.ndarray:
        """The number of target tokens in every sentence, EOS included: (sentences,)."""
        return np.asarray(self.pairs.tgt_sizes)

    @property
    def symbols(self) -> list[str]:
        """The target dictionary, in the order of its ids."""
        return list(self.pairs.tgt_dict.symbols)

    def pair_checksums(self) -> np.ndarray:
        """Return the checksum of every pair: (sentences,) uint32."""
        return pair_checksums(self.pairs)

    def too_long_pairs(self) -> TooLongFor:
        """Return which pairs are cut for a teacher, and which get no entries because they are too long for one."""
        return self.loaded.too_long(np.asarray(self.pairs.src_sizes), self.target_sizes)

    def too_long(self) -> TooLong:
        """Return how many pairs are cut, and how many get no entries."""
        source_cut, no_room = self.too_long_pairs()
        return TooLong(int(source_cut.sum()), int(no_room.sum()))

    def plan(self, device_type: str) -> dict[str, Any]:
        """Return everything that determines the rows. A dump continues only if all of it is equal.

        It is a dict, because ``meta.json`` of the store has it in this form.
        """
        settings, loaded, alone = self.settings, self.loaded, self.loaded.only_cmlm
        source, target = loaded.langs
        sampled = {} if settings.seed is None else {"targets": SAMPLED, "seed": settings.seed}
        return {
            **sampled,
            "split": settings.gen_subset,
            "source_lang": source,
            "target_lang": target,
            "num_masks": loaded.num_masks,
            **settings.hiding,
            "precision": settings.precision,
            "max_tokens": settings.max_tokens,
            **({"max_positions": alone.max_positions} if alone else {}),
            "too_long": asdict(self.too_long()),
            "device": device_type,
            "versions": versions(*_PACKAGES),
            **loaded.facts,
            "hashes": data_hashes(self.data_bin, settings.gen_subset, source, target, self.pairs),
        }

    def dump(self, device: torch.device) -> BlockDump[Any]:
        """Move the teachers to ``device``, in their precision, and return the object that fills blocks of rows."""
        from bertkd_fairseq.dump.mixture import MixtureDump
        from bertkd_fairseq.dump.rows import Sampling, TeacherDump

        settings, dictionary = self.settings, self.pairs.tgt_dict
        self.loaded.prepare(device, settings.precision)
        common: dict[str, Any] = {
            "source_of": lambda sentence: self.pairs.src[sentence].numpy(),
            "target_of": lambda sentence: self.pairs.tgt[sentence].numpy(),
            "topk": settings.topk,
            "max_tokens": settings.max_tokens,
            "cut_sources": settings.cut_sources,
            "sampling": None if settings.seed is None else Sampling(settings.topk, settings.seed),
            "device": device,
        }
        if alone := self.loaded.only_cmlm:
            offset = alone.task.source_offset
            common["source_of"] = lambda sentence: self.pairs.src[sentence].numpy() + offset
            return TeacherDump(
                **common,
                teacher=alone.model,
                bos=dictionary.bos(),
                pad=dictionary.pad(),
                questions=alone.questions,
                max_positions=alone.max_positions,
            )
        teachers, weights = self.teachers, self.loaded.weights
        return MixtureDump(**common, teachers=teachers, weights=weights, eos=dictionary.eos())
