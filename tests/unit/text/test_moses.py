"""Moses tokens and text again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.text.moses import MosesText, tokenize_lines, without_control_characters


@pytest.mark.parametrize(
    ("lang", "raw", "tokens"),
    [
        ("en", 'He said: "It\'s 5% of A&B <b>"', 'He said : " It \'s 5 % of A & B < b > "'),
        ("en", "a T-shirt, well-known", "a T-shirt , well-known"),
        ("en", "a literal &apos; entity", "a literal & apos ; entity"),
        ("de", "„Straße“ – z.B. Äpfel…", '" Straße " - z.B. Äpfel ...'),
        ("src", "unknown code, it's fine.", "unknown code , it ' s fine ."),
        ("en", "tab\tNUL\x00 sep\u2028line\x85end\x7f", "tab NUL sep line end"),
        ("en", " \t\x00\u2029 ", ""),
        ("en", "", ""),
    ],
)
def test_tokens(lang: str, raw: str, tokens: str) -> None:
    assert MosesText(lang).tokenize(raw) == tokens


# Made by tests/make_moses_lines.py: language, raw line, what Moses' own tokenizer.perl gives.
PERL = [
    json.loads(line)
    for line in (Path(__file__).parent / "moses_lines.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize(("lang", "raw", "tokens"), PERL)
def test_hard_lines_as_the_perl_script(lang: str, raw: str, tokens: str) -> None:
    assert MosesText(lang, normalize=False).tokenize(raw) == tokens
    assert tokenize_lines([raw], lang, normalize=False, lowercase=True) == [tokens.lower()]


@pytest.mark.parametrize(("lang", "raw", "tokens"), PERL)
def test_hard_lines_come_back_from_their_tokens(lang: str, raw: str, tokens: str) -> None:
    text = MosesText(lang).detokenize(tokens)
    assert text.replace(" ", "") == "".join(raw.split())
    if tokens.endswith(" .") and not raw.endswith((" .", "\u00a0.")):
        assert text.endswith(raw.split()[-1][-2:])  # the last period is back at its word


@pytest.mark.parametrize(
    ("lang", "raw"),
    [("hi", "क्या आप ज़रूर आएँगे, राम?"), ("ta", "வணக்கம், நீங்கள் எப்படி இருக்கிறீர்கள்?")],
)
def test_indic_words_stay_whole_and_come_back(lang: str, raw: str) -> None:
    moses = MosesText(lang)
    tokens = moses.tokenize(raw)
    assert tokens == raw.replace(",", " ,").replace("?", " ?")
    assert moses.detokenize(tokens) == raw


@given(line=st.text(alphabet=st.sampled_from("aB1.,'’\"-&|<> \u00a0漢ß"), max_size=30))
def test_tokenizing_loses_and_adds_nothing_but_spaces(line: str) -> None:
    for lang in ("de", "en"):
        tokens = MosesText(lang, normalize=False).tokenize(line)
        assert tokens.replace(" ", "") == "".join(line.split())
        assert tokens == " ".join(tokens.split())


def test_punctuation_is_normalised_unless_told_otherwise() -> None:
    raw = "„Ja“ – nein…"
    assert MosesText("de").tokenize(raw) == '" Ja " - nein ...'
    assert MosesText("de", normalize=False).tokenize(raw) == "„ Ja “ – nein …"


def test_lowercase() -> None:
    assert MosesText("de", lowercase=True).tokenize("Große ÄPFEL İ") == "große äpfel i̇"


@pytest.mark.parametrize(
    "text", ['It\'s 5% of "it" really.', "A T-shirt (red) & more!", "AT&T &amp; <b>"]
)
def test_detokenize_undoes_tokenize(text: str) -> None:
    moses = MosesText("en")
    assert moses.detokenize(moses.tokenize(text)).replace(" ", "") == text.replace(" ", "")
    assert moses.detokenize("a man 's hat , red .") == "a man's hat, red."
    assert moses.detokenize("&apos; &#124;") == "&apos; &#124;"


@given(line=st.text(max_size=40))
def test_no_character_is_left_that_ends_a_line(line: str) -> None:
    cleaned = without_control_characters(line)
    assert len(cleaned.splitlines()) <= 1
    assert not [c for c in cleaned if ord(c) < 32 or 127 <= ord(c) < 160]
    printable = [c for c in line if ord(c) >= 32 and not 127 <= ord(c) < 160]
    assert [c for c in cleaned if c != " "] == [c for c in printable if c not in " \u2028\u2029"]


def test_any_number_of_workers_gives_the_same_lines_in_order() -> None:
    lines = [f"Line {i}, it's number {i * i}." for i in range(4100)]
    lines[7] = ""
    alone = tokenize_lines(lines, "en", lowercase=True)
    assert tokenize_lines(lines, "en", lowercase=True, workers=2) == alone
    assert len(alone) == 4100
    assert (alone[7], alone[4000]) == ("", "line 4000 , it 's number 16000000 .")
