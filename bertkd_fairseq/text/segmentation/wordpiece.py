"""Reversible WordPiece segmentation of Moses-tokenised text.

Words are cut where a fast WordPiece tokenizer cuts them, but every piece keeps the characters of the text. So undoing
the segmentation gives exactly the same text with any tokenizer, even one that lowercases, strips accents, drops
characters or returns ``[UNK]``::

    Moses tokens   T-Shirts   unglaublich
    symbols        T ￭- ￭Shirt ##s   un ##glaublich

The first piece of a word has no mark. ``##`` marks a continuation in the sense of WordPiece. ``￭`` marks a piece that
was split off by BERT's pre-tokenizer. So ``##x`` and ``￭x`` stand for different WordPieces.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bertkd_fairseq.errors import DataError, must_be
from bertkd_fairseq.text.facts import Coverage
from bertkd_fairseq.text.segmentation.fast_tokenizer import load_fast_tokenizer
from bertkd_fairseq.vocabulary import PADDING_SYMBOL_PREFIX, SPECIAL_PIECES, check_special_pieces

CONTINUATION = "##"
JOINER = "\uffed"
MARKS = (CONTINUATION, JOINER)

# Symbols that have a special meaning in fairseq's Dictionary: the special symbols, and padding to a multiple of 8.
_RESERVED = re.compile(
    "|".join([*map(re.escape, SPECIAL_PIECES), f"{PADDING_SYMBOL_PREFIX}[0-9]+"])
)


def undo_segmentation(line: str) -> str:
    """Return the words of a segmented ``line``, separated by single spaces.

    This is the exact inverse of :meth:`WordPieceSegmenter.segment`. A model may generate a line whose first symbol is
    marked; that symbol then opens a word.
    """
    words: list[str] = []
    for symbol in line.split():
        mark, rest = split_mark(symbol)
        if mark and words:
            words[-1] += rest
        else:
            words.append(rest)
    return " ".join(words)


def split_mark(symbol: str) -> tuple[str, str]:
    """Return the mark of ``symbol`` (empty for a first piece) and the text after it."""
    for mark in MARKS:
        # A symbol that consists of a mark alone is a word of the text.
        if len(symbol) > len(mark) and symbol.startswith(mark):
            return mark, symbol[len(mark) :]
    return "", symbol


class WordPieceSegmenter:
    """Cuts words where a fast WordPiece tokenizer cuts them, and maps symbols to its vocabulary.

    :param tokenizer_dir: folder with ``tokenizer.json``, or that file.
    :raises DataError: if there is none or if its model isn't WordPiece.
    """

    def __init__(self, tokenizer_dir: str | Path) -> None:
        self.tokenizer = load_bare_tokenizer(tokenizer_dir)
        model: Any = self.tokenizer.model
        self.unk_piece: str = model.unk_token
        self._prefix: str = model.continuing_subword_prefix
        self._vocabulary = frozenset(self.tokenizer.get_vocab(with_added_tokens=False))
        self._segmented: dict[str, str] = {}

    def segment(self, line: str) -> str:
        """Return ``line`` with every word cut into symbols, separated by single spaces."""
        return self.segment_lines([line])[0]

    def segment_lines(self, lines: Sequence[str]) -> list[str]:
        """Return :meth:`segment` of each line. All new words are cut in one batch, on all cores."""
        known = self._segmented
        # Cuts depend only on the word, because BERT splits at whitespace first. So each distinct word is cut once.
        new = list(dict.fromkeys(w for line in lines for w in line.split() if w not in known))
        encodings = self.tokenizer.encode_batch(new, add_special_tokens=False)
        for word, encoding in zip(new, encodings, strict=True):
            known[word] = " ".join(_symbols(word, encoding.offsets, encoding.word_ids))
        return [" ".join([known[word] for word in line.split()]) for line in lines]

    def piece(self, symbol: str) -> str:
        """Return the WordPiece vocabulary entry that ``symbol`` stands for."""
        return self.pieces([symbol])[0]

    def pieces(self, symbols: Sequence[str]) -> list[str]:
        """Return :meth:`piece` of each symbol. A symbol that isn't exactly one entry gets the unknown piece."""
        marked = [split_mark(symbol) for symbol in symbols]
        encodings = self.tokenizer.encode_batch([text for _, text in marked], False, False)
        return [
            self._continuation(text) if mark == CONTINUATION else self._only(encoding.tokens)
            for (mark, text), encoding in zip(marked, encodings, strict=True)
        ]

    def _continuation(self, text: str) -> str:
        normalizer = self.tokenizer.normalizer
        piece = self._prefix + (normalizer.normalize_str(text) if normalizer else text)
        return piece if piece in self._vocabulary else self.unk_piece

    def _only(self, tokens: list[str]) -> str:
        return tokens[0] if len(tokens) == 1 else self.unk_piece

    def unknown_symbols(self, symbols: Iterable[str]) -> list[str]:
        """Return those of ``symbols`` for which the tokenizer has no single piece, in order."""
        symbols = list(symbols)
        pieces = self.pieces(symbols)
        return [s for s, piece in zip(symbols, pieces, strict=True) if piece == self.unk_piece]

    def coverage(self, counts: Counter[str]) -> Coverage:
        """Return how well the tokenizer's pieces cover the symbols that are counted in ``counts``."""
        by_piece: dict[str, list[str]] = defaultdict(list)
        symbols = list(counts)
        for symbol, piece in zip(symbols, self.pieces(symbols), strict=True):
            by_piece[piece].append(symbol)
        unknown = by_piece.pop(self.unk_piece, [])
        return Coverage(
            types=len(symbols),
            tokens=sum(counts.values()),
            unknown_types=len(unknown),
            unknown_tokens=sum(counts[symbol] for symbol in unknown),
            shared_types=sum(len(group) for group in by_piece.values() if len(group) > 1),
        )


def load_bare_tokenizer(tokenizer_dir: str | Path) -> Any:
    """Return a tokenizer's normaliser, pre-tokenizer and WordPiece model, without its added tokens.

    Without these tokens, a literal ``[MASK]`` in the text is ordinary text. Truncation and padding are left out, too.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece

    path = Path(tokenizer_dir)
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        full = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for everything
        raise DataError(
            f"`{path}` must be a fast tokenizer's file, but reading it gave: {error}."
        ) from error
    if not isinstance(full.model, WordPiece):
        raise DataError(
            f"`{path}` must hold a WordPiece model, but holds {type(full.model).__name__} instead. "
            "Choose a BERT-like teacher with a WordPiece tokenizer."
        )
    bare = Tokenizer(full.model)
    if full.normalizer is not None:
        bare.normalizer = full.normalizer
    if full.pre_tokenizer is not None:
        bare.pre_tokenizer = full.pre_tokenizer
    return bare


def _symbols(
    word: str, offsets: Sequence[tuple[int, int]], word_ids: Sequence[int | None]
) -> list[str]:
    """Cut ``word`` where pieces begin, and mark every piece but the first."""
    cuts: list[tuple[int, str]] = []
    for index, (start, _) in enumerate(offsets):
        # Characters that the tokenizer drops stay with the piece before them (or with the first).
        # Pieces that are made from the same single character can't be separated, and stay together.
        if index and start > (cuts[-1][0] if cuts else 0):
            joined = word_ids[index] == word_ids[index - 1]
            cuts.append((start, CONTINUATION if joined else JOINER))
    ends = [start for start, _ in cuts] + [len(word)]
    first = word[: ends[0]]
    rest = [mark + word[start:end] for (start, mark), end in zip(cuts, ends[1:], strict=True)]
    if split_mark(first)[0] or _RESERVED.fullmatch(first):
        # Unchanged, it would be read as a later piece, or as one of fairseq's special symbols.
        return [first[0], CONTINUATION + first[1:], *rest]
    return [first, *rest]


def load_tokenizer(name: str, option: str = "tokenizer") -> Any:
    """Return the fast WordPiece tokenizer in folder ``name``, or of that name on the hub.

    ``option``: the name of the setting in messages.

    :raises DataError: if there is none, or if it isn't a fast WordPiece tokenizer.
    """
    tokenizer = load_fast_tokenizer(name, option)
    model = type(tokenizer.backend_tokenizer.model).__name__
    if model != "WordPiece":
        raise DataError(must_be(option, "a WordPiece tokenizer", f"{name} of type {model}"))
    check_special_pieces(tokenizer.get_vocab())
    # Some tokenizers come with truncation and padding, which would cut long sentences.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer
