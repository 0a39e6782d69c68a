"""Subword schemes of data-bins: which text a dictionary symbol writes, and whether it opens a word.

===============  =====================================  ================================================
name             symbols of ``unhappy dogs``            written by
===============  =====================================  ================================================
wordpiece        ``un ##happy dogs``                    ``bertkd prepare``, BERT tokenizers
bpe              ``un@@ happy dogs``                    subword-nmt, fastBPE
sentencepiece    ``▁un happy ▁dogs``                    SentencePiece, unigram and BPE
gpt2             ``403 34191 6844``                     ``--bpe gpt2`` of fairseq: ids of ``encoder.json``
hf_byte_bpe      ``un happy Ġdogs``                     ``--bpe hf_byte_bpe`` of fairseq
words            ``unhappy dogs``                       no subword tool
===============  =====================================  ================================================

The teacher needs this to find the pieces of its tokenizer for each symbol. To turn a line of symbols into text, the
scheme's own library is used, or fairseq's ``--bpe`` and ``--post-process``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bertkd_fairseq.errors import ConfigurationError, DataError, must_be
from bertkd_fairseq.masking import WordMarks
from bertkd_fairseq.text.segmentation.wordpiece import split_mark
from bertkd_fairseq.vocabulary import is_text

WORDPIECE, BPE, SENTENCEPIECE, GPT2, BYTE_BPE, WORDS = SCHEMES = (
    "wordpiece",
    "bpe",
    "sentencepiece",
    "gpt2",
    "hf_byte_bpe",
    "words",
)
BPE_MARK, WORD_MARK, BYTE_SPACE = "@@", "\u2581", "\u0120"

# A scheme is recognised if more than this share of the symbols bears its mark.
_MARKED_ENOUGH = 0.01
_NUMBERS_ENOUGH = 0.9  # for gpt2; more, because a vocabulary of words has numbers too


class Surface(NamedTuple):
    """The text that a symbol writes, and whether it opens a word.

    ``initial``: None if the symbol doesn't show it, as in ``bpe``. ``text``: bytes that aren't UTF-8 by themselves are
    in it as Python's ``surrogateescape`` writes them.
    """

    text: str
    initial: bool | None


@dataclass(frozen=True)
class Scheme:
    """A subword scheme: its name in :data:`SCHEMES`, and a function that returns the surface of a symbol."""

    name: str
    surface: Callable[[str], Surface]


def joins_next(symbol: str) -> bool:
    """Return whether a symbol of ``bpe`` ends in ``@@``, so that the next symbol continues the word."""
    return len(symbol) > len(BPE_MARK) and symbol.endswith(BPE_MARK)


def marked_shares(symbols: Sequence[str]) -> dict[str, float]:
    """Return for each scheme with a mark the share of text symbols that bear it, from 0 to 1."""
    texts = list(filter(is_text, symbols))
    tests: dict[str, Callable[[str], bool]] = {
        WORDPIECE: lambda symbol: bool(split_mark(symbol)[0]),
        BPE: joins_next,
        SENTENCEPIECE: lambda symbol: symbol.startswith(WORD_MARK),
        GPT2: lambda symbol: symbol.isascii() and symbol.isdecimal(),
        BYTE_BPE: lambda symbol: symbol.startswith(BYTE_SPACE),
    }
    return {name: sum(map(test, texts)) / max(1, len(texts)) for name, test in tests.items()}


def word_marks(symbols: Sequence[str], scheme: Scheme) -> WordMarks:
    """Return which symbols of a dictionary open a word and which join the next one; specials stand alone."""
    opens = [not is_text(s) or scheme.surface(s).initial is not False for s in symbols]
    joins = [scheme.name == BPE and joins_next(symbol) for symbol in symbols]
    return WordMarks(np.array(opens), np.array(joins))


def detect_scheme(symbols: Sequence[str]) -> str:
    """Return the name of the scheme whose mark most symbols of a dictionary bear; ``words`` if hardly any does."""
    shares = marked_shares(symbols)
    if shares.pop(GPT2) > _NUMBERS_ENOUGH:
        return GPT2
    name = max(shares, key=lambda scheme: shares[scheme])
    return name if shares[name] > _MARKED_ENOUGH else WORDS


def scheme_problems(option: str, name: str, symbols: Sequence[str], where: str) -> list[str]:
    """Return a message if the symbols of the dictionary ``where`` contradict the scheme ``name``."""
    found = detect_scheme(symbols)
    if name in (found, WORDS) or marked_shares(symbols)[name] > _MARKED_ENOUGH:
        return []
    hint = "Leave it out: the scheme is recognised from the dictionary."
    return [must_be(option, f"{found}, as the symbols of {where} show", name, hint)]


def make_scheme(name: str, encoder_json: str | None = None, option: str = "encoder_json") -> Scheme:
    """Return the scheme called ``name``.

    :param encoder_json: GPT-2's ``encoder.json``. The scheme ``gpt2`` needs it, because its symbols are numbers.
    :param option: the name of ``encoder_json`` in messages.
    :raises ConfigurationError: if ``encoder_json`` is needed and missing.
    :raises DataError: if it can't be read.
    """
    if name == GPT2:
        return Scheme(name, _numbered(_read_encoder(encoder_json, option)))
    return Scheme(name, _SURFACES[name])


def _wordpiece(symbol: str) -> Surface:
    mark, text = split_mark(symbol)
    return Surface(text, not mark)


def _bpe(symbol: str) -> Surface:
    return Surface(symbol.removesuffix(BPE_MARK) if joins_next(symbol) else symbol, None)


def _sentencepiece(symbol: str) -> Surface:
    return Surface(symbol.removeprefix(WORD_MARK), symbol.startswith(WORD_MARK))


def _byte_bpe(symbol: str) -> Surface:
    text = from_byte_alphabet(symbol)
    return Surface(text.removeprefix(" "), text.startswith(" "))


_SURFACES: dict[str, Callable[[str], Surface]] = {
    WORDPIECE: _wordpiece,
    BPE: _bpe,
    SENTENCEPIECE: _sentencepiece,
    BYTE_BPE: _byte_bpe,
    WORDS: lambda symbol: Surface(symbol, True),
}


def byte_alphabet() -> dict[int, str]:
    """Return for each byte the printable character that byte-level BPE (GPT-2) writes for it."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(0x100 + place) for place, byte in enumerate(others)
    }


_CHARACTER_OF = byte_alphabet()
_BYTE_OF = {character: byte for byte, character in _CHARACTER_OF.items()}


def from_byte_alphabet(symbol: str) -> str:
    """Return the text of a symbol of byte-level BPE. Characters outside its alphabet stay as they are."""
    data = b"".join(
        bytes([_BYTE_OF[character]]) if character in _BYTE_OF else character.encode()
        for character in symbol
    )
    return data.decode("utf-8", "surrogateescape")


def to_byte_alphabet(text: str) -> str:
    """Return ``text`` in the characters of byte-level BPE."""
    return "".join(_CHARACTER_OF[byte] for byte in text.encode("utf-8", "surrogateescape"))


def _numbered(tokens: dict[str, str]) -> Callable[[str], Surface]:
    def surface(symbol: str) -> Surface:
        return _byte_bpe(tokens[symbol]) if symbol in tokens else Surface("", True)

    return surface


def _read_encoder(path: str | None, option: str) -> dict[str, str]:
    """Return the token for each id in GPT-2's ``encoder.json``."""
    wanted = "the encoder.json that the text was encoded with, since its symbols are numbers of GPT-2's vocabulary"
    if path is None:
        raise ConfigurationError(must_be(option, wanted, "missing"))
    try:
        tokens = json.loads(Path(path).read_text(encoding="utf-8"))
        return {str(int(index)): str(token) for token, index in tokens.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            must_be(option, wanted, f"{path}, which can't be read ({error})")
        ) from error
