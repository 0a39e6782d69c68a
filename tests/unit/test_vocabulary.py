"""From dictionary symbols to the teacher's embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.vocabulary import (
    SpecialIds,
    build_teacher_vocabulary,
    dictionary_hash,
    embedding_rows,
    map_symbols,
    match_symbols,
)

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
    seen = [PIECES[vocabulary.row_pieces[index][0]] for index in vocabulary.embedding_index]
    assert seen == ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "haus", "haus", "##es", "[UNK]", "[UNK]"]
    assert PIECES[vocabulary.row_pieces[vocabulary.mask_index][0]] == "[MASK]"


def test_only_embeddings_in_use_are_kept() -> None:
    assert [PIECES[piece] for (piece,) in build().row_pieces] == [
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


SPECIALS = SpecialIds(bos=3, pad=0, eos=4, unk=2, mask=5)
MAPPED = [(), (), (), (), (6,), (6, 7), (), (8,), ()]


def test_every_symbol_of_another_scheme_has_an_embedding_of_its_own() -> None:
    symbols = [*SYMBOLS[:4], "haus", "hauses", "日", "haus@@", "madeupword0000"]
    vocabulary = map_symbols(symbols, MAPPED, (), (), SPECIALS, 9)
    assert vocabulary.row_pieces == ((3,), (0,), (4,), (2,), (6,), (6, 7), (), (8,), (2,), (5,))
    assert vocabulary.embedding_index.tolist() == list(range(9))
    assert vocabulary.mask_index == 9
    assert np.flatnonzero(vocabulary.never_predicted).tolist() == [0, 1, 8]
    assert match_symbols(symbols, MAPPED).examples == {
        "exact": ["haus", "haus@@"],
        "averaged": ["hauses"],
        "unmatched": ["日"],
    }


def test_a_source_dictionary_of_its_own_follows_the_targets() -> None:
    target, source = [*SYMBOLS[:4], "haus"], [*SYMBOLS[:4], "maison", "la"]
    vocabulary = map_symbols(
        target, [(), (), (), (), (6,)], source, [(), (), (), (), (7,), ()], SPECIALS, 9
    )
    assert vocabulary.row_pieces[5:] == ((3,), (0,), (4,), (2,), (7,), (), (5,))
    assert len(vocabulary.embedding_index) == 11
    assert len(vocabulary.never_predicted) == 5


def test_embeddings_are_copies_means_and_draws() -> None:
    pretrained = np.random.default_rng(1).normal(3, 0.5, (5000, 4)).astype(np.float32)
    pretrained[:, 1] = -2 * pretrained[:, 0]  # correlated, which draws must be as well
    pieces = [(7,), (1, 2, 4), *[()] * 4000]
    rows = embedding_rows(pretrained, pieces)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[0], pretrained[7])
    np.testing.assert_allclose(
        rows[1], (pretrained[1] + pretrained[2] + pretrained[4]) / 3, rtol=1e-6
    )
    drawn = rows[2:]
    np.testing.assert_allclose(drawn.mean(0), pretrained.mean(0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(pretrained.T), atol=0.05)
    np.testing.assert_allclose(drawn[:, 1], -2 * drawn[:, 0], atol=0.01)
    assert len(np.unique(drawn, axis=0)) == 4000
    np.testing.assert_array_equal(rows, embedding_rows(pretrained, pieces))
