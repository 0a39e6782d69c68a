"""How target languages are cut, with and without what their tokenisers need."""

from __future__ import annotations

import builtins
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import sacrebleu.utils
from sacrebleu.metrics import BLEU
from sacrebleu.tokenizers import tokenizer_ja_mecab, tokenizer_ko_mecab, tokenizer_spm

from bertkd_fairseq.analysis.compare.target import Target, target_of, tokenizer_problems


@pytest.fixture
def no_mecab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_ja_mecab, "MeCab", None)
    monkeypatch.setattr(tokenizer_ko_mecab, "MeCab", None)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    def urlopen(url: str) -> None:
        raise OSError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    for module in (sacrebleu.utils, tokenizer_spm):
        monkeypatch.setattr(module, "SACREBLEU_DIR", str(tmp_path))
    return tmp_path / "models"


def test_by_default_the_language_tells() -> None:
    assert target_of("de", None, False) == Target("de", "13a", "Moses words")
    no_words = "There is no tok BLEU, and lengths are in characters, because {} has no spaces between words."
    for lang, tokenizer in (("zh_CN", "zh"), ("th", "char")):
        target = target_of(lang, None, False)
        assert target == Target(lang, tokenizer, "characters", (no_words.format(lang),))
        assert not target.has_words
    assert target_of("zh", "char", True) == Target("zh", "char", "words")
    assert target_of("de", "intl", False).tokenizer == "intl"


@pytest.mark.usefixtures("no_mecab")
def test_characters_where_the_tokenizer_is_not_installed(caplog: pytest.LogCaptureFixture) -> None:
    note = (
        "BLEU counts characters, because sacreBLEU's {}-mecab isn't installed. "
        "To install it: pip install 'sacrebleu[{}]'"
    )
    for lang, lengths in (("ja", "characters"), ("ko", "Moses words")):
        target = target_of(lang, None, False)
        assert (target.tokenizer, target.lengths) == ("char", lengths)
        assert target.notes[0] == caplog.messages[-1] == note.format(lang, lang)


@pytest.mark.usefixtures("no_mecab")
def test_a_tokenizer_that_is_not_installed_is_a_problem_if_it_was_asked_for() -> None:
    assert tokenizer_problems("--tokenize", "ja-mecab") == [
        "`--tokenize` must be a tokeniser that can be used here, but is ja-mecab instead. "
        "To install it: pip install 'sacrebleu[ja]'"
    ]
    assert tokenizer_problems("--tokenize", None) == []


def test_unknown_tokenizer() -> None:
    [problem] = tokenizer_problems("--tokenize", "14a")
    assert problem == (
        f"`--tokenize` must be one of {', '.join(BLEU.TOKENIZERS)}, but is '14a' instead."
    )


def test_all_tokenizers_that_need_nothing_are_fine() -> None:
    for tokenizer in ("13a", "zh", "char", "intl", "none"):
        assert tokenizer_problems("--tokenize", tokenizer) == []


def test_a_model_that_cannot_be_downloaded(offline: Path) -> None:
    pytest.importorskip("sentencepiece")
    url = tokenizer_spm.SPM_MODELS["flores200"]["url"]
    assert tokenizer_problems("--tokenize", "flores200") == [
        "`--tokenize` must be a tokeniser that can be used here, but is flores200 instead. Its model can't be "
        f"downloaded (no network). Download {url} elsewhere and save it as {offline}/flores200sacrebleuspm"
    ]


def test_a_model_that_was_put_there_by_hand(offline: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    offline.mkdir()
    lines = iter(["a b c d", "b c d e f", "c d e f g"] * 9)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_prefix=str(offline / "x"), vocab_size=12
    )
    (offline / "x.model").rename(offline / "flores200sacrebleuspm")
    assert tokenizer_problems("--tokenize", "flores200") == []


def test_sentencepiece_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "sentencepiece":
            raise ImportError(name)
        return original(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert tokenizer_problems("--tokenize", "flores200") == [
        "`--tokenize` must be a tokeniser that can be used here, but is flores200 instead. "
        "It needs sentencepiece: pip install sentencepiece"
    ]
