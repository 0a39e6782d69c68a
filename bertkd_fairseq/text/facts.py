"""What ``bertkd prepare`` finds in a text: it prints these facts, and ``bertkd.json`` keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field

from bertkd_fairseq.text.cleaning import CleaningRules

ByLang = dict[str, int]
"""A number for each language, by its code."""


@dataclass(frozen=True)
class SplitFacts:
    """One split: its pairs, and the symbols of those that were kept."""

    read: int
    kept: int
    dropped: dict[str, int]  # number of pairs by reason
    lines_with_control_characters: ByLang
    symbols: ByLang
    longest_pair: int  # in positions of the teacher
    pairs_over_512: int  # that many positions is what BERT has
    unk: ByLang = field(default_factory=dict)


@dataclass(frozen=True)
class Coverage:
    """How the symbols of a text fall on the pieces of a tokenizer.

    ``types`` different symbols were counted, ``tokens`` in all. The tokenizer has no piece for ``unknown_types`` and
    ``unknown_tokens`` of them. ``shared_types`` share their piece with another symbol (a cased text and an uncased
    tokenizer: ``Haus`` and ``haus``).
    """

    types: int
    tokens: int
    unknown_types: int
    unknown_tokens: int
    shared_types: int


@dataclass(frozen=True)
class DictionaryFacts:
    """The joined dictionary: its symbols, specials included, and the coverage of each side and of both."""

    size: int
    coverage: dict[str, Coverage]


@dataclass(frozen=True)
class TokenizerFacts:
    """The teacher's tokenizer, and what it does to the characters of the text."""

    name: str
    sha256: str
    lowercases: bool
    strips_accents: bool


@dataclass(frozen=True)
class InputFile:
    """A file of raw text."""

    file: str
    sha256: str


@dataclass(frozen=True)
class DataBinFacts:
    """All that ``bertkd.json`` holds, by the names that it has there."""

    format: int
    source_lang: str
    target_lang: str
    lowercase: bool
    normalize_punctuation: bool
    cleaning: CleaningRules
    tokenized: bool
    subword: str
    tokenizer: TokenizerFacts | None  # of the WordPiece that cut the text
    inputs: list[InputFile]
    splits: dict[str, SplitFacts]
    dictionary: DictionaryFacts
    versions: dict[str, str]

    @property
    def langs(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_lang, self.target_lang
