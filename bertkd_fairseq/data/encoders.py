"""``--tokenizer bertkd_moses`` and ``--bpe bert_wordpiece``: raw text to symbols and back.

Both read languages, lowercasing and tokenizer from the data-bin, so that nobody types them again::

    raw text ─ bertkd_moses ─► Moses tokens ─ bert_wordpiece ─► symbols
        ─ model ─► symbols ─ bert_wordpiece ─► Moses tokens ─ bertkd_moses ─► text

Undoing needs no file. ``fairseq-generate`` with ``--bpe bert_wordpiece`` alone prints Moses tokens.
"""

# No `from __future__ import annotations`: fairseq reads the types of a dataclass, not strings.
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Optional

from fairseq.data.encoders import register_bpe, register_tokenizer
from fairseq.dataclass import FairseqDataclass
from omegaconf import II

from bertkd_fairseq.errors import ConfigurationError, must_be
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.moses import MosesText, TokenizedText, Words
from bertkd_fairseq.text.raw import POST_PROCESS
from bertkd_fairseq.text.segmentation.schemes import SENTENCEPIECE, WORDPIECE
from bertkd_fairseq.text.segmentation.wordpiece import (
    WordPieceSegmenter,
    split_mark,
    undo_segmentation,
)

_UNRESOLVED = "${"  # an interpolation that fairseq did not fill in


@dataclass
class BertWordPieceConfig(FairseqDataclass):
    """Where the tokenizer is: in the task's data-bin."""

    data_bin: Any = II("task.data")


@register_bpe("bert_wordpiece", dataclass=BertWordPieceConfig)
class BertWordPiece:
    """Words to symbols and back, with the tokenizer that the data-bin keeps."""

    def __init__(self, cfg: BertWordPieceConfig) -> None:
        self._data = cfg.data_bin

    @cached_property
    def _segmenter(self) -> WordPieceSegmenter:
        return WordPieceSegmenter(_open(self._data, "bert_wordpiece").checked_tokenizer())

    def encode(self, line: str) -> str:
        """Return the symbols of a Moses-tokenised line."""
        return self._segmenter.segment(line)

    def decode(self, line: str) -> str:
        """Return the words of a line of symbols."""
        return undo_segmentation(line)

    def is_beginning_of_word(self, symbol: str) -> bool:
        """Tell whether ``symbol`` opens a word."""
        return not split_mark(symbol)[0]


@dataclass
class BertKDMosesConfig(FairseqDataclass):
    """Languages come from the data-bin unless they are given."""

    data_bin: Any = II("task.data")
    source_lang: Optional[str] = field(default=None, metadata={"help": "source language"})
    target_lang: Optional[str] = field(default=None, metadata={"help": "target language"})
    undo_segmentation: bool = field(
        default=False,
        metadata={"help": "decode symbols rather than words (for --eval-bleu-detok-args)"},
    )
    subword: str = field(
        default=WORDPIECE,
        metadata={"help": f"what the symbols to decode are: {', '.join(POST_PROCESS)}"},
    )
    tokenized: bool = field(
        default=False,
        metadata={"help": "leave tokens as they are, of text that was tokenised before"},
    )


@register_tokenizer("bertkd_moses", dataclass=BertKDMosesConfig)
class BertKDMoses:
    """Raw text to Moses tokens as ``bertkd prepare`` makes them, and Moses tokens to text."""

    def __init__(self, cfg: BertKDMosesConfig) -> None:
        """:raises BertKDError: if neither options nor data-bin tell the target language, or a scheme is unknown."""
        self._cfg = cfg
        if cfg.subword not in POST_PROCESS:
            wanted = f"one of {', '.join(POST_PROCESS)}"
            raise ConfigurationError(must_be("subword of bertkd_moses", wanted, cfg.subword))
        if cfg.target_lang is None:
            _ = self._data_bin  # a mistake is told now, not after the first epoch

    @cached_property
    def _data_bin(self) -> DataBin:
        return _open(self._cfg.data_bin, "bertkd_moses")

    @cached_property
    def _source(self) -> Words:
        return self._data_bin.words(self._cfg.source_lang or self._data_bin.source_lang)

    @cached_property
    def _target(self) -> Words:
        if self._cfg.tokenized:
            return TokenizedText()
        if self._cfg.target_lang is not None:
            return MosesText(self._cfg.target_lang)
        return self._data_bin.words(self._data_bin.target_lang)

    def encode(self, line: str) -> str:
        """Return the Moses tokens of a raw line of the source language."""
        return self._source.tokenize(line)

    def decode(self, line: str) -> str:
        """Return the text of a line of target tokens (or symbols, with ``undo_segmentation``)."""
        if not self._cfg.undo_segmentation:
            return self._target.detokenize(line)
        if self._cfg.subword == SENTENCEPIECE:  # made of raw text
            return POST_PROCESS[SENTENCEPIECE](line)
        return self._target.detokenize(POST_PROCESS[self._cfg.subword](line))


def _open(data: Any, name: str) -> DataBin:
    # fairseq allows several folders, joined by ":"; `bertkd prepare` made the first.
    path = str(data).split(":")[0]
    if not data or path.startswith(_UNRESOLVED):
        raise ConfigurationError(
            f"`{name}` must be told the languages or the data-bin when no task names one. "
            'Give --eval-bleu-detok-args \'{"undo_segmentation": true, "target_lang": "en"}\'.'
        )
    return DataBin.open(path)
