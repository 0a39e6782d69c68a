"""Task ``bert_cmlm``: fine-tune BERT to predict masked target tokens from source and target (stage 1)."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np
import torch
from fairseq.data import Dictionary
from fairseq.tasks import FairseqTask, register_task
from fairseq.utils import split_paths
from omegaconf import II, open_dict

from bertkd_fairseq.data.cmlm_dataset import CMLMDataset
from bertkd_fairseq.data.pairs import load_pairs
from bertkd_fairseq.errors import ConfigurationError, must_be, outside, raise_all
from bertkd_fairseq.masking import (
    MASK_RATE,
    PIECE,
    UNIFORM,
    UNITS,
    WORD,
    Future,
    TrainingMasks,
    WordMarks,
)
from bertkd_fairseq.models.cmlm_teacher import CMLMTeacher
from bertkd_fairseq.tasks.checked import CheckedTask, data_problems, metric_problems
from bertkd_fairseq.tasks.precision import AutocastMixin, PrecisionConfig
from bertkd_fairseq.teacher_input import MAX_POSITIONS, SHORTEST_INPUT
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.segmentation.schemes import (
    SCHEMES,
    detect_scheme,
    make_scheme,
    scheme_problems,
    word_marks,
)
from bertkd_fairseq.text.teacher_vocabulary import AUTO, Side, SymbolReader
from bertkd_fairseq.vocabulary import TeacherVocabulary

log = logging.getLogger(__name__)

CRITERION = "bert_cmlm_cross_entropy"
_COUNTED = 200_000  # sentences that tell where symbols of subword-nmt open words
VALID_SEED = 0
"""Validation masks are the same whatever ``--seed``, so that teachers can be compared."""


@dataclass
class BertCMLMConfig(PrecisionConfig):
    """Options of ``--task bert_cmlm``."""

    data: Optional[str] = field(
        default=None, metadata={"help": "data-bin made by `bertkd prepare` or `fairseq-preprocess`"}
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
    hide_future: str = field(
        default="0",
        metadata={
            "help": "hide the tokens after one drawn at random, each with this probability, in place of --mask-rate: "
            f"a rate from 0 to 1, or {UNIFORM}, one drawn for each sentence. Validation asks for that token "
            "alone, as `bertkd dump-topk --hide-future` does"
        },
    )
    future_window: Optional[int] = field(
        default=None,
        metadata={"help": "hide all but the next N tokens (words with --mask-unit word) likewise"},
    )
    mask_unit: str = field(
        default=PIECE,
        metadata={
            "help": "what is hidden together: piece, or word: whole words, the first one from any of its pieces on"
        },
    )
    max_positions: int = field(
        default=MAX_POSITIONS,
        metadata={"help": "longest input: [CLS], source and target; longer sources are cut"},
    )
    subword: str = field(
        default=AUTO,
        metadata={
            "help": f"how the symbols of the data-bin mark words: {', '.join(SCHEMES)}; {AUTO}: read off the dictionary"
        },
    )
    encoder_json: Optional[str] = field(
        default=None,
        metadata={"help": "GPT-2's encoder.json, which says what the symbols of --bpe gpt2 are"},
    )
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")


@register_task("bert_cmlm", dataclass=BertCMLMConfig)
class BertCMLMTask(CheckedTask, AutocastMixin, FairseqTask):
    """Conditional masked language modelling over a data-bin of any subword scheme, with one dictionary or two."""

    cfg: BertCMLMConfig

    def __init__(self, cfg: BertCMLMConfig, source: Dictionary, target: Dictionary) -> None:
        super().__init__(cfg)
        self._source, self._target = source, target

    @classmethod
    def setup_task(cls, cfg: BertCMLMConfig, **kwargs: Any) -> "BertCMLMTask":
        """Read the languages and the dictionaries of the data-bin.

        :raises ConfigurationError: with every option that can't work.
        :raises DataError: if the data-bin doesn't tell its languages, or has no dictionary of one.
        """
        raise_all(_problems(cfg))
        data_bin = _open(cfg)
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
        if source.symbols == target.symbols:
            source = target
            log.info("dictionary: %d symbols", len(target))
        else:
            log.info("dictionaries: %d source and %d target symbols", len(source), len(target))
        return cls(cfg, source, target)

    @property
    def source_dictionary(self) -> Dictionary:
        """The dictionary of the source; the target's if it is joined."""
        return self._source

    @property
    def target_dictionary(self) -> Dictionary:
        """The dictionary of the target."""
        return self._target

    @property
    def source_offset(self) -> int:
        """What the teacher adds to the ids of source symbols, which follow those of another target dictionary."""
        joined = self.source_dictionary is self.target_dictionary
        return 0 if joined else len(self.target_dictionary)

    @property
    def symbols_read(self) -> list[str]:
        """All symbols that the teacher reads, by id: the target's, then the source's if they are others."""
        source = self.source_dictionary.symbols if self.source_offset else []
        return [*self.target_dictionary.symbols, *source]

    def teacher_vocabulary(self, bert_model: str, num_embeddings: int) -> TeacherVocabulary:
        """Map the dictionaries to the pieces of a pretrained model that has so many embeddings."""
        source, target = str(self.cfg.source_lang), str(self.cfg.target_lang)
        data_bin = _open(self.cfg)
        # A joined dictionary's symbols stand in the text of both languages.
        sides = [[target], [source]] if self.source_offset else [[target, source]]
        of_target, *of_source = (self._side(data_bin, langs) for langs in sides)
        reader = SymbolReader(
            data_bin=data_bin,
            target=of_target,
            source=of_source[0] if of_source else None,
            subword=self.cfg.subword,
            encoder_json=self.cfg.encoder_json,
        )
        return reader.vocabulary(bert_model, num_embeddings)

    def word_marks(self) -> WordMarks:
        """Return which symbols of the target dictionary open words.

        :raises ConfigurationError: if ``--subword`` contradicts the dictionary.
        """
        symbols = self.target_dictionary.symbols
        name = detect_scheme(symbols) if self.cfg.subword == AUTO else self.cfg.subword
        raise_all(scheme_problems("--subword", name, symbols, "the target dictionary"))
        return word_marks(symbols, make_scheme(name, self.cfg.encoder_json, "--encoder-json"))

    def _masks(self) -> TrainingMasks:
        cfg = self.cfg
        future = None
        if cfg.hide_future != UNIFORM:
            future = Future(float(cfg.hide_future), cfg.future_window)
        marks = self.word_marks() if cfg.mask_unit == WORD else None
        return TrainingMasks(cfg.mask_rate, future, marks)

    def _side(self, data_bin: DataBin, langs: Sequence[str]) -> Side:
        """Return the dictionary of the first of ``langs``, and the text of all of them."""
        of_target = langs[0] == self.cfg.target_lang
        dictionary = self.target_dictionary if of_target else self.source_dictionary

        def sentences() -> Iterator[np.ndarray]:
            pairs = self.load_pairs(str(data_bin.path), self.cfg.train_subset.split(",")[0])
            for lang in langs:
                side = pairs.tgt if lang == self.cfg.target_lang else pairs.src
                for index in range(min(len(side), _COUNTED)):
                    yield side[index].numpy()

        return Side(str(data_bin.dictionary(langs[0])), dictionary.symbols, sentences)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> torch.nn.Module:
        """Build the teacher, and let its configuration travel in the checkpoint: it loads without its origin.

        :raises ConfigurationError: if ``cfg`` is of another model.
        """
        if not from_checkpoint:
            raise_all(metric_problems(self.cfg, has_bleu=False))
        model = super().build_model(cfg, from_checkpoint)
        if not isinstance(model, CMLMTeacher):
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
            masks=self._masks(),
            max_positions=self.cfg.max_positions,
            fixed_masks=not training,
            source_offset=self.source_offset,
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
        return load_pairs(
            path,
            split,
            (str(self.cfg.source_lang), str(self.cfg.target_lang)),
            (self.source_dictionary, self.target_dictionary),
            left_pad_source=False,
            combine=combine,
        )

    def max_positions(self) -> int:
        """Return the longest input, as :func:`~bertkd_fairseq.teacher_input.input_length` counts it."""
        return self.cfg.max_positions


def _open(cfg: BertCMLMConfig) -> DataBin:
    return DataBin.of_any_origin(split_paths(cfg.data)[0], cfg.source_lang, cfg.target_lang)


def _problems(cfg: BertCMLMConfig) -> list[str]:
    problems = data_problems(cfg.data)
    if cfg.subword not in (AUTO, *SCHEMES):
        wanted = f"one of {', '.join((AUTO, *SCHEMES))}"
        problems.append(must_be("--subword", wanted, cfg.subword))
    problems += outside("--mask-rate", cfg.mask_rate, above=0, at_most=1) + _hiding_problems(cfg)
    return problems + outside("--max-positions", cfg.max_positions, at_least=SHORTEST_INPUT)


def _hiding_problems(cfg: BertCMLMConfig) -> list[str]:
    problems = []
    try:
        rate = 1.0 if cfg.hide_future == UNIFORM else float(cfg.hide_future)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        wanted = f"from 0 to 1, or {UNIFORM}"
        problems.append(must_be("--hide-future", wanted, cfg.hide_future))
    if cfg.future_window is not None:
        problems += outside("--future-window", cfg.future_window, at_least=0)
        if rate:
            problems.append(
                "--hide-future has no meaning with --future-window. Leave one of them out."
            )
    if cfg.mask_unit not in UNITS:
        problems.append(must_be("--mask-unit", f"one of {', '.join(UNITS)}", cfg.mask_unit))
    if cfg.mask_rate != MASK_RATE and (rate or cfg.future_window is not None):
        name = "--hide-future" if rate else "--future-window"
        problems.append(f"--mask-rate has no meaning with {name}. Leave it out.")
    return problems
