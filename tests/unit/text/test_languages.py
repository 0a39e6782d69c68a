"""What language codes say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from bertkd_fairseq.text.languages import has_spaces, length, sacrebleu_tokenizer


@pytest.mark.parametrize(
    ("codes", "spaces", "tokenizer"),
    [
        ("en de src vi vie zhx", True, "13a"),
        ("zh ZH zh-CN zh_CN zho_Hans yue", False, "zh"),
        ("ja jpn_Jpan ja_XX", False, "ja-mecab"),
        ("th tha_Thai lo km my bo dz", False, "char"),
    ],
)
def test_codes(codes: str, spaces: bool, tokenizer: str) -> None:
    for code in codes.split():
        assert (has_spaces(code), sacrebleu_tokenizer(code)) == (spaces, tokenizer), code


def test_korean_has_spaces_and_a_tokenizer_of_its_own() -> None:
    assert has_spaces("ko") and sacrebleu_tokenizer("kor_Hang") == "ko-mecab"


def test_sacrebleu_chooses_the_same_where_it_chooses_at_all() -> None:
    assert {lang: sacrebleu_tokenizer(lang) for lang in BLEU._TOKENIZER_MAP} == BLEU._TOKENIZER_MAP
    assert sacrebleu_tokenizer("de") == BLEU.TOKENIZER_DEFAULT


@given(st.text(alphabet="a漢ก้\u3000 \u00a0", max_size=20))
def test_length(line: str) -> None:
    assert length(line, True) == len(line.split())
    assert length(line, False) == len([c for c in line if not c.isspace()])
