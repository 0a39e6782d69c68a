"""From the fairseq dictionary to the teacher's embeddings, one for each WordPiece that is in use.

The teacher reads and predicts fairseq ids. A dictionary symbol stands for one WordPiece; only WordPieces that
some symbol stands for keep their embedding, so that a multilingual BERT doesn't drag 100,000 unused ones along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bertkd_fairseq.errors import DataError

SPECIAL_PIECES = {"<s>": "[CLS]", "<pad>": "[PAD]", "</s>": "[SEP]", "<unk>": "[UNK]"}
"""fairseq's specials and the BERT tokens that they stand for; EOS closes both source and target as [SEP]."""

MASK_PIECE = "[MASK]"
PADDING_SYMBOL_PREFIX = "madeupword"
"""fairseq pads a dictionary to a multiple of 8 with symbols of this name; they never occur in data."""

_NEVER_PREDICTED = ("<s>", "<pad>")


@dataclass(frozen=True)
class TeacherVocabulary:
    """What the teacher knows of the dictionary of V symbols, with R embeddings in use.

    ``piece_ids`` (R,) int64: WordPiece id of each embedding that is kept, ascending.
    ``embedding_index`` (V,) int64: which of them a symbol reads; its output weights start from the same.
    ``never_predicted`` (V,) bool: symbols that can't be predicted (``<s>``, ``<pad>``, dictionary padding).
    ``mask_index``: which embedding is that of [MASK], which no symbol stands for.
    ``pieces``: the R WordPieces of ``piece_ids``. ``num_pieces``: how many the tokenizer has in all.
    """

    piece_ids: np.ndarray
    embedding_index: np.ndarray
    never_predicted: np.ndarray
    mask_index: int
    pieces: tuple[str, ...]
    num_pieces: int


def build_teacher_vocabulary(
    symbols: Sequence[str],
    pieces_of: Callable[[Sequence[str]], Sequence[str]],
    piece_ids: Mapping[str, int],
) -> TeacherVocabulary:
    """Map every dictionary symbol to the embedding of its WordPiece.

    ``pieces_of`` names the WordPieces that symbols of the text stand for
    (as :meth:`~bertkd_fairseq.text.segmentation.wordpiece.WordPieceSegmenter.pieces` does); ``piece_ids`` is the
    tokenizer's vocabulary.

    :raises DataError: if the tokenizer lacks one of BERT's special tokens.
    """
    check_special_pieces(piece_ids)
    padding = np.array([symbol.startswith(PADDING_SYMBOL_PREFIX) for symbol in symbols], dtype=bool)
    unknown = SPECIAL_PIECES["<unk>"]
    pieces = [
        SPECIAL_PIECES.get(symbol) or (unknown if is_padding else piece)
        for symbol, piece, is_padding in zip(symbols, pieces_of(symbols), padding, strict=True)
    ]
    ids = np.array([piece_ids[piece] for piece in pieces], dtype=np.int64)  # (V,)
    kept = np.unique(np.append(ids, piece_ids[MASK_PIECE]))  # (R,)
    piece_of = {piece_ids[piece]: piece for piece in (*pieces, MASK_PIECE)}
    return TeacherVocabulary(
        piece_ids=kept,
        embedding_index=np.searchsorted(kept, ids),
        never_predicted=padding | np.isin(np.array(symbols, dtype=object), _NEVER_PREDICTED),
        mask_index=int(np.searchsorted(kept, piece_ids[MASK_PIECE])),
        pieces=tuple(piece_of[piece] for piece in kept.tolist()),
        num_pieces=len(piece_ids),
    )


def check_special_pieces(piece_ids: Mapping[str, int]) -> None:
    """:raises DataError: if the tokenizer lacks one of BERT's special tokens."""
    missing = sorted({*SPECIAL_PIECES.values(), MASK_PIECE} - set(piece_ids))
    if missing:
        raise DataError(
            f"the teacher's tokenizer must have the special tokens of BERT, but lacks {', '.join(missing)}. "
            "Use the tokenizer that came with the pretrained BERT."
        )


def first_difference(
    vocabulary: TeacherVocabulary, piece_ids: Mapping[str, int]
) -> tuple[str, int, int | None] | None:
    """Return the first WordPiece in use to which another tokenizer's vocabulary gives another id.

    Piece, its id here, its id there (None if it has none); None if they agree.
    """
    for piece, ours in zip(vocabulary.pieces, vocabulary.piece_ids.tolist(), strict=True):
        if piece_ids.get(piece) != ours:
            return piece, ours, piece_ids.get(piece)
    return None


def dictionary_hash(symbols: Sequence[str]) -> str:
    """Return a hash of the symbols in their order: equal if and only if ids mean the same."""
    digest = hashlib.sha256()
    for symbol in symbols:
        digest.update(symbol.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
