"""The settings of ``bertkd prepare``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.errors import must_be
from bertkd_fairseq.files import dest_problems
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.text.cleaning import CleaningRules
from bertkd_fairseq.text.data_bin import DATA_BIN
from bertkd_fairseq.text.languages import has_spaces
from bertkd_fairseq.text.outputs import inside_problems
from bertkd_fairseq.text.segmentation.learnt import MODEL_FILES, MODEL_TYPES, UNIGRAM
from bertkd_fairseq.text.segmentation.schemes import WORDPIECE

_TEXT = "text, as PREFIX.LANG or PREFIX.LANG.gz"
_CLEANING = "cleaning of training pairs, in Moses tokens"
_SUBWORDS = "symbols"
_OUTPUT = "output"
VOCAB_SIZE = 10_000
"""Merges or pieces if nothing else is said, as in fairseq's recipe for IWSLT14."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """The settings of :func:`bertkd_fairseq.text.prepare.prepare`.

    A text is given by its prefix; its files are ``PREFIX.LANG`` or ``PREFIX.LANG.gz``.
    """

    source_lang: str = setting("source language code", metavar="LANG", group=_TEXT)
    target_lang: str = setting("target language code", metavar="LANG", group=_TEXT)
    train: str = setting("training pairs", metavar="PREFIX", group=_TEXT)
    valid: str = setting("validation pairs", metavar="PREFIX", group=_TEXT)
    test: str | None = setting("test pairs", default=None, metavar="PREFIX", group=_TEXT)
    lowercase: bool = setting("lowercase both languages", default=False, group=_TEXT)
    keep_punctuation: bool = setting(
        "leave quotes, dashes and so on as they are, instead of normalising them before tokenising",
        default=False,
        group=_TEXT,
    )
    tokenized: bool = setting(
        "the text is tokenised already: leave its tokens alone, and never undo them",
        default=False,
        group=_TEXT,
    )
    min_length: int = setting(
        "keep a pair if both sides have at least N tokens",
        default=CleaningRules.min_length,
        at_least=1,
        metavar="N",
        group=_CLEANING,
    )
    max_length: int = setting(
        "keep a pair if both sides have at most N tokens",
        default=CleaningRules.max_length,
        metavar="N",
        group=_CLEANING,
    )
    max_characters: int = setting(
        "keep a pair if a side whose language writes no spaces between words has at most N characters",
        default=CleaningRules.max_characters,
        at_least=1,
        metavar="N",
        group=_CLEANING,
    )
    max_ratio: float = setting(
        "keep a pair if the longer side has at most RATIO times as many tokens as the shorter",
        default=CleaningRules.max_ratio,
        at_least=1,
        metavar="RATIO",
        group=_CLEANING,
    )
    subword: str = setting(
        "wordpiece: cut words as the teacher's tokenizer does (paper). bpe: learn the merges of subword-nmt from both "
        "sides. sentencepiece: learn a SentencePiece model from both sides, of raw text",
        default=WORDPIECE,
        choices=(WORDPIECE, *MODEL_FILES),
        group=_SUBWORDS,
    )
    tokenizer: str | None = setting(
        "the teacher's fast WordPiece tokenizer, which --subword wordpiece needs",
        default=None,
        metavar="PATH_OR_HUB_NAME",
        group=_SUBWORDS,
    )
    vocab_size: int | None = setting(
        f"number of merges of --subword bpe, or pieces of --subword sentencepiece; {VOCAB_SIZE} if not given",
        default=None,
        at_least=1,
        metavar="N",
        group=_SUBWORDS,
    )
    sentencepiece_type: str = setting(
        "kind of the SentencePiece model", default=UNIGRAM, choices=MODEL_TYPES, group=_SUBWORDS
    )
    destdir: Path = setting("the new data-bin", metavar="DIR", group=_OUTPUT, old_option="--dest")
    force: bool = setting("replace a data-bin at --destdir", default=False, group=_OUTPUT)
    workers: int = setting(
        "number of processes",
        default=os.cpu_count() or 1,
        at_least=1,
        metavar="N",
        group=_OUTPUT,
    )

    @property
    def langs(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_lang, self.target_lang

    @property
    def prefixes(self) -> dict[str, str]:
        """The prefix of each split's text."""
        named_prefixes = {"train": self.train, "valid": self.valid, "test": self.test}
        return {split: prefix for split, prefix in named_prefixes.items() if prefix}

    @property
    def rules(self) -> CleaningRules:
        """Which training pairs stay."""
        # Tokens that came as such have spaces between in every language.
        source, target = (self.tokenized or has_spaces(lang) for lang in self.langs)
        return CleaningRules(
            self.min_length,
            self.max_length,
            self.max_ratio,
            self.max_characters,
            source_has_spaces=source,
            target_has_spaces=target,
        )

    @property
    def dest(self) -> Path:
        """The data-bin's place, wherever the process goes meanwhile."""
        return self.destdir.absolute()

    def _subword_problems(self) -> list[str]:
        kind = f"{named(self, 'subword')} {self.subword}"
        if self.subword == WORDPIECE:
            problems = []
            if self.tokenizer is None:
                hint = "Name the folder or hub name of the BERT that will teach."
                wanted = f"given with {kind}"
                problems.append(must_be(named(self, "tokenizer"), wanted, "missing", hint))
            meaningless = ("vocab_size",)
        else:
            problems, meaningless = [], ("tokenizer",)
        return problems + [
            f"{named(self, name)} has no meaning with {kind}. Leave it out."
            for name in meaningless
            if getattr(self, name) is not None
        ]

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without reading any text."""
        problems = []
        if self.source_lang == self.target_lang:
            wanted = f"another language than {named(self, 'source_lang')}"
            problems.append(must_be(named(self, "target_lang"), wanted, "the same"))
        for name, lang in zip(("source_lang", "target_lang"), self.langs, strict=True):
            if not lang or set(lang) & set("-./\\ ,:"):
                # fairseq finds the languages of a data-bin by cutting file names at "." and "-".
                wanted = "a language code without - . / , : or space"
                problems.append(must_be(named(self, name), wanted, repr(lang)))
        problems += range_problems(self) + self._subword_problems()
        if self.max_length < self.min_length:
            wanted = f"at least {named(self, 'min_length')}"
            problems.append(must_be(named(self, "max_length"), wanted, self.max_length))
        option, force = named(self, "destdir"), named(self, "force")
        problems += dest_problems(self.dest, DATA_BIN, self.force, name=option, force_name=force)
        return problems + inside_problems(option, self.destdir)
