"""What dictionary symbols of each subword scheme write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.errors import ConfigurationError, DataError
from bertkd_fairseq.text.segmentation.schemes import (
    SCHEMES,
    Surface,
    detect_scheme,
    from_byte_alphabet,
    make_scheme,
    scheme_problems,
    to_byte_alphabet,
    word_marks,
)

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
DICTIONARIES = {
    "wordpiece": ["un", "##happy", "dogs", "\uffed-"],
    "bpe": ["un@@", "happy", "dogs", "@@"],
    "sentencepiece": ["\u2581un", "happy", "\u2581dogs", "\u2581"],
    "gpt2": ["403", "34191", "6844"],
    "hf_byte_bpe": ["un", "happy", "\u0120dogs"],
    "words": ["unhappy", "dogs", "@@", "##"],
}


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_is_read_off_the_dictionary(name: str) -> None:
    symbols = [*SPECIALS, *DICTIONARIES[name], "madeupword0000"]
    assert detect_scheme(symbols) == name
    assert scheme_problems("--subword", name, symbols, "dict.de.txt") == []


@pytest.mark.parametrize(
    ("name", "text", "starts"),
    [
        ("wordpiece", "un ##happy dogs </s>", "1011"),
        ("bpe", "un@@ happy dogs </s>", "1011"),
        ("sentencepiece", "\u2581un happy \u2581dogs </s>", "1011"),
        ("hf_byte_bpe", "un happy \u0120dogs </s>", "1011"),
        ("words", "unhappy dogs <unk> </s>", "1111"),
        ("sentencepiece", "happy <unk> </s>", "111"),
    ],
)
def test_words_start_where_the_scheme_s_marks_say(name: str, text: str, starts: str) -> None:
    symbols = [*SPECIALS, *DICTIONARIES[name]]
    ids = np.array([symbols.index(symbol) for symbol in text.split()])
    found = word_marks(symbols, make_scheme(name)).starts(ids)
    assert "".join(map(str, found.astype(int))) == starts


def test_one_marked_word_in_a_hundred_makes_no_scheme() -> None:
    words = [f"w{i}" for i in range(200)]
    assert detect_scheme([*words, "@@x", "x@@"]) == "words"
    assert detect_scheme([*words, *(f"x{i}@@" for i in range(10))]) == "bpe"


def test_another_scheme_than_the_dictionarys_is_a_mistake() -> None:
    assert scheme_problems("--subword", "sentencepiece", DICTIONARIES["bpe"], "dict.de.txt") == [
        "`--subword` must be bpe, as the symbols of dict.de.txt show, but is sentencepiece instead. "
        "Leave it out: the scheme is recognised from the dictionary."
    ]


@pytest.mark.parametrize(
    ("name", "symbol", "surface"),
    [
        ("wordpiece", "haus", ("haus", True)),
        ("wordpiece", "##es", ("es", False)),
        ("wordpiece", "\uffed-", ("-", False)),
        ("wordpiece", "##", ("##", True)),
        ("bpe", "un@@", ("un", None)),
        ("bpe", "happy", ("happy", None)),
        ("bpe", "@@", ("@@", None)),
        ("sentencepiece", "\u2581dogs", ("dogs", True)),
        ("sentencepiece", "s", ("s", False)),
        ("sentencepiece", "\u2581", ("", True)),
        ("hf_byte_bpe", "\u0120Gr\u00c3\u00bc", ("Grü", True)),
        ("hf_byte_bpe", "\u00c3", ("\udcc3", False)),
        ("words", "dogs", ("dogs", True)),
    ],
)
def test_surfaces(name: str, symbol: str, surface: tuple[str, bool | None]) -> None:
    assert make_scheme(name).surface(symbol) == Surface(*surface)


def test_numbers_of_gpt2_need_its_vocabulary(tmp_path: Path) -> None:
    file = tmp_path / "encoder.json"
    file.write_text(json.dumps({"\u0120dogs": 6844, "un": 403}), encoding="utf-8")
    surface = make_scheme("gpt2", str(file)).surface
    assert surface("6844") == ("dogs", True)
    assert surface("403") == ("un", False)
    assert surface("7") == ("", True)  # not in the vocabulary: no text
    with pytest.raises(ConfigurationError) as missing:
        make_scheme("gpt2", None, "--encoder-json")
    assert str(missing.value) == (
        "`--encoder-json` must be the encoder.json that the text was encoded with, since its symbols are numbers of "
        "GPT-2's vocabulary, but is missing instead."
    )
    file.write_text("[]")
    with pytest.raises(DataError, match="which can't be read"):
        make_scheme("gpt2", str(file))


@given(st.text())
def test_the_byte_alphabet_writes_every_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    written = to_byte_alphabet(text)
    assert from_byte_alphabet(written) == text
    assert len(written) == len(text.encode()) and not any(c.isspace() for c in written)


@given(st.binary(max_size=8))
def test_parts_of_characters_come_back(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert from_byte_alphabet(to_byte_alphabet(text)) == text
