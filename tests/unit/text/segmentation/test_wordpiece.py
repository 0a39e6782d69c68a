"""Segmentation: lossless for any line; each symbol stands for the piece that BERT would read."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.text.facts import Coverage
from bertkd_fairseq.text.segmentation.wordpiece import (
    CONTINUATION,
    JOINER,
    WordPieceSegmenter,
    undo_segmentation,
)

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäöü"
WORDS = ["un", "shirt", "T", "Shirt", "haus", "Haus", "-", "#", "'", ".", "<", ">", "[", "]"]
PIECES = ["##glaub", "##lich", "##s", "##haus", "\u1112", "##\u1161", "##\u11ab"]  # jamo of 한
MARKED = [f"##{letter}" for letter in LETTERS]
VOCABULARY = SPECIALS + list(dict.fromkeys([*WORDS, *PIECES, *LETTERS, *MARKED]))


def make_tokenizer(folder: Path, *, lowercase: bool) -> Path:
    """Write a BERT-like ``tokenizer.json`` with the vocabulary above, digits unknown to it."""
    ids = {piece: i for i, piece in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def cased(tmp_path_factory: pytest.TempPathFactory) -> WordPieceSegmenter:
    return WordPieceSegmenter(make_tokenizer(tmp_path_factory.mktemp("cased"), lowercase=False))


@pytest.fixture(scope="module")
def uncased(tmp_path_factory: pytest.TempPathFactory) -> WordPieceSegmenter:
    return WordPieceSegmenter(make_tokenizer(tmp_path_factory.mktemp("uncased"), lowercase=True))


# Letters, marks, reserved symbols, characters that BERT drops, decomposes or does not know.
_fragments = st.sampled_from(
    [*VOCABULARY, "##", "￭", "<s>", "</s>", "<pad>", "<unk>", "madeupword0000", "madeupword",
     "\u0301", "\u200b", "\xad", "\x00", "한", "漢字", "İ", "ß", "ﬁ", "😀", "1", "x" * 101]
)  # fmt: skip
_spaces = st.sampled_from(["", "", " ", "  ", "\t", "\xa0", "\x85", "\u2028", "\x1c"])
odd_lines = st.lists(st.one_of(_fragments, _spaces, st.text(max_size=3)), max_size=12).map("".join)


@given(line=odd_lines)
@example(line="##a ￭a ## ￭ ### ￭￭ ##￭ ￭##a")
@example(line="<s> madeupword0001 <unk> </s> <pad>")
@example(line="\u200b \x00 \u0301a a\u0301")
def test_undo_gives_back_every_line(
    cased: WordPieceSegmenter, uncased: WordPieceSegmenter, line: str
) -> None:
    for segmenter in (cased, uncased):
        segmented = segmenter.segment(line)
        assert undo_segmentation(segmented) == " ".join(line.split())
        symbols = re.sub(r"\s+", " ", segmented).strip().split()  # as fairseq cuts a line
        assert symbols == (segmented.split(" ") if segmented else [])
        reserved = re.compile(r"<s>|<pad>|</s>|<unk>|madeupword\d+")
        assert not [symbol for symbol in symbols if reserved.fullmatch(symbol)]


@given(line=st.text(alphabet=LETTERS + "-#'.<>[] 1漢", max_size=30))
def test_symbols_stand_for_the_pieces_that_bert_reads(cased: WordPieceSegmenter, line: str) -> None:
    wanted = cased.tokenizer.encode(line, add_special_tokens=False).tokens
    assert cased.pieces(cased.segment(line).split()) == wanted


@pytest.mark.parametrize(
    ("word", "symbols", "pieces"),
    [
        ("unglaublich", "un ##glaub ##lich", "un ##glaub ##lich"),
        ("T-Shirts", "T ￭- ￭Shirt ##s", "T - Shirt ##s"),
        ("shirt", "shirt", "shirt"),
        ("##s", "# ￭# ￭s", "# # s"),
        ("￭s", "￭ ##s", "[UNK] ##s"),
        ("￭", "￭", "[UNK]"),
        ("<s>", "< ￭s ￭>", "< s >"),
        ("madeupword1", "m ##adeupword1", "m [UNK]"),
        ("2018", "2018", "[UNK]"),
        ("[MASK]", "[ ￭M ##A ##S ##K ￭]", "[ M ##A ##S ##K ]"),
        ("a\u200bs", "a\u200b ##s", "a ##s"),
        ("\u200b", "\u200b", "[UNK]"),
        ("s" * 101, "s" * 101, "[UNK]"),
    ],
)
def test_cuts_of_a_cased_tokenizer(
    cased: WordPieceSegmenter, word: str, symbols: str, pieces: str
) -> None:
    assert cased.segment(word) == symbols
    assert [cased.piece(symbol) for symbol in symbols.split()] == pieces.split()


def test_an_uncased_tokenizer_keeps_the_characters(uncased: WordPieceSegmenter) -> None:
    assert uncased.segment("Haus HAUSHAUS Äs") == "Haus HAUS ##HAUS Ä ##s"
    assert uncased.pieces(["Haus", "HAUS", "##HAUS", "Ä", "￭Haus"]) == [
        *("haus", "haus", "##haus", "a", "haus")
    ]


def test_pieces_of_one_and_the_same_character_stay_together(uncased: WordPieceSegmenter) -> None:
    encoding = uncased.tokenizer.encode("한s")
    assert encoding.tokens == ["\u1112", "##\u1161", "##\u11ab", "##s"]
    assert uncased.segment("한s 한") == "한 ##s 한"
    assert uncased.pieces(["한", "##s"]) == ["[UNK]", "##s"]


def test_lines_alone_and_in_a_batch_are_cut_alike(cased: WordPieceSegmenter) -> None:
    lines = ["T-Shirts", "", "unglaublich ungut", "  T-Shirts  "]
    fresh = WordPieceSegmenter.__new__(WordPieceSegmenter)
    fresh.__dict__.update(cased.__dict__, _segmented={})
    assert fresh.segment_lines(lines) == [cased.segment(line) for line in lines]


def test_undo_bears_what_a_model_may_write() -> None:
    assert undo_segmentation("##lich ￭- un ##gut ## ￭ ##x ￭y") == "lich- ungut ## ￭xy"
    assert undo_segmentation("") == ""
    assert (CONTINUATION, JOINER) == ("##", "￭")


def test_unknown_symbols_and_coverage(uncased: WordPieceSegmenter) -> None:
    assert uncased.unknown_symbols(["un", "2018", "##7", "##s", "漢"]) == ["2018", "##7", "漢"]
    counts = Counter({"Haus": 2, "haus": 3, "2018": 4, "7": 1, "un": 5})
    assert uncased.coverage(counts) == Coverage(
        types=5, tokens=15, unknown_types=2, unknown_tokens=5, shared_types=2
    )


def test_no_tokenizer_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        WordPieceSegmenter(tmp_path)
    assert str(caught.value).startswith(
        f"`{tmp_path / 'tokenizer.json'}` must be a fast tokenizer's file, but reading it gave: "
    )


def test_another_kind_of_tokenizer_is_a_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    Tokenizer(models.BPE()).save(str(file))
    with pytest.raises(DataError) as caught:
        WordPieceSegmenter(file)
    assert str(caught.value) == (
        f"`{file}` must hold a WordPiece model, but holds BPE instead. "
        "Choose a BERT-like teacher with a WordPiece tokenizer."
    )
