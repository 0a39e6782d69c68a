"""What a dump reads: teachers and a split of a data-bin, through fairseq."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertkd_fairseq.data.pairs import load_pairs
from bertkd_fairseq.data.store_match import data_hashes, pair_checksums
from bertkd_fairseq.dump.cmlm import CMLMTeacher
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
    """How many pairs lose the end of their source, and how many have no teacher."""

    source_cut: int
    no_teacher: int


class DumpJob:
    """Teachers and the pairs that they are asked about."""

    def __init__(self, path: str, data_bin: str, settings: RowSettings) -> None:
        """Load the teachers in the colon-separated ``path``, and the pairs.

        :raises BertKDError: if a teacher is missing, refused or none, or doesn't fit the data-bin.
        """
        self.data_bin, self.settings = data_bin, settings
        loaded = load_teachers(path, data_bin, settings)
        self.teachers, self.langs = loaded.teachers, loaded.langs
        if loaded.dictionaries is None:
            self.pairs = self._only_cmlm.task.load_pairs(data_bin, settings.gen_subset)
        else:
            self.pairs = load_pairs(
                data_bin,
                settings.gen_subset,
                loaded.langs,
                loaded.dictionaries,
                left_pad_source=True,
            )
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
    def _only_cmlm(self) -> Any:
        """The C-MLM teacher where it is the only one, whose stores are as before there were others; or None."""
        is_cmlm = [isinstance(teacher, CMLMTeacher) for teacher in self.teachers]
        return self.teachers[0] if is_cmlm == [True] else None

    @property
    def _masked(self) -> bool:
        return any(isinstance(teacher, CMLMTeacher) for teacher in self.teachers)

    @property
    def positions(self) -> str:
        """The longest input of the teachers, for messages."""
        return ", ".join(dict.fromkeys(teacher.positions for teacher in self.teachers))

    @property
    def target_sizes(self) -> np.ndarray:
        """Target tokens of every sentence, EOS included: (sentences,)."""
        return np.asarray(self.pairs.tgt_sizes)

    @property
    def symbols(self) -> list[str]:
        """The target dictionary, in the order of its ids."""
        return list(self.pairs.tgt_dict.symbols)

    def pair_checksums(self) -> np.ndarray:
        """Return the checksum of every pair: (sentences,) uint32."""
        return pair_checksums(self.pairs)

    def too_long_pairs(self) -> TooLongFor:
        """Return which pairs are cut for a teacher, and which have none since they are too long for one of them."""
        sizes = (np.asarray(self.pairs.src_sizes), self.target_sizes)
        cut = self.settings.cut_sources
        found = [teacher.too_long(*sizes, cut_sources=cut) for teacher in self.teachers]
        no_room = np.any([each.no_room for each in found], axis=0)
        return TooLongFor(np.any([each.source_cut for each in found], axis=0) & ~no_room, no_room)

    def too_long(self) -> TooLong:
        """Return how many pairs are too long for the teacher."""
        source_cut, no_room = self.too_long_pairs()
        return TooLong(int(source_cut.sum()), int(no_room.sum()))

    @property
    def weights(self) -> list[float]:
        """The teachers' weights, which sum to 1."""
        return list(self.settings.weights) or [1 / len(self.teachers)] * len(self.teachers)

    def plan(self, device_type: str) -> dict[str, Any]:
        """Return whatever determines the rows: a dump continues only where all is equal.

        A dict, because it is a part of the store's ``meta.json`` as it stands.
        """
        settings, (source, target), alone = self.settings, self.langs, self._only_cmlm
        sampled = {} if settings.seed is None else {"targets": SAMPLED, "seed": settings.seed}
        return {
            **sampled,
            "split": settings.gen_subset,
            "source_lang": source,
            "target_lang": target,
            "num_masks": settings.num_masks if self._masked else 0,
            "precision": settings.precision,
            "max_tokens": settings.max_tokens,
            **({"max_positions": alone.max_positions} if alone else {}),
            "too_long": asdict(self.too_long()),
            "device": device_type,
            "versions": versions(*_PACKAGES),
            **self._teachers_plan(),
            "hashes": data_hashes(self.data_bin, settings.gen_subset, source, target, self.pairs),
        }

    def _teachers_plan(self) -> dict[str, Any]:
        if alone := self._only_cmlm:
            return {"teacher": alone.identity}
        all_facts = [
            {**teacher.facts, "weight": weight}
            for teacher, weight in zip(self.teachers, self.weights, strict=True)
        ]
        identity = {key: all_facts[0][key] for key in ("sha256", "arch")}
        if len(all_facts) > 1:
            digest = hashlib.sha256(json.dumps(all_facts, sort_keys=True).encode()).hexdigest()
            identity = {"sha256": digest, "arch": "mixture"}
        return {"teacher": identity, "teachers": all_facts}

    def dump(self, device: torch.device) -> BlockDump[Any]:
        """Move the teachers to ``device`` in their precision and return what fills blocks with their predictions."""
        from bertkd_fairseq.dump.mixture import MixtureDump
        from bertkd_fairseq.dump.rows import Sampling, TeacherDump

        settings, dictionary = self.settings, self.pairs.tgt_dict
        for teacher in self.teachers:
            teacher.prepare(device, settings.precision, settings.max_tokens)
        common: dict[str, Any] = {
            "source_of": lambda sentence: self.pairs.src[sentence].numpy(),
            "target_of": lambda sentence: self.pairs.tgt[sentence].numpy(),
            "topk": settings.topk,
            "max_tokens": settings.max_tokens,
            "cut_sources": settings.cut_sources,
            "sampling": None if settings.seed is None else Sampling(settings.topk, settings.seed),
            "device": device,
        }
        if alone := self._only_cmlm:
            offset = alone.task.source_offset
            common["source_of"] = lambda sentence: self.pairs.src[sentence].numpy() + offset
            return TeacherDump(
                **common,
                teacher=alone.model,
                bos=dictionary.bos(),
                pad=dictionary.pad(),
                num_masks=settings.num_masks,
                max_positions=alone.max_positions,
            )
        teachers, weights = self.teachers, self.weights
        return MixtureDump(**common, teachers=teachers, weights=weights, eos=dictionary.eos())
