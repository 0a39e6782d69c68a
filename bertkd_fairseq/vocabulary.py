"""From the fairseq dictionary to the teacher's embeddings.

The teacher reads and predicts fairseq ids. In a WordPiece data-bin, each symbol stands for one WordPiece of the
teacher's own tokenizer. Only these WordPieces keep their embeddings, so that a multilingual BERT doesn't carry 100,000
unused ones. In any other data-bin, each symbol gets an embedding of its own. It starts from the pieces that write the
symbol's text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bertkd_fairseq.errors import DataError

SPECIAL_PIECES = {"<s>": "[CLS]", "<pad>": "[PAD]", "</s>": "[SEP]", "<unk>": "[UNK]"}
"""fairseq's special symbols and the BERT tokens that they stand for. EOS ends both source and target, as [SEP] does."""

MASK_PIECE = "[MASK]"
PADDING_SYMBOL_PREFIX = "madeupword"
"""fairseq pads a dictionary to a multiple of 8 with symbols of this name. They never occur in data."""

_NEVER_PREDICTED = ("<s>", "<pad>")
_EXAMPLES = 5
_DRAWING_SEED = 0
MOST_UNMATCHED = 1 / 3
"""If more than this share of the symbols has no pieces, the teacher's tokenizer doesn't suit the text."""

Pieces = tuple[int, ...]
"""Ids of the teacher's pieces that together write a symbol's text; empty if there are none."""


@dataclass(frozen=True)
class TeacherVocabulary:
    """How the S symbols that the teacher reads map to its R embeddings.

    The V symbols of the target dictionary come first. If the source has a dictionary of its own, its symbols follow;
    otherwise S = V.

    ``row_pieces`` (R,): for each embedding, the pieces whose mean it starts from. Without pieces, it is drawn from a
    normal distribution with the mean and covariance of all pretrained embeddings.
    ``embedding_index`` (S,) int64: the embedding that each symbol reads. Its output weights start from the same pieces.
    ``never_predicted`` (V,) bool: symbols that can't be predicted (``<s>``, ``<pad>``, dictionary padding).
    ``mask_index``: the embedding of the mask, which no symbol stands for.
    ``num_pieces``: the number of pieces that the tokenizer has.
    """

    row_pieces: tuple[Pieces, ...]
    embedding_index: np.ndarray
    never_predicted: np.ndarray
    mask_index: int
    num_pieces: int


class SpecialIds(NamedTuple):
    """The ids of the teacher's pieces that stand for fairseq's special symbols and for the mask."""

    bos: int
    pad: int
    eos: int
    unk: int
    mask: int

    @property
    def by_symbol(self) -> dict[str, int]:
        """The id for each of fairseq's special symbols."""
        return dict(zip(SPECIAL_PIECES, self[: len(SPECIAL_PIECES)], strict=True))


@dataclass(frozen=True)
class Matches:
    """How many symbols of a dictionary are written by one piece of the teacher, by several, or by none.

    ``examples``: some symbols of each kind, by the names of the other fields.
    """

    exact: int
    averaged: int
    unmatched: int
    examples: Mapping[str, Sequence[str]]

    @property
    def share_unmatched(self) -> float:
        """The share of the symbols that have no pieces, from 0 to 1."""
        return self.unmatched / max(1, self.exact + self.averaged + self.unmatched)


def match_symbols(symbols: Sequence[str], pieces: Sequence[Pieces]) -> Matches:
    """Count the text symbols of a dictionary by the number of ``pieces`` (V,) that write each."""
    by_kind: dict[str, list[str]] = {"exact": [], "averaged": [], "unmatched": []}
    for symbol, written in zip(symbols, pieces, strict=True):
        if is_text(symbol):
            kind = "unmatched" if not written else "exact" if len(written) == 1 else "averaged"
            by_kind[kind].append(symbol)
    examples = {kind: found[:_EXAMPLES] for kind, found in by_kind.items()}
    return Matches(**{kind: len(found) for kind, found in by_kind.items()}, examples=examples)


def is_text(symbol: str) -> bool:
    """Return whether a dictionary's symbol stands for text, and is neither special nor padding."""
    return symbol not in SPECIAL_PIECES and not is_padding(symbol)


def is_padding(symbol: str) -> bool:
    """Return whether a symbol only pads the dictionary."""
    return symbol.startswith(PADDING_SYMBOL_PREFIX)


def map_symbols(
    target: Sequence[str],
    target_pieces: Sequence[Pieces],
    source: Sequence[str],
    source_pieces: Sequence[Pieces],
    specials: SpecialIds,
    num_pieces: int,
) -> TeacherVocabulary:
    """Give every symbol an embedding of its own, which starts from the symbol's pieces.

    Two symbols of equal text, such as ``dog`` and ``dog@@``, start from the same pieces but can learn to differ.

    :param source: the source dictionary; empty if source and target share one.
    """
    symbols = (*target, *source)
    special = specials.by_symbol
    rows: list[Pieces] = [
        (special[symbol],) if symbol in special else (specials.unk,) if is_padding(symbol) else own
        for symbol, own in zip(symbols, (*target_pieces, *source_pieces), strict=True)
    ]
    return TeacherVocabulary(
        row_pieces=(*rows, (specials.mask,)),
        embedding_index=np.arange(len(rows)),
        never_predicted=_never_predicted(target),
        mask_index=len(rows),
        num_pieces=num_pieces,
    )


def build_teacher_vocabulary(
    symbols: Sequence[str],
    pieces_of: Callable[[Sequence[str]], Sequence[str]],
    piece_ids: Mapping[str, int],
) -> TeacherVocabulary:
    """Map every symbol of a joined WordPiece dictionary to the embedding of its WordPiece.

    ``pieces_of`` returns the WordPieces that symbols stand for, as
    :meth:`~bertkd_fairseq.text.segmentation.wordpiece.WordPieceSegmenter.pieces` does. ``piece_ids`` is the
    tokenizer's vocabulary.

    :raises DataError: if the tokenizer lacks one of BERT's special tokens.
    """
    check_special_pieces(piece_ids)
    unknown = SPECIAL_PIECES["<unk>"]
    pieces = [
        SPECIAL_PIECES.get(symbol) or (unknown if is_padding(symbol) else piece)
        for symbol, piece in zip(symbols, pieces_of(symbols), strict=True)
    ]
    ids = np.array([piece_ids[piece] for piece in pieces], dtype=np.int64)  # (V,)
    kept = np.unique(np.append(ids, piece_ids[MASK_PIECE]))  # (R,)
    return TeacherVocabulary(
        row_pieces=tuple((int(piece),) for piece in kept),
        embedding_index=np.searchsorted(kept, ids),
        never_predicted=_never_predicted(symbols),
        mask_index=int(np.searchsorted(kept, piece_ids[MASK_PIECE])),
        num_pieces=len(piece_ids),
    )


def _never_predicted(symbols: Sequence[str]) -> np.ndarray:
    never = (symbol in _NEVER_PREDICTED or is_padding(symbol) for symbol in symbols)
    return np.fromiter(never, bool, len(symbols))


def embedding_rows(pretrained: np.ndarray, row_pieces: Sequence[Pieces]) -> np.ndarray:
    """Return the values that R embeddings start from: (R, H) float32. ``pretrained``: (P, H) float32.

    An embedding of one piece is a copy of that piece's, and one of several pieces is their mean. One without pieces is
    drawn from a normal distribution with the mean and the covariance of all pretrained embeddings. The draws are the
    same every time.
    """
    rows = np.empty((len(row_pieces), pretrained.shape[1]), dtype=np.float32)
    drawn = [row for row, pieces in enumerate(row_pieces) if not pieces]
    for row, pieces in enumerate(row_pieces):
        if pieces:
            rows[row] = pretrained[list(pieces)].mean(0)
    if drawn:
        mean = pretrained.mean(0)
        centred = pretrained - mean
        covariance = centred.T @ centred / max(1, len(pretrained) - 1)  # (H, H)
        generator = np.random.default_rng(_DRAWING_SEED)
        rows[drawn] = generator.multivariate_normal(mean, covariance, len(drawn), method="eigh")
    return rows


def check_special_pieces(piece_ids: Mapping[str, int]) -> None:
    """:raises DataError: if the tokenizer lacks one of BERT's special tokens."""
    missing = sorted({*SPECIAL_PIECES.values(), MASK_PIECE} - set(piece_ids))
    if missing:
        raise DataError(
            f"the teacher's tokenizer must have the special tokens of BERT, but lacks {', '.join(missing)}. "
            "Use the tokenizer that came with the pretrained BERT."
        )


def dictionary_hash(symbols: Sequence[str]) -> str:
    """Return a hash of the symbols in their order. Two hashes are equal if and only if all ids mean the same."""
    digest = hashlib.sha256()
    for symbol in symbols:
        digest.update(symbol.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
