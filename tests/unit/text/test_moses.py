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
# The script cuts off a decomposed accent, and no detokeniser could put it back.
ACCENT = "\u0301"


@pytest.mark.parametrize(("lang", "raw", "tokens"), PERL)
def test_hard_lines_as_the_perl_script(lang: str, raw: str, tokens: str) -> None:
    tokens = tokens.replace(f" {ACCENT}", ACCENT).replace(f"{ACCENT} s", f"{ACCENT}s")
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


# Language, raw text, its tokens: each comes back exactly.
WRITING = [
    ("ja", "今日は、良い天気ですね。", "今日は 、 良い天気ですね 。"),
    ("ja", "１０時に「東京」（新宿）へ行こう！", "１０時に 「 東京 」 （ 新宿 ） へ行こう ！"),
    ("ja", "彼はNHKを見る。", "彼はNHKを見る 。"),
    ("zh", "你好，世界！《红楼梦》：120回", "你好 ， 世界 ！ 《 红楼梦 》 ： 120回"),
    ("zh_CN", "是吗？", "是吗 ？"),
    ("ko", "안녕하세요, 세계!", "안녕하세요 , 세계 !"),
    ("th", "ที่นี่ ๑๒๓", "ที่นี่ ๑๒๓"),
    ("km", "ខ្ញុំ\u200bស្រឡាញ់\u200bអ្នក។", "ខ្ញុំ\u200bស្រឡាញ់\u200bអ្នក ។"),
    ("my", "မြန်မာ\u200bစာ။", "မြန်မာ\u200bစာ ။"),
    ("bo", "བོད་ཡིག་སྐད།", "བོད་ཡིག་སྐད །"),
    ("ar", "مرحبا، كيف حالك؟", "مرحبا ، كيف حالك ؟"),
    ("ar", "اَلْعَرَبِيَّةُ لُغَةٌ.", "اَلْعَرَبِيَّةُ لُغَةٌ ."),
    ("fa", "می\u200cخواهم بروم.", "می\u200cخواهم بروم ."),
    ("ur", "یہ کیا ہے؟ ٹھیک ہے۔", "یہ کیا ہے ؟ ٹھیک ہے ۔"),
    ("he", "שָׁלוֹם בָּרָ֣א אֱלֹהִ֑ים!", "שָׁלוֹם בָּרָ֣א אֱלֹהִ֑ים !"),
    ("he", "בית־ספר של צה״ל.", "בית־ספר של צה״ל ."),
    ("hi", "राम घर गया।", "राम घर गया ।"),
    ("en", f"a cafe{ACCENT}, open", f"a cafe{ACCENT} , open"),
    (
        "en",
        "ok 👩\u200d👩\u200d👧\u200d👦 👍🏽 🇩🇪 1️⃣ ❤️.",
        "ok 👩\u200d👩\u200d👧\u200d👦 👍🏽 🇩🇪 1️⃣ ❤️ .",
    ),
    ("de", "<2de> Hallo, Welt!", "<2de> Hallo , Welt !"),
    ("en", ">>eng<< <formal> Hello.", ">>eng<< <formal> Hello ."),
    ("zh", "__zh__ 「你好」。", "__zh__ 「 你好 」 。"),
    ("en", "<2en>", "<2en>"),
]


@pytest.mark.parametrize(("lang", "raw", "tokens"), WRITING)
def test_all_writing_comes_back_exactly(lang: str, raw: str, tokens: str) -> None:
    moses = MosesText(lang)
    assert moses.tokenize(raw) == tokens
    assert moses.detokenize(tokens) == raw


TAGS = st.lists(
    st.sampled_from(["<2EN>", "<2zh_Hans>", ">>fra<<", "__de_DE__", "<bt>"]), max_size=3
)
LETTERS = "aB1.,'-<>?_ 漢は、。！１กี่ḫשָ״־؟،ش\u064e\u200c\u200d👩👍🏽🇩🇪\ufe0f\u0301་།"


@given(
    tags=TAGS,
    text=st.text(alphabet=st.sampled_from(LETTERS), max_size=20),
    lang=st.sampled_from(["en", "ja", "he", "th"]),
)
def test_tags_change_nothing_and_are_not_changed(tags: list[str], text: str, lang: str) -> None:
    text = f"x{text}"
    moses = MosesText(lang, lowercase=True)
    tokens = moses.tokenize(text)
    assert moses.tokenize(" ".join([*tags, text])) == " ".join([*tags, *tokens.split()])
    assert moses.detokenize(" ".join([*tags, tokens])) == " ".join(
        [*tags, moses.detokenize(tokens)]
    )


@given(text=st.text(alphabet=st.sampled_from(LETTERS), max_size=30))
def test_text_and_tokens_are_the_same_characters_in_any_language(text: str) -> None:
    for lang in ("en", "ja", "he", "th"):
        moses = MosesText(lang, normalize=False)
        tokens = moses.tokenize(text)
        assert tokens.replace(" ", "") == "".join(text.split())
        assert moses.detokenize(tokens).replace(" ", "") == "".join(text.split())


def test_a_tag_elsewhere_is_text() -> None:
    assert MosesText("en").tokenize("see <2en> here, <b>x") == "see < 2en > here , < b > x"
    assert MosesText("en").tokenize("<2en>Hello") == "< 2en > Hello"


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
