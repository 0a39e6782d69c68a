"""From the dictionaries of data-bins to the pieces of pretrained models."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertTokenizerFast

from bertkd_fairseq.errors import BertKDError
from bertkd_fairseq.files import hash_file
from bertkd_fairseq.text import teacher_vocabulary
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.teacher_vocabulary import Side, SymbolReader, opening_shares
from bertkd_fairseq.vocabulary import TeacherVocabulary

SPECIAL_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL_PIECES, "dog", "##s", "un", "##happy", "happy", "d", "##o", "##g"]
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
SYMBOLS = [*SPECIALS, "dog@@", "s", "un@@", "happy", "dogs", "日"]
IDS = {symbol: index for index, symbol in enumerate(SYMBOLS)}
LINES = ["dog@@ s un@@ happy", "happy dogs dog@@ s", "s un@@ happy 日"]


def save_tokenizer(folder: Path, pieces: Iterable[str] = PIECES) -> Path:
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    BertTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


def side(symbols: list[str] = SYMBOLS, lines: Iterable[str] = LINES) -> Side:
    ids = {symbol: index for index, symbol in enumerate(symbols)}
    sentences = [np.array([*(ids[s] for s in line.split()), 2]) for line in lines]
    return Side("dict.en.txt", symbols, lambda: sentences)


def foreign(tmp_path: Path) -> DataBin:
    return DataBin(tmp_path, {"source_lang": "de", "target_lang": "en"})


def pieces_by_symbol(vocabulary: TeacherVocabulary, symbols: list[str]) -> dict[str, list[str]]:
    rows = (vocabulary.row_pieces[index] for index in vocabulary.embedding_index)
    return {s: [PIECES[p] for p in row] for s, row in zip(symbols, rows, strict=False)}


def test_symbols_of_subword_nmt_are_read_as_they_stand_in_the_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bert = save_tokenizer(tmp_path / "bert")
    caplog.set_level("INFO")
    reader = SymbolReader(data_bin=foreign(tmp_path), target=side(), source=None)
    vocabulary = reader.vocabulary(str(bert), len(PIECES))
    assert pieces_by_symbol(vocabulary, SYMBOLS) == {
        "<s>": ["[CLS]"],
        "<pad>": ["[PAD]"],
        "</s>": ["[SEP]"],
        "<unk>": ["[UNK]"],
        "dog@@": ["dog"],
        "s": ["##s"],  # twice within a word, once a word by itself
        "un@@": ["un"],
        "happy": ["##happy"],  # once a word by itself, twice not
        "dogs": ["dog", "##s"],
        "日": [],
    }
    assert caplog.messages == [
        f"dict.en.txt: bpe symbols, in pieces of {bert}: 4 one piece (dog@@ s un@@ happy ...); "
        "1 the mean of several (dogs ...); 1 no piece (日 ...)"
    ]


def test_two_dictionaries_have_embeddings_one_after_the_other(tmp_path: Path) -> None:
    bert = save_tokenizer(tmp_path / "bert")
    source = [*SPECIALS, "un@@", "o"]
    reader = SymbolReader(
        data_bin=foreign(tmp_path), target=side(), source=side(source, ["un@@ o"])
    )
    vocabulary = reader.vocabulary(str(bert), len(PIECES))
    names = [[PIECES[p] for p in row] for row in vocabulary.row_pieces[len(SYMBOLS) :]]
    wanted = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "un", "##o", "[MASK]"]
    assert names == [[name] for name in wanted]
    assert len(vocabulary.never_predicted) == len(SYMBOLS)


def wordpiece_data_bin(tmp_path: Path, pieces: Iterable[str] = PIECES) -> DataBin:
    folder = tmp_path / "data-bin"
    save_tokenizer(folder / "tokenizer", pieces)
    sha256 = hash_file(folder / "tokenizer" / "tokenizer.json")
    settings = {"source_lang": "de", "target_lang": "en", "tokenizer": {"sha256": sha256}}
    return DataBin(folder, settings)


WORDPIECES = [*SPECIALS, "dog", "##s", "un", "##happy", "happy"]


def test_the_tokenizer_that_cut_the_text_decides_where_the_model_has_it_too(tmp_path: Path) -> None:
    bert = save_tokenizer(tmp_path / "bert", [*PIECES, "more"])
    reader = SymbolReader(
        data_bin=wordpiece_data_bin(tmp_path), target=side(WORDPIECES, []), source=None
    )
    vocabulary = reader.vocabulary(str(bert), len(PIECES) + 1)
    # Pieces in use, by id: one embedding for each.
    assert vocabulary.row_pieces == tuple((i,) for i in range(10))


def test_another_models_pieces_are_found_by_their_text(tmp_path: Path) -> None:
    bert = save_tokenizer(tmp_path / "bert", reversed(PIECES))
    reader = SymbolReader(
        data_bin=wordpiece_data_bin(tmp_path), target=side(WORDPIECES, []), source=None
    )
    vocabulary = reader.vocabulary(str(bert), len(PIECES))
    backwards = {i: piece for i, piece in enumerate(reversed(PIECES))}
    names = [[backwards[p] for p in row] for row in vocabulary.row_pieces[4:]]
    assert names == [["dog"], ["##s"], ["un"], ["##happy"], ["happy"], ["[MASK]"]]


@pytest.mark.parametrize(
    ("found", "fits"), [(13, True), (13 + 127, True), (12, False), (141, False)]
)
def test_without_a_tokenizer_the_size_has_to_fit(
    found: int, fits: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Some models pad their embeddings; fewer than pieces there can't be."""
    (tmp_path / "bare").mkdir()
    bare = str(tmp_path / "bare")
    reader = SymbolReader(
        data_bin=wordpiece_data_bin(tmp_path), target=side(WORDPIECES, []), source=None
    )
    if fits:
        reader.vocabulary(bare, found)
        message = f"{bare} has no tokenizer: only its size could be compared with the data-bin's"
        assert caplog.messages == [message]
    else:
        with pytest.raises(BertKDError) as error:
            reader.vocabulary(bare, found)
        assert str(error.value) == (
            "`--bert-model` must be a model with the 13 pieces of the data-bin's tokenizer, but is "
            f"{bare} with {found} embeddings instead. Put this model's own tokenizer into its folder."
        )


def test_a_model_with_fewer_embeddings_than_its_tokenizer_has_pieces(tmp_path: Path) -> None:
    bert = save_tokenizer(tmp_path / "bert")
    reader = SymbolReader(data_bin=foreign(tmp_path), target=side(), source=None)
    with pytest.raises(BertKDError) as error:
        reader.vocabulary(str(bert), 12)
    assert str(error.value) == (
        f"`--bert-model` must be a model with the 13 pieces of its tokenizer, but is {bert} with 12 "
        "embeddings instead."
    )


def test_a_text_that_the_model_has_no_pieces_for(tmp_path: Path) -> None:
    bert = save_tokenizer(tmp_path / "bert")
    japanese = [*SPECIALS, "犬", "猫", "dog"]
    reader = SymbolReader(data_bin=foreign(tmp_path), target=side(japanese, []), source=None)
    with pytest.raises(BertKDError) as error:
        reader.vocabulary(str(bert), len(PIECES))
    assert str(error.value) == (
        "`--bert-model` must be a model whose tokenizer has pieces for the symbols of dict.en.txt (words), but is "
        f"{bert}, which has none for 67% of them, instead. Choose a model of that language, or name the scheme with "
        "--subword."
    )


def test_a_data_bin_without_tokenizer_needs_the_models(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    reader = SymbolReader(data_bin=foreign(tmp_path), target=side(), source=None)
    with pytest.raises(BertKDError, match=r"must be a folder with tokenizer\.json or vocab\.txt"):
        reader.vocabulary(str(tmp_path / "bare"), 13)


def test_transformers_makes_up_a_tokenizer_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), "utf-8")
    (tmp_path / "tokenizer_config.json").write_text("{}", "utf-8")
    assert teacher_vocabulary.pretrained_tokenizer(str(tmp_path)) is None


@given(st.lists(st.lists(st.integers(4, len(SYMBOLS) - 1), max_size=8), max_size=5))
def test_opening_shares_against_a_count_word_by_word(lines: list[list[int]]) -> None:
    seen, opening = dict.fromkeys(range(len(SYMBOLS)), 0), dict.fromkeys(range(len(SYMBOLS)), 0)
    for line in lines:
        for place, index in enumerate(line):
            seen[index] += 1
            opening[index] += place == 0 or not SYMBOLS[line[place - 1]].endswith("@@")
    wanted = [opening[i] / seen[i] if seen[i] else 1.0 for i in range(len(SYMBOLS))]
    shares = opening_shares(SYMBOLS, (np.array(line, dtype=np.int64) for line in lines))
    assert shares.tolist() == wanted
