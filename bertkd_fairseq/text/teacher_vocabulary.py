"""What a teacher knows of a data-bin's symbols, whatever made the data-bin and whatever model teaches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bertkd_fairseq.errors import ConfigurationError, DataError, must_be
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.segmentation.fast_tokenizer import load_fast_tokenizer
from bertkd_fairseq.text.segmentation.schemes import (
    BPE,
    WORDPIECE,
    Surface,
    detect_scheme,
    joins_next,
    make_scheme,
    scheme_problems,
)
from bertkd_fairseq.text.segmentation.teacher_pieces import TeacherTokenizer
from bertkd_fairseq.text.segmentation.wordpiece import WordPieceSegmenter
from bertkd_fairseq.vocabulary import (
    MOST_UNMATCHED,
    SPECIAL_PIECES,
    Matches,
    Pieces,
    TeacherVocabulary,
    build_teacher_vocabulary,
    map_symbols,
    match_symbols,
)

log = logging.getLogger(__name__)

AUTO = "auto"
_LARGEST_PADDING = 128
_BERT = "--bert-model"


@dataclass(frozen=True)
class Side:
    """The dictionary of one language: its symbols (V,), and the ids of some of its text, sentence by sentence.

    ``where`` is what messages call it. ``sentences`` is read for schemes only whose symbols don't tell where a word
    opens.
    """

    where: str
    symbols: Sequence[str]
    sentences: Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class SymbolReader:
    """Maps the dictionaries of a data-bin to the pieces of pretrained models.

    ``source`` is None where one dictionary serves both languages. ``subword``: a name in
    :data:`~bertkd_fairseq.text.segmentation.schemes.SCHEMES`, or ``auto``.
    """

    data_bin: DataBin
    target: Side
    source: Side | None
    subword: str = AUTO
    encoder_json: str | None = None

    def vocabulary(self, name: str, num_embeddings: int) -> TeacherVocabulary:
        """Return how the symbols map to the pretrained model ``name``, which has so many embeddings.

        :raises BertKDError: if it has no tokenizer that fits the data-bin.
        """
        tokenizer, native = pretrained_tokenizer(name), self._native
        if native is None:
            vocabulary = self._mapped(name, tokenizer or load_fast_tokenizer(name, _BERT))
        elif tokenizer is None:
            _check_size(name, num_embeddings, native)
            log.warning(
                "%s has no tokenizer: only its size could be compared with the data-bin's", name
            )
            vocabulary = native
        elif self._is_native(native, tokenizer.get_vocab()):
            vocabulary = native
        else:
            vocabulary = self._mapped(name, tokenizer)
        if num_embeddings < vocabulary.num_pieces:
            wanted = f"a model with the {vocabulary.num_pieces} pieces of its tokenizer"
            seen = f"{name} with {num_embeddings} embeddings"
            raise ConfigurationError(must_be(_BERT, wanted, seen))
        return vocabulary

    @cached_property
    def _segmenter(self) -> WordPieceSegmenter:
        return WordPieceSegmenter(self.data_bin.checked_tokenizer())

    @cached_property
    def _native(self) -> TeacherVocabulary | None:
        """The vocabulary by the tokenizer that cut the text, where the data-bin keeps it."""
        if self.source is not None or not self.data_bin.keeps_tokenizer:
            return None
        if self.subword not in (AUTO, WORDPIECE):
            return None
        piece_ids = self._segmenter.tokenizer.get_vocab()
        return build_teacher_vocabulary(self.target.symbols, self._segmenter.pieces, piece_ids)

    def _is_native(self, native: TeacherVocabulary, theirs: dict[str, int]) -> bool:
        """Tell whether a model's tokenizer gives every piece in use the id that it has in the data-bin."""
        used = {pieces[0] for pieces in native.row_pieces}
        ours: dict[str, int] = self._segmenter.tokenizer.get_vocab()
        return all(theirs.get(piece) == index for piece, index in ours.items() if index in used)

    def _mapped(self, name: str, pretrained: Any) -> TeacherVocabulary:
        tokenizer = TeacherTokenizer(pretrained)
        target = self._pieces(self.target, tokenizer, name)
        source = self._pieces(self.source, tokenizer, name) if self.source else []
        symbols = self.source.symbols if self.source else ()
        return map_symbols(
            *(self.target.symbols, target, symbols, source),
            tokenizer.specials,
            len(tokenizer.vocabulary),
        )

    def _pieces(self, side: Side, tokenizer: TeacherTokenizer, name: str) -> list[Pieces]:
        """Return the pieces of every symbol of one dictionary, and log how they match.

        :raises ConfigurationError: if the scheme contradicts the dictionary, or a third matches nothing.
        """
        scheme_name = detect_scheme(side.symbols) if self.subword == AUTO else self.subword
        for problem in scheme_problems("--subword", scheme_name, side.symbols, side.where):
            raise ConfigurationError(problem)
        scheme = make_scheme(scheme_name, self.encoder_json, "--encoder-json")
        surfaces = [scheme.surface(symbol) for symbol in side.symbols]
        if scheme_name == BPE:
            opens = opening_shares(side.symbols, side.sentences()) > 0.5
            surfaces = [
                Surface(surface.text, bool(first))
                for surface, first in zip(surfaces, opens, strict=True)
            ]
        pieces = [tokenizer.pieces(surface) for surface in surfaces]
        matches = match_symbols(side.symbols, pieces)
        log.info("%s", describe(side.where, scheme_name, matches, name))
        if matches.share_unmatched > MOST_UNMATCHED:
            wanted = f"a model whose tokenizer has pieces for the symbols of {side.where} ({scheme_name})"
            seen = f"{name}, which has none for {100 * matches.share_unmatched:.0f}% of them,"
            hint = "Choose a model of that language, or name the scheme with --subword."
            raise ConfigurationError(must_be(_BERT, wanted, seen, hint))
        return pieces


def describe(where: str, scheme: str, matches: Matches, name: str) -> str:
    """Return a line that says how many symbols match the model's pieces, with examples of each kind."""
    kinds = (
        (matches.exact, "one piece", "exact"),
        (matches.averaged, "the mean of several", "averaged"),
        (matches.unmatched, "no piece", "unmatched"),
    )
    counted = "; ".join(
        f"{count} {words}" + (f" ({' '.join(matches.examples[kind])} ...)" if count else "")
        for count, words, kind in kinds
    )
    return f"{where}: {scheme} symbols, in pieces of {name}: {counted}"


def opening_shares(symbols: Sequence[str], sentences: Iterable[np.ndarray]) -> np.ndarray:
    """Return how often each symbol of subword-nmt opens a word in ``sentences`` of ids: (V,), 1 if it never occurs."""
    joins = np.array([joins_next(symbol) for symbol in symbols])
    seen, opening = np.zeros(len(symbols), dtype=np.int64), np.zeros(len(symbols), dtype=np.int64)
    for ids in sentences:
        opens = np.ones(len(ids), dtype=bool)
        opens[1:] = ~joins[ids[:-1]]
        np.add.at(seen, ids, 1)
        np.add.at(opening, ids[opens], 1)
    return np.where(seen > 0, opening / np.maximum(seen, 1), 1.0)


def pretrained_tokenizer(name: str) -> Any | None:
    """Return the tokenizer beside a pretrained model; None if there is none that can be loaded."""
    try:
        tokenizer = load_fast_tokenizer(name, _BERT)
    except DataError as error:
        log.debug("%s", error)
        return None
    # Where there are no files, transformers makes up a tokenizer of special tokens alone.
    return tokenizer if len(tokenizer.get_vocab()) > len(SPECIAL_PIECES) + 1 else None


def _check_size(name: str, found: int, native: TeacherVocabulary) -> None:
    """Compare sizes, where there is no tokenizer to compare; some models pad theirs to a multiple."""
    if not native.num_pieces <= found < native.num_pieces + _LARGEST_PADDING:
        hint = "Put this model's own tokenizer into its folder."
        wanted = f"a model with the {native.num_pieces} pieces of the data-bin's tokenizer"
        raise ConfigurationError(must_be(_BERT, wanted, f"{name} with {found} embeddings", hint))
