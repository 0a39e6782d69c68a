"""From dictionary symbols to the teacher's embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.vocabulary import build_teacher_vocabulary, dictionary_hash, first_difference

PIECES = ["[PAD]", "unused", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "haus", "##es", "unused2"]
PIECE_IDS = {piece: index for index, piece in enumerate(PIECES)}
SYMBOLS = ["<s>", "<pad>", "</s>", "<unk>", "Haus", "haus", "##es", "日", "madeupword0000"]
STANDS_FOR = {"Haus": "haus", "haus": "haus", "##es": "##es"}


def build(piece_ids: dict[str, int] = PIECE_IDS):
    return build_teacher_vocabulary(
        SYMBOLS, lambda symbols: [STANDS_FOR.get(symbol, "[UNK]") for symbol in symbols], piece_ids
    )


def test_every_symbol_reads_the_embedding_of_its_piece() -> None:
    vocabulary = build()
    seen = [PIECES[vocabulary.piece_ids[index]] for index in vocabulary.embedding_index]
    assert seen == ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "haus", "haus", "##es", "[UNK]", "[UNK]"]
    assert PIECES[vocabulary.piece_ids[vocabulary.mask_index]] == "[MASK]"


def test_only_embeddings_in_use_are_kept() -> None:
    assert [PIECES[piece] for piece in build().piece_ids] == [
        p for p in PIECES if not p.startswith("unused")
    ]


def test_specials_that_never_occur_in_a_target_are_never_predicted() -> None:
    never = np.array(SYMBOLS)[build().never_predicted].tolist()
    assert never == ["<s>", "<pad>", "madeupword0000"]


def test_a_tokenizer_without_berts_specials_is_refused() -> None:
    with pytest.raises(DataError) as error:
        build({piece: i for piece, i in PIECE_IDS.items() if piece not in ("[MASK]", "[SEP]")})
    assert str(error.value) == (
        "the teacher's tokenizer must have the special tokens of BERT, but lacks [MASK], [SEP]. "
        "Use the tokenizer that came with the pretrained BERT."
    )


def test_the_hash_depends_on_symbols_and_order() -> None:
    hashes = {
        dictionary_hash(symbols) for symbols in (["a", "b"], ["b", "a"], ["ab"], ["a", "b", "c"])
    }
    assert len(hashes) == 4
    assert dictionary_hash(["a", "b"]) == dictionary_hash(["a", "b"])


def test_pieces_in_use_are_named() -> None:
    vocabulary = build()
    assert list(vocabulary.pieces) == [PIECES[piece] for piece in vocabulary.piece_ids]
    assert vocabulary.num_pieces == len(PIECES)


def test_another_tokenizer_is_known_by_the_ids_of_the_pieces_in_use() -> None:
    vocabulary = build()
    assert first_difference(vocabulary, PIECE_IDS) is None
    more = {**PIECE_IDS, "unused": 99, "new": 100}
    assert first_difference(vocabulary, more) is None
    assert first_difference(vocabulary, {**PIECE_IDS, "haus": 7, "##es": 6}) == ("haus", 6, 7)
    assert first_difference(vocabulary, {"[PAD]": 0}) == ("[UNK]", 2, None)
