"""Task ``translation_bert_kd``: fairseq's translation with a teacher's soft targets beside the training split."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.data.encoders import TOKENIZER_REGISTRY
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq.utils import split_paths

from bertkd_fairseq.criterions.bert_kd_label_smoothed_cross_entropy import (
    alpha_schedule,
    check_student,
)
from bertkd_fairseq.data.store_match import mismatches
from bertkd_fairseq.data.teacher_topk_dataset import TeacherTopKDataset
from bertkd_fairseq.errors import ConfigurationError, StoreError, must_be, raise_all
from bertkd_fairseq.loss import RENORMALIZE
from bertkd_fairseq.tasks.checked import CheckedTask, data_problems, metric_problems
from bertkd_fairseq.tasks.precision import AutocastMixin, PrecisionConfig
from bertkd_fairseq.teacher_rows import TeacherRows
from bertkd_fairseq.text.data_bin import check_split, readable_format
from bertkd_fairseq.topk_store import TopKStore

log = logging.getLogger(__name__)


@dataclass
class TranslationBertKDConfig(PrecisionConfig, TranslationConfig):
    """Options of ``--task translation_bert_kd``: those of ``translation`` and two more."""

    teacher_topk: Optional[str] = field(
        default=None,
        metadata={
            "help": "teacher store made by `bertkd dump-topk`, read in training only; "
            "one for each of colon-separated data folders"
        },
    )


@register_task("translation_bert_kd", dataclass=TranslationBertKDConfig)
class TranslationBertKDTask(CheckedTask, AutocastMixin, TranslationTask):
    """Translation whose training batches carry the teacher's top-k; elsewhere it is ``translation``.

    Without ``--teacher-topk`` it trains a plain student, given a criterion that needs no teacher.
    """

    cfg: TranslationBertKDConfig
    distillation: Any = None  # the criterion's configuration, once a distilling criterion is built

    @classmethod
    def setup_task(cls, cfg: TranslationBertKDConfig, **kwargs: Any) -> "TranslationBertKDTask":
        """As in fairseq, where the data folders hold binarized text.

        :raises ConfigurationError: if they don't.
        """
        raise_all(data_problems(cfg.data))
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
        """Load a split; the training split with the store beside it.

        :raises ConfigurationError: if store, criterion and data-bin don't fit, naming every reason.
        """
        self._check_split(split, epoch, combine)
        with self._readable_format(split, epoch):
            super().load_dataset(split, epoch, combine, **kwargs)
        if split != self.cfg.train_subset:
            return
        if self.distillation is None:
            if self.cfg.teacher_topk is not None:
                raise ConfigurationError(
                    "--teacher-topk is read by --criterion bert_kd_label_smoothed_cross_entropy alone. "
                    "Use that criterion, or leave the store out for a plain student."
                )
            return
        if self.cfg.teacher_topk is None:
            if alpha_schedule(self.distillation).needs_teacher:
                raise ConfigurationError(
                    "--teacher-topk must name a teacher store, but is missing. Make one with `bertkd dump-topk`, "
                    "or set --kd-alpha 0 to train without a teacher."
                )
            return
        pairs = self.datasets[split]
        store = self._open_store(self.cfg.teacher_topk, pairs, split, epoch)
        self.datasets[split] = TeacherTopKDataset(
            pairs, store, self.distillation.kd_topk or store.k
        )

    def _folder(self, split: str, epoch: int) -> str:
        """Return the data folder of a split, as fairseq goes through them."""
        folders: list[str] = split_paths(self.cfg.data)
        return folders[(epoch - 1) % len(folders) if split == self.cfg.train_subset else 0]

    def _check_split(self, split: str, epoch: int, combine: bool) -> None:
        training = split == self.cfg.train_subset
        in_one_part = training and combine and self.cfg.teacher_topk is not None
        langs = (self.cfg.source_lang, self.cfg.target_lang)
        check_split(self._folder(split, epoch), split, langs, in_one_part=in_one_part)

    @contextmanager
    def _readable_format(self, split: str, epoch: int) -> Iterator[None]:
        """Within the context, name the format that fairseq doesn't find out by itself."""
        given = self.cfg.dataset_impl
        langs = (self.cfg.source_lang, self.cfg.target_lang)
        needed = readable_format(self._folder(split, epoch), split, langs)
        if needed is not None and given != needed:
            log.info("%s is read as --dataset-impl %s", split, needed)
            self.cfg.dataset_impl = needed
        try:
            yield
        finally:
            self.cfg.dataset_impl = given

    def _open_store(self, paths: str, pairs: Any, split: str, epoch: int) -> TopKStore:
        folders, stores = split_paths(self.cfg.data), split_paths(paths)
        if len(stores) != len(folders):
            wanted = f"as many stores as there are data folders ({len(folders)})"
            raise ConfigurationError(must_be("--teacher-topk", wanted, len(stores)))
        # As fairseq goes through its data folders, one an epoch.
        turn = (epoch - 1) % len(folders)
        store, data_bin = TopKStore.open(stores[turn]), folders[turn]
        langs = (self.cfg.source_lang, self.cfg.target_lang)
        problems = mismatches(store, data_bin, split, langs, pairs)
        problems += self._sampling_problems(store)
        if self.distillation.kd_topk > store.k:
            problems.append(
                must_be(
                    "--kd-topk",
                    f"at most {store.k}, what {store.path} holds",
                    self.distillation.kd_topk,
                    f"Lower it, or dump again with --topk {self.distillation.kd_topk}.",
                )
            )
        raise_all(problems, StoreError)
        log.info("teacher store: %s", store.meta["signature"])
        return store

    def _sampling_problems(self, store: TopKStore) -> list[str]:
        """Return what would bias targets that were drawn at random."""
        if not store.sampled:
            return []
        cfg, because = self.distillation, f"with {store.path}, whose targets are sampled"
        wrong = [
            (cfg.kd_temperature != 1, "--kd-temperature", 1, cfg.kd_temperature),
            (cfg.kd_tail != RENORMALIZE, "--kd-tail", RENORMALIZE, cfg.kd_tail),
            (cfg.kd_topk != 0, "--kd-topk", 0, cfg.kd_topk),
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
            "--num-batch-buckets pads the targets, which a teacher store can't follow. Leave it out."
        )
    for name in ("eval_bleu_args", "eval_bleu_detok_args"):
        text = getattr(cfg, name)
        if cfg.eval_bleu and not _is_json_object(text):
            option = f"--{name.replace('_', '-')}"
            problems.append(must_be(option, "an object in JSON, as '{\"beam\": 4}'", repr(text)))
    if cfg.eval_bleu and cfg.eval_bleu_detok not in TOKENIZER_REGISTRY:
        wanted = f"one of {', '.join(sorted(TOKENIZER_REGISTRY))}"
        problems.append(must_be("--eval-bleu-detok", wanted, cfg.eval_bleu_detok))
    return problems


def _is_json_object(text: Optional[str]) -> bool:
    try:
        return isinstance(json.loads(text or "{}"), dict)
    except ValueError:
        return False
