"""Pretrained models: which are taken, what their tokenizers have to be, and that none runs code of its own."""

from __future__ import annotations

import numpy as np
import pytest

from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.models import pretrained
from bertkd_fairseq.vocabulary import TeacherVocabulary

SYMBOLS = 30


def make_vocabulary(num_pieces: int) -> TeacherVocabulary:
    """One in which every piece is in use."""
    ids = np.arange(num_pieces)
    never = np.zeros(num_pieces, dtype=bool)
    pieces = tuple(f"piece{piece}" for piece in ids)
    return TeacherVocabulary(ids, ids, never, 0, pieces, num_pieces)


@pytest.mark.parametrize(
    ("num_pieces", "fits"), [(SYMBOLS, True), (SYMBOLS - 8, True), (SYMBOLS + 1, False)]
)
def test_without_a_tokenizer_the_size_has_to_fit(
    num_pieces: int, fits: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some models pad their embeddings; fewer than pieces there can't be."""
    monkeypatch.setattr(pretrained, "_pretrained_vocabulary", lambda name: None)
    check = pretrained.check_same_tokenizer
    if fits:
        check(SYMBOLS, make_vocabulary(num_pieces), "bert")
        assert caplog.messages == [
            "bert has no tokenizer: only its size could be compared with the data-bin's"
        ]
    else:
        with pytest.raises(ConfigurationError, match=r"but is bert with 30 embeddings instead\."):
            check(SYMBOLS, make_vocabulary(num_pieces), "bert")


def test_more_embeddings_than_padding_are_another_berts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_pretrained_vocabulary", lambda name: None)
    monkeypatch.setattr(pretrained, "_LARGEST_PADDING", 8)
    with pytest.raises(ConfigurationError, match=r"must be a BERT with the 22 pieces"):
        pretrained.check_same_tokenizer(SYMBOLS, make_vocabulary(22), "bert")


def test_a_tokenizer_tells_more_than_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = make_vocabulary(22)
    ids = {piece: row for row, piece in enumerate(vocabulary.pieces)}
    monkeypatch.setattr(pretrained, "_pretrained_vocabulary", lambda name: ids)
    pretrained.check_same_tokenizer(SYMBOLS, vocabulary, "bert")
    ids["piece7"], ids["piece9"] = 9, 7
    with pytest.raises(ConfigurationError, match=r"whose piece 'piece7' has id 7, but is bert, "):
        pretrained.check_same_tokenizer(SYMBOLS, vocabulary, "bert")
