"""The settings of a dump: those that determine its rows, and those of how the work is done."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from bertkd_fairseq.errors import must_be, outside
from bertkd_fairseq.masking import HIDING_SEED, NUM_MASKS, PIECE, UNITS, Future
from bertkd_fairseq.precision import AUTO, CHOICES
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.text.outputs import inside_problems
from bertkd_fairseq.topk_store.folder import store_problems
from bertkd_fairseq.topk_store.layout import SAMPLED, TARGETS, TOPK

TOPK_ENTRIES = 8
"""The number of entries to keep for each token, if none is given (paper, section 4.2)."""
SAMPLES, SAMPLING_SEED = 50, 1
MAX_TOKENS_ON_CPU, MAX_TOKENS = 2048, 16384
WEIGHTS_MAY_MISS = 0.02
"""How far from 1 the sum of the weights may be, as with .33,.33,.33. The weights are divided by their sum."""

TRUNCATE, NO_TEACHER, ERROR = ON_TOO_LONG = ("truncate-source", "no-teacher", "error")


@dataclass(frozen=True)
class RowSettings:
    """What determines the rows of a store: ``topk`` entries for each token, drawn at random if ``seed`` is given.

    When teachers are asked for another purpose than a store, ``topk`` is 0.
    """

    gen_subset: str
    topk: int
    num_masks: int
    precision: str
    max_tokens: int
    cut_sources: bool
    seed: int | None = None
    #: The weights of the teachers, which sum to 1; empty if they are equal.
    weights: tuple[float, ...] = ()
    source_lang: str | None = None
    target_lang: str | None = None
    hf_source_lang: str | None = None
    hf_target_lang: str | None = None
    hide_future: float = 0.0
    future_window: int | None = None
    hide_seed: int = HIDING_SEED
    mask_unit: str = PIECE

    @property
    def future(self) -> Future:
        """What a C-MLM teacher doesn't see of what follows a token."""
        return Future(self.hide_future, self.future_window)

    @property
    def hiding(self) -> dict[str, Any]:
        """What a store says of what a C-MLM teacher doesn't see; nothing for the masks of the paper."""
        rate, window = self.hide_future, self.future_window
        return {
            **({"hide_future": rate, "hide_seed": self.hide_seed} if rate > 0 else {}),
            **({} if window is None else {"future_window": window}),
            **({} if self.mask_unit == PIECE else {"mask_unit": self.mask_unit}),
        }


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The settings of every command that asks teachers: which teachers, and how they are asked."""

    path: str = setting(
        "the teacher: a checkpoint of fairseq-train --task bert_cmlm or of a translation task, or a folder with a "
        "translation model of Hugging Face. For several teachers, separated by colons, the mean of their probabilities "
        "is used",
        metavar="FILE",
    )
    weights: str | None = setting(
        "weights of the teachers, which sum to 1; equal if not given",
        default=None,
        metavar="W,W,...",
    )
    source_lang: str | None = setting(
        "source language. Needed only if neither the teachers nor the data-bin record it, or if the data-bin was made "
        "for the other direction",
        default=None,
        metavar="LANG",
    )
    target_lang: str | None = setting(
        "target language. Needed only where the source language is", default=None, metavar="LANG"
    )
    hf_source_lang: str | None = setting(
        "source language, by its name in a multilingual model of Hugging Face, such as deu_Latn",
        default=None,
        metavar="LANG",
    )
    hf_target_lang: str | None = setting(
        "target language, by its name in a multilingual model of Hugging Face, such as eng_Latn",
        default=None,
        metavar="LANG",
    )
    num_masks: int = setting(
        "number of masked copies of each pair; with 7, each copy masks every 7th target token",
        default=NUM_MASKS,
        at_least=1,
        metavar="N",
    )
    max_tokens: int | None = setting(
        f"positions in a batch, padding included. If not given, {MAX_TOKENS_ON_CPU} on a CPU, which fits its caches, "
        f"and {MAX_TOKENS} elsewhere",
        default=None,
        at_least=1,
        metavar="N",
    )
    precision: str = setting(
        "precision of the teacher without its output layer, which is always fp32. auto: on a CPU, bf16 if a "
        "measurement finds it faster than fp32; on a GPU, bf16, or fp16 if it has no bf16. A command that continues "
        "keeps the precision that it began with",
        default=AUTO,
        choices=CHOICES,
    )
    device: str | None = setting(
        "torch device, such as cpu or cuda:0. If not given, cuda if there is a GPU, and cpu otherwise",
        default=None,
    )
    #: The number of the GPU that ``cuda`` without a number means. The command line takes it from torchrun.
    local_rank: int = 0

    def weight_problems(self) -> list[str]:
        """Return what is wrong with the weights of the teachers."""
        if self.weights is None:
            return []
        count, name = len(self.path.split(os.pathsep)), named(self, "weights")
        numbers = self._weights()
        if len(numbers) != count:
            several = f"{count} numbers separated by commas, one for each teacher"
            return [must_be(name, "one number" if count == 1 else several, self.weights)]
        # Written so that a NaN is refused.
        if not all(number > 0 for number in numbers):
            return [must_be(name, "numbers above 0", self.weights)]
        if not abs(sum(numbers) - 1) <= WEIGHTS_MAY_MISS:
            return [must_be(name, "numbers that sum to 1", f"{self.weights} ({sum(numbers):g})")]
        return []

    def _weights(self) -> list[float]:
        """Return the weights as they were given; an empty list if one of them isn't a number."""
        try:
            return [float(word) for word in (self.weights or "").split(",") if self.weights]
        except ValueError:
            return []

    def asking(self, gen_subset: str, precision: str, device_type: str, **more: Any) -> RowSettings:
        """Return what determines the teachers' answers on this type of device (measurements: docs/dump.md)."""
        on_cpu = device_type == "cpu"
        weights = self._weights()
        return RowSettings(
            gen_subset=gen_subset,
            num_masks=self.num_masks,
            precision=precision,
            max_tokens=self.max_tokens or (MAX_TOKENS_ON_CPU if on_cpu else MAX_TOKENS),
            weights=tuple(weight / math.fsum(weights) for weight in weights),
            source_lang=self.source_lang,
            target_lang=self.target_lang,
            hf_source_lang=self.hf_source_lang,
            hf_target_lang=self.hf_target_lang,
            **more,
        )


@dataclass(frozen=True, kw_only=True)
class DumpConfig(TeacherConfig):
    """The settings of :func:`bertkd_fairseq.dump.run.dump_topk`."""

    data_bin: str = setting("data-bin of `bertkd prepare` or `fairseq-preprocess`", positional=True)
    destdir: str = setting("teacher store to make", metavar="DIR", old_option="--dest")
    topk: int | None = setting(
        f"number of entries to keep for each token; {TOPK_ENTRIES} if not given (paper)",
        default=None,
        at_least=1,
        metavar="K",
    )
    entries: str = setting(
        "topk: the most probable symbols (paper). sampled: --num-samples random draws, which are an unbiased estimate "
        "of the whole distribution (arXiv 2503.16870)",
        default=TOPK,
        choices=TARGETS,
        old_option="--targets",
    )
    num_samples: int | None = setting(
        f"number of draws for each token with --entries sampled; {SAMPLES} if not given",
        default=None,
        at_least=1,
        metavar="N",
    )
    hide_future: float = setting(
        "share of the tokens after the one asked for that a C-MLM teacher doesn't see, drawn at random. Above 0, all "
        "before it is seen, and each token takes a copy of its own in place of --num-masks copies of each pair: 2.2 "
        "times the positions for sentences of 14 tokens, T / 7 times for T tokens. 1: nothing of the future, but how "
        "many tokens follow",
        default=0.0,
        metavar="RATE",
    )
    future_window: int | None = setting(
        "a C-MLM teacher sees the next N tokens and none after them, at the same cost; words with --mask-unit word",
        default=None,
        at_least=0,
        metavar="N",
    )
    mask_unit: str = setting(
        "what is masked or hidden together. word: with the token asked for also the later pieces of its word, "
        "which would give it away, and of other words all pieces or none",
        default=PIECE,
        choices=UNITS,
    )
    seed: int | None = setting(
        f"seed of the draws with --entries sampled, and of what --hide-future hides; {SAMPLING_SEED} if not given",
        default=None,
        at_least=0,
    )
    gen_subset: str = setting(
        "split to dump", default="train", metavar="SPLIT", old_option="--split"
    )
    on_too_long: str = setting(
        "what to do with a pair that is longer than the teacher's positions: truncate-source cuts the end of its "
        "source, no-teacher stores no entries for it, error ends the dump with a message",
        default=TRUNCATE,
        choices=ON_TOO_LONG,
    )
    block_size: int = setting(
        "number of sentences in a block, the unit of work. A batch never has sentences of two blocks",
        default=2048,
        at_least=1,
        metavar="N",
    )
    num_shards: int = setting(
        "number of processes that share the work, each started with its own --shard-id; taken from torchrun when it "
        "starts the command",
        default=1,
        at_least=1,
        metavar="N",
    )
    shard_id: int = setting(
        "number of this process, from 0; taken from torchrun when it starts the command",
        default=0,
        metavar="I",
    )
    blocks_at_once: int | None = setting(
        "number of blocks processed at the same time, so that reading and writing overlap with a GPU's work. If not "
        "given, 1 on a CPU and 2 elsewhere",
        default=None,
        at_least=1,
        metavar="N",
        old_option="--blocks-in-hand",
    )
    force: bool = setting("replace a store at --destdir, finished or not", default=False)

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without loading anything."""
        problems = range_problems(self)
        hides_by_chance = self.hide_future != DumpConfig.hide_future
        for name in ("num_samples", "seed") if self.entries == TOPK else ("topk",):
            if getattr(self, name) is not None and not (name == "seed" and hides_by_chance):
                kind = f"{named(self, 'entries')} {self.entries}"
                problems.append(f"{named(self, name)} has no meaning with {kind}. Leave it out.")
        if not 0 <= self.shard_id < max(self.num_shards, 1):
            wanted = f"from 0 to {self.num_shards - 1}"
            problems.append(must_be(named(self, "shard_id"), wanted, self.shard_id))
        if self.force and self.num_shards > 1:
            problems.append(
                f"{named(self, 'force')} can't be used by several processes. Remove the folder first."
            )
        problems += self.weight_problems() + self._hiding_problems()
        return problems + inside_problems(named(self, "destdir"), self.destdir)

    def _hiding_problems(self) -> list[str]:
        rate, window = named(self, "hide_future"), named(self, "future_window")
        problems = outside(rate, self.hide_future, at_least=0, at_most=1)
        if self.hide_future and self.future_window is not None:
            problems.append(f"{rate} has no meaning with {window}. Leave one of them out.")
        if (self.hide_future or self.future_window is not None) and self.num_masks != NUM_MASKS:
            name = window if self.future_window is not None else rate
            problems.append(f"{named(self, 'num_masks')} has no meaning with {name}. Leave it out.")
        return problems

    def dest_problems(self) -> list[str]:
        """Return why no store can be made at ``destdir``."""
        return store_problems(self.destdir, name=named(self, "destdir"), force=self.force)

    @property
    def num_entries(self) -> int:
        """The number of entries in each row of the store."""
        if self.entries == SAMPLED:
            return self.num_samples or SAMPLES
        return self.topk or TOPK_ENTRIES

    def row_settings(self, precision: str, device_type: str) -> RowSettings:
        """Return what determines the rows on this type of device."""
        seed = SAMPLING_SEED if self.seed is None else self.seed
        return self.asking(
            self.gen_subset,
            precision,
            device_type,
            topk=self.num_entries,
            cut_sources=self.on_too_long != NO_TEACHER,
            seed=seed if self.entries == SAMPLED else None,
            hide_future=self.hide_future,
            future_window=self.future_window,
            hide_seed=HIDING_SEED if self.seed is None else self.seed,
            mask_unit=self.mask_unit,
        )
