"""Task ``bert_cmlm``: fine-tune BERT to predict masked target tokens from source and target (stage 1)."""

import logging
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.data import Dictionary
from fairseq.tasks import FairseqTask, register_task
from fairseq.tasks.translation import load_langpair_dataset
from fairseq.utils import split_paths
from omegaconf import II, open_dict

from bertkd_fairseq.data.cmlm_dataset import CMLMDataset
from bertkd_fairseq.errors import ConfigurationError, DataError, must_be, raise_all
from bertkd_fairseq.masking import MASK_RATE
from bertkd_fairseq.models.bert_cmlm_teacher import BertCMLMTeacher
from bertkd_fairseq.tasks.checked import CheckedTask, data_problems, metric_problems
from bertkd_fairseq.tasks.precision import AutocastMixin, PrecisionConfig
from bertkd_fairseq.teacher_input import MAX_POSITIONS, SHORTEST_INPUT
from bertkd_fairseq.text.data_bin import DataBin, check_split
from bertkd_fairseq.text.segmentation.wordpiece import WordPieceSegmenter
from bertkd_fairseq.vocabulary import TeacherVocabulary, build_teacher_vocabulary

log = logging.getLogger(__name__)

CRITERION = "bert_cmlm_cross_entropy"
VALID_SEED = 0
"""Validation masks are the same whatever ``--seed``, so that teachers can be compared."""


@dataclass
class BertCMLMConfig(PrecisionConfig):
    """Options of ``--task bert_cmlm``."""

    data: Optional[str] = field(
        default=None, metadata={"help": "data-bin made by `bertkd prepare`"}
    )
    source_lang: Optional[str] = field(
        default=None, metadata={"help": "source language", "argparse_alias": "-s"}
    )
    target_lang: Optional[str] = field(
        default=None, metadata={"help": "target language", "argparse_alias": "-t"}
    )
    mask_rate: float = field(
        default=MASK_RATE, metadata={"help": "share of target tokens that are masked (EOS counts)"}
    )
    max_positions: int = field(
        default=MAX_POSITIONS,
        metadata={"help": "longest input: [CLS], source and target; longer sources are cut"},
    )
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")


@register_task("bert_cmlm", dataclass=BertCMLMConfig)
class BertCMLMTask(CheckedTask, AutocastMixin, FairseqTask):
    """Conditional masked language modelling over a data-bin made by ``bertkd prepare``."""

    cfg: BertCMLMConfig

    def __init__(self, cfg: BertCMLMConfig, dictionary: Dictionary) -> None:
        super().__init__(cfg)
        self.dictionary = dictionary

    @classmethod
    def setup_task(cls, cfg: BertCMLMConfig, **kwargs: Any) -> "BertCMLMTask":
        """Read the languages and the joined dictionary of the data-bin.

        :raises ConfigurationError: with every option that can't work.
        :raises DataError: if the data-bin wasn't made by ``bertkd prepare``.
        """
        raise_all(_problems(cfg))
        data_bin = DataBin.open(split_paths(cfg.data)[0])
        cfg.source_lang = cfg.source_lang or data_bin.source_lang
        cfg.target_lang = cfg.target_lang or data_bin.target_lang
        langs = {data_bin.source_lang, data_bin.target_lang}
        if {cfg.source_lang, cfg.target_lang} != langs:
            raise ConfigurationError(
                f"the languages must be {data_bin.source_lang} and {data_bin.target_lang} as in the data-bin, "
                f"but are {cfg.source_lang} and {cfg.target_lang} instead. "
                "Correct --source-lang and --target-lang, or leave them out."
            )
        source, target = (
            cls.load_dictionary(str(data_bin.dictionary(lang)))
            for lang in (cfg.source_lang, cfg.target_lang)
        )
        if source.symbols != target.symbols:
            raise DataError(
                must_be(
                    "dictionaries of the data-bin", "one joined dictionary", "two different ones"
                )
            )
        log.info("dictionary: %d symbols", len(target))
        return cls(cfg, target)

    def teacher_vocabulary(self) -> TeacherVocabulary:
        """Map the dictionary to the WordPieces of the data-bin's tokenizer."""
        segmenter = WordPieceSegmenter(
            DataBin.open(split_paths(self.cfg.data)[0]).checked_tokenizer()
        )
        piece_ids = segmenter.tokenizer.get_vocab()
        return build_teacher_vocabulary(self.dictionary.symbols, segmenter.pieces, piece_ids)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> torch.nn.Module:
        """Build the teacher, and let its configuration travel in the checkpoint: it loads without its origin.

        :raises ConfigurationError: if ``cfg`` is of another model.
        """
        if not from_checkpoint:
            raise_all(metric_problems(self.cfg, has_bleu=False))
        model = super().build_model(cfg, from_checkpoint)
        if not isinstance(model, BertCMLMTeacher):
            wanted, seen = "bert_cmlm_teacher with --task bert_cmlm", type(model).__name__
            hint = "Students have --task translation_bert_kd."
            raise ConfigurationError(must_be("--arch", wanted, seen, hint))
        # Sources are cut to what fits the model, before fairseq would filter the pair out.
        self.cfg.max_positions = min(self.cfg.max_positions, model.max_positions())
        with open_dict(cfg):
            cfg.bert_config = model.config_json()
            cfg.dictionary_hash = model.dictionary_hash
        return model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the teacher's criterion.

        :raises ConfigurationError: if ``cfg`` is of another one.
        """
        name = getattr(cfg, "_name", None) or getattr(cfg, "criterion", None)
        if name != CRITERION:
            wanted = f"{CRITERION} with --task bert_cmlm"
            raise ConfigurationError(must_be("--criterion", wanted, name))
        return super().build_criterion(cfg, from_checkpoint)

    def load_dataset(
        self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any
    ) -> None:
        """Load a split with masks: random in training, fixed elsewhere."""
        paths = split_paths(self.cfg.data)
        training = split == self.cfg.train_subset
        path = paths[(epoch - 1) % len(paths)] if training else paths[0]
        dataset = CMLMDataset(
            self.load_pairs(path, split, combine),
            seed=self.cfg.seed if training else VALID_SEED,
            mask_rate=self.cfg.mask_rate,
            max_positions=self.cfg.max_positions,
            fixed_masks=not training,
        )
        if dataset.num_cut:
            log.warning(
                "%s: the source of %d pairs is cut to fit %d positions",
                split,
                dataset.num_cut,
                self.cfg.max_positions,
            )
        self.datasets[split] = dataset

    def load_pairs(self, path: str, split: str, combine: bool = False) -> Any:
        """Return the split's pairs as fairseq's own dataset, in data-bin order.

        :param combine: join ``train1``, ``train2``, ... to ``train``, as fairseq-train does.
        :raises DataError: if the split is missing or damaged.
        """
        langs = (str(self.cfg.source_lang), str(self.cfg.target_lang))
        check_split(path, split, langs)
        return load_langpair_dataset(
            path,
            split,
            self.cfg.source_lang,
            self.dictionary,
            self.cfg.target_lang,
            self.dictionary,
            combine=combine,
            dataset_impl=None,
            upsample_primary=1,
            left_pad_source=False,
            left_pad_target=False,
            max_source_positions=self.cfg.max_positions,
            max_target_positions=self.cfg.max_positions,
        )

    def max_positions(self) -> int:
        """Return the longest input, as :func:`~bertkd_fairseq.teacher_input.input_length` counts it."""
        return self.cfg.max_positions

    @property
    def source_dictionary(self) -> Dictionary:
        """The joined dictionary."""
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        """The joined dictionary."""
        return self.dictionary


def _problems(cfg: BertCMLMConfig) -> list[str]:
    problems = data_problems(cfg.data)
    if not 0.0 < cfg.mask_rate <= 1.0:
        problems.append(must_be("--mask-rate", "above 0 and at most 1", cfg.mask_rate))
    if cfg.max_positions < SHORTEST_INPUT:
        problems.append(must_be("--max-positions", f"at least {SHORTEST_INPUT}", cfg.max_positions))
    return problems
