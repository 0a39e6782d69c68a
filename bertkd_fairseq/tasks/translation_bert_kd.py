"""Task ``translation_bert_kd``: fairseq's translation with a teacher's soft targets beside the training split."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Optional

from fairseq.data.encoders import TOKENIZER_REGISTRY
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq.utils import split_paths
from omegaconf import II

from bertkd_fairseq.criterions.bert_kd_label_smoothed_cross_entropy import check_student
from bertkd_fairseq.criterions.distillation_options import alpha_schedule, gold_problem
from bertkd_fairseq.data.parts import join_pairs, parts_of_pairs, split_parts
from bertkd_fairseq.data.store_match import mismatches
from bertkd_fairseq.data.teacher_topk_dataset import TeacherTopKDataset
from bertkd_fairseq.errors import ConfigurationError, StoreError, must_be, raise_all
from bertkd_fairseq.loss import RENORMALIZE
from bertkd_fairseq.targets.augmentation import Augmentation
from bertkd_fairseq.targets.selection import ALL, STUDENT_LOSS
from bertkd_fairseq.tasks.checked import CheckedTask, data_problems, metric_problems
from bertkd_fairseq.tasks.precision import AutocastMixin, PrecisionConfig
from bertkd_fairseq.teacher_rows import TeacherRows
from bertkd_fairseq.text.data_bin import check_split, readable_format
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.joined import JoinedStores

log = logging.getLogger(__name__)


@dataclass
class TranslationBertKDConfig(PrecisionConfig, TranslationConfig):
    """Options of ``--task translation_bert_kd``: those of ``translation`` and two more."""

    teacher_topk: Optional[str] = field(
        default=None,
        metadata={
            "help": "teacher store made by `bertkd dump-topk`, read in training only; "
            "several with colons between: one for each training split, folder by folder"
        },
    )
    seed: int = II("common.seed")


@register_task("translation_bert_kd", dataclass=TranslationBertKDConfig)
class TranslationBertKDTask(CheckedTask, AutocastMixin, TranslationTask):
    """Translation whose training batches carry the teacher's top-k; elsewhere it is ``translation``.

    Without ``--teacher-topk`` it trains a plain student, given a criterion that needs no teacher.
    """

    cfg: TranslationBertKDConfig
    distillation: Any = None  # the criterion's configuration, once a distilling criterion is built
    _all_checked = False  # the stores of all data folders

    @classmethod
    def setup_task(cls, cfg: TranslationBertKDConfig, **kwargs: Any) -> "TranslationBertKDTask":
        """As in fairseq, where the data folders hold binarized text.

        :raises ConfigurationError: if they don't.
        """
        raise_all(data_problems(cfg.data))
        if (
            cfg.upsample_primary == -1
        ):  # fairseq's default, with which it can't join train and train1
            cfg.upsample_primary = 1
        return super().setup_task(cfg, **kwargs)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """As in fairseq, after checking the options of training.

        :raises ConfigurationError: with every option that can't work.
        """
        if not from_checkpoint:
            raise_all(metric_problems(self.cfg, self.cfg.eval_bleu) + _problems(self.cfg))
        return super().build_model(cfg, from_checkpoint)

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Remember what the criterion asks of the store, so that both are checked together."""
        if getattr(cfg, "_name", None) == "bert_kd_label_smoothed_cross_entropy":
            self.distillation = cfg
        return super().build_criterion(cfg, from_checkpoint)

    def begin_epoch(self, epoch: int, model: Any) -> None:
        """As in fairseq, after checking that this student can be distilled into.

        :raises ConfigurationError: if it can't.
        """
        if self.distillation is not None:
            check_student(model, self.distillation)
        super().begin_epoch(epoch, model)

    def train_step(
        self,
        sample: Any,
        model: Any,
        criterion: Any,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
    ) -> Any:
        """As in fairseq, after telling the criterion the update: its alpha may have a schedule.

        A process without batches repeats one, with its gradient ignored. That batch may come from validation and then
        has no teacher entries.
        """
        if self.distillation is not None:
            criterion.set_num_updates(update_num)
            distils = self.cfg.teacher_topk is not None
            if ignore_grad and distils and TeacherRows.from_sample(sample) is None:
                sample = TeacherRows.without_teacher(sample["target"]).to_sample(sample)
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

    def load_dataset(
        self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any
    ) -> None:
        """Load a split; the training split with the stores of its parts beside it.

        :raises ConfigurationError: if stores, criterion and data-bins don't fit, naming every reason.
        """
        training = split == self.cfg.train_subset
        # As fairseq goes through its data folders, one an epoch.
        turn = (epoch - 1) % len(self._folders) if training else 0
        self._load_pairs(split, turn, combine)
        if training and self._has_stores():
            self.datasets[split] = self._with_teacher(turn, combine)

    @property
    def _folders(self) -> list[str]:
        return list(split_paths(self.cfg.data))

    @property
    def _langs(self) -> tuple[str, str]:
        return str(self.cfg.source_lang), str(self.cfg.target_lang)

    def _parts(self, split: str, turn: int, combine: bool) -> list[str]:
        return split_parts(self._folders[turn], split, self._langs, combine)

    def _load_pairs(self, split: str, turn: int, combine: bool) -> None:
        """Load a split, ``train`` or ``train,other``, from the data folder whose turn it is."""
        parts = self._parts(split, turn, combine)
        for part in parts:
            check_split(self._folders[turn], part, self._langs)
        if "," not in split:
            with self._readable_format(parts[0], turn):
                super().load_dataset(split, turn + 1, combine)
            return
        others, subset = self.datasets, self.cfg.train_subset
        loaded: list[Any] = []
        try:
            for part in parts:
                # fairseq reads any other subset from the first folder.
                self.datasets, self.cfg.train_subset = {}, part
                with self._readable_format(part, turn):
                    super().load_dataset(part, turn + 1)
                loaded.append(self.datasets[part])
        finally:
            self.datasets, self.cfg.train_subset = others, subset
        self.datasets[split] = join_pairs(loaded, self.cfg.upsample_primary)

    @contextmanager
    def _readable_format(self, part: str, turn: int) -> Iterator[None]:
        """Within the context, name the format that fairseq doesn't find out by itself."""
        given = self.cfg.dataset_impl
        needed = readable_format(self._folders[turn], part, self._langs)
        if needed is not None and given != needed:
            log.info("%s is read as --dataset-impl %s", part, needed)
            self.cfg.dataset_impl = needed
        try:
            yield
        finally:
            self.cfg.dataset_impl = given

    def _has_stores(self) -> bool:
        if self.distillation is None:
            if self.cfg.teacher_topk is not None:
                raise ConfigurationError(
                    "--teacher-topk is read by --criterion bert_kd_label_smoothed_cross_entropy alone. "
                    "Use that criterion, or leave the store out for a plain student."
                )
            return False
        if self.cfg.teacher_topk is None and alpha_schedule(self.distillation).needs_teacher:
            raise ConfigurationError(
                "--teacher-topk must name a teacher store, but is missing. Make one with `bertkd dump-topk`, "
                "or set --kd-alpha 0 to train without a teacher."
            )
        if self.cfg.teacher_topk is None and self.distillation.kd_augment > 0:
            raise ConfigurationError(
                "--teacher-topk must name a teacher store for --kd-augment to draw from, but is missing. "
                "Make one with `bertkd dump-topk`, or leave --kd-augment out."
            )
        return self.cfg.teacher_topk is not None

    def _with_teacher(self, turn: int, combine: bool) -> TeacherTopKDataset:
        """Return the training pairs with the stores of their parts; at first check those of all folders.

        :raises ConfigurationError: if there are more or fewer stores than parts.
        :raises StoreError: if one doesn't fit its part, naming every reason.
        """
        split, stores = self.cfg.train_subset, self._open_stores(combine)
        others = [] if self._all_checked else [t for t in range(len(stores)) if t != turn]
        problems = []
        for now in (*others, turn):
            if others:
                self._load_pairs(split, now, combine)
            pairs, repeats = parts_of_pairs(self.datasets[split])
            parts = zip(stores[now], self._parts(split, now, combine), pairs, strict=True)
            for store, part, its_pairs in parts:
                problems += mismatches(store, self._folders[now], part, self._langs, its_pairs)
                problems += self._sampling_problems(store)
                if store.version == 1 and (old := gold_problem(self.distillation, str(store.path))):
                    problems.append(old)
        raise_all(problems + self._topk_problems(list(chain(*stores))), StoreError)
        self._all_checked = True
        for store in stores[turn]:
            log.info("teacher store: %s", store.meta["signature"])
        topk = self.distillation.kd_topk or stores[turn][0].k
        first, *more = stores[turn]
        joined = JoinedStores(stores[turn], repeats, topk) if more else first
        augmentation = None
        if self.distillation.kd_augment > 0:
            dictionary = self.target_dictionary
            never = (dictionary.bos(), dictionary.pad(), dictionary.eos())
            augmentation = Augmentation(self.distillation.kd_augment, self.cfg.seed, never)
        return TeacherTopKDataset(self.datasets[split], joined, topk, augmentation)

    def _open_stores(self, combine: bool) -> list[list[TopKStore]]:
        """Open the stores of each folder's parts: those of the first folder come first."""
        split, paths = self.cfg.train_subset, split_paths(self.cfg.teacher_topk)
        parts = [self._parts(split, turn, combine) for turn in range(len(self._folders))]
        names = [
            str(Path(folder, part))
            for folder, its in zip(self._folders, parts, strict=True)
            for part in its
        ]
        if len(paths) != len(names):
            wanted = f"one store for each of {', '.join(names)}, in this order, separated by colons"
            seen = "one store" if len(paths) == 1 else f"{len(paths)} stores"
            hint = "`bertkd dump-topk DATA_BIN --gen-subset SPLIT` makes one."
            raise ConfigurationError(must_be("--teacher-topk", wanted, seen, hint))
        opened = map(TopKStore.open, paths)
        return [list(islice(opened, len(its))) for its in parts]

    def _topk_problems(self, stores: list[TopKStore]) -> list[str]:
        """Return where ``--kd-topk`` asks for more entries than a store holds, or the stores leave it open."""
        topk, name = self.distillation.kd_topk, "--kd-topk"
        held = sorted({store.k for store in stores})
        if topk == 0 and len(held) > 1:
            because = f"where the stores hold {' and '.join(map(str, held))} entries"
            return [must_be(name, f"from 1 to {held[0]} {because}", topk)]
        hint = f"Lower it, or dump again with --topk {topk}."
        return [
            must_be(name, f"at most {store.k}, the entries in a row of {store.path}", topk, hint)
            for store in stores
            if topk > store.k
        ]

    def _sampling_problems(self, store: TopKStore) -> list[str]:
        """Return what would bias targets that were drawn at random."""
        if not store.sampled:
            return []
        # Draws say little of the teacher's first guess, nor how probable it is.
        wanted, selection = (ALL, STUDENT_LOSS), self.distillation.kd_token_selection
        cfg, because = self.distillation, f"with {store.path}, whose targets are sampled"
        wrong = [
            (cfg.kd_temperature != 1, "--kd-temperature", 1, cfg.kd_temperature),
            (cfg.kd_tail != RENORMALIZE, "--kd-tail", RENORMALIZE, cfg.kd_tail),
            (cfg.kd_topk != 0, "--kd-topk", 0, cfg.kd_topk),
            (cfg.kd_loss_correction != 0, "--kd-loss-correction", 0, cfg.kd_loss_correction),
            (cfg.kd_rank_first != 0, "--kd-rank-first", 0, cfg.kd_rank_first),
            (selection not in wanted, "--kd-token-selection", " or ".join(wanted), selection),
        ]
        return [
            must_be(name, f"{want} {because}", seen)
            for is_wrong, name, want, seen in wrong
            if is_wrong
        ]


def _problems(cfg: TranslationBertKDConfig) -> list[str]:
    problems = []
    if cfg.teacher_topk is not None and cfg.num_batch_buckets > 0:
        problems.append(
            "--num-batch-buckets can't be used with a teacher store, because it pads the targets. Leave it out."
        )
    for name in ("eval_bleu_args", "eval_bleu_detok_args"):
        text = getattr(cfg, name)
        if cfg.eval_bleu and not _is_json_object(text):
            option = f"--{name.replace('_', '-')}"
            wanted = "an object in JSON, such as '{\"beam\": 4}'"
            problems.append(must_be(option, wanted, repr(text)))
    if cfg.eval_bleu and cfg.eval_bleu_detok not in TOKENIZER_REGISTRY:
        wanted = f"one of {', '.join(sorted(TOKENIZER_REGISTRY))}"
        problems.append(must_be("--eval-bleu-detok", wanted, cfg.eval_bleu_detok))
    return problems


def _is_json_object(text: Optional[str]) -> bool:
    try:
        return isinstance(json.loads(text or "{}"), dict)
    except ValueError:
        return False
