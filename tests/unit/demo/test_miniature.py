"""The miniature language pair and its tiny BERT."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertkd_fairseq.demo.language import lexicon, write_corpus
from bertkd_fairseq.demo.miniature import train_tiny_bert
from bertkd_fairseq.errors import ConfigurationError


def _words(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpus")
    return write_corpus(folder, num_train=2000, num_valid=50, num_test=51, seed=3)


def test_files_have_the_wanted_number_of_lines(corpus: dict[str, Path]) -> None:
    counts = {name: len(_words(path)) for name, path in corpus.items()}
    assert counts == {
        "train.src": 2000, "train.tgt": 2000, "valid.src": 50,
        "valid.tgt": 50, "test.src": 51, "test.tgt": 51,
    }  # fmt: skip


def test_no_source_sentence_occurs_twice_in_any_split(corpus: dict[str, Path]) -> None:
    sources = [tuple(s) for name in corpus if name.endswith("src") for s in _words(corpus[name])]
    assert len(set(sources)) == len(sources)


def test_sentences_and_word_types(corpus: dict[str, Path]) -> None:
    source, target = _words(corpus["train.src"]), _words(corpus["train.tgt"])
    assert all(4 <= len(words) <= 15 for words in source + target)
    assert 60 < len({word for words in source for word in words}) < 120
    assert 150 < len({word for words in target for word in words}) < 400
    text = corpus["train.src"].read_text("utf-8")
    assert "-" in text and any(c in text for c in "äöü") and any(c.isupper() for c in text)


def test_article_agrees_with_the_noun_that_follows(corpus: dict[str, Path]) -> None:
    """Naive reading of the target: the gender vowel of each article is that of the next noun."""
    nouns = {stem + g for _, synonyms in lexicon().nouns for g, stem in synonyms.items()}
    articles = {stem + g for stem in ("l", "un", "est") for g in "aoi"}
    checked = 0
    for words in _words(corpus["train.tgt"]):
        for i, word in enumerate(words):
            if word in articles:
                noun = next(w for w in words[i + 1 :] if w in nouns)
                assert noun[-1] == word[-1]
                checked += 1
    assert checked > 2000


def test_a_third_of_the_adverbs_take_their_other_form(corpus: dict[str, Path]) -> None:
    usual = {target for _, target in lexicon().adverbs}
    other = {target[::-1] for target in usual}
    words = [word for words in _words(corpus["train.tgt"]) for word in words]
    counts = [sum(word in forms for word in words) for forms in (usual, other)]
    share = counts[1] / sum(counts)
    assert abs(share - 0.35) < 4 * (0.35 * 0.65 / sum(counts)) ** 0.5


def test_the_source_leaves_gender_and_style_open(corpus: dict[str, Path]) -> None:
    """Without uncertainty given the source, there would be nothing for the teacher to know."""
    pairs = list(zip(_words(corpus["train.src"]), _words(corpus["train.tgt"]), strict=True))
    hidden = sum("ser" in t and "bitte" not in s for s, t in pairs)
    assert all("ser" in t for s, t in pairs if "bitte" in s)
    assert all((t[0] == "ser") == ("voi" in t) for _, t in pairs)
    assert 0.1 < hidden / len(pairs) < 0.3
    first = [t for s, t in pairs if s[0] == "der" and t[0] != "ser"]
    assert len({t[0] for t in first}) == 3


def test_corpus_is_deterministic_in_the_seed(tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        files = write_corpus(tmp_path / name, num_train=20, num_valid=2, num_test=2, seed=seed)
        texts.append([path.read_text("utf-8") for path in files.values()])
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_count_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        write_corpus(tmp_path, num_train=5, num_valid=0, num_test=5)
    assert str(caught.value) == "`num_valid` must be at least 1, but is 0 instead."


def test_hidden_size_must_fit_the_heads(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        train_tiny_bert([], tmp_path, hidden=48)
    assert str(caught.value) == "`hidden` must be a positive multiple of 32, but is 48 instead."


def test_tiny_bert_learns_and_loads(
    corpus: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bertkd_fairseq.demo.pretraining")
    files = [corpus["train.src"], corpus["train.tgt"]]
    train_tiny_bert(
        files, tmp_path, vocab_size=300, hidden=32, layers=1, steps=400, pretraining_pairs=500
    )
    losses = [r.args[2] for r in caplog.records if isinstance(r.args, tuple)]
    assert len(losses) == 4 and losses[3] < losses[0]

    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert tokenizer.is_fast and len(tokenizer) == model.config.vocab_size == 300
    line = corpus["train.src"].read_text("utf-8").splitlines()[0]
    tokens = tokenizer.tokenize(line)
    assert "[UNK]" not in tokens and len(tokens) > len(line.split())
    ids = tokenizer(line, line)
    assert ids["token_type_ids"][0] == 0 and ids["token_type_ids"][-1] == 1
