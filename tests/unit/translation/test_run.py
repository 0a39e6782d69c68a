"""Lines to batches and back, whatever the engine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.translation import run
from bertkd_fairseq.translation.config import TranslateConfig

lengths = st.lists(st.integers(0, 6), max_size=40)


class Backwards:
    """Says every sentence backwards, and remembers how long the sentences of each batch were."""

    max_source = 6

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def translate(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        self.batches.append([len(sentence) for sentence in sentences])
        return [[*reversed(sentence)] for sentence in sentences]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Backwards:
    made = Backwards()

    @contextmanager
    def make_engine(*_: Any) -> Iterator[Backwards]:
        yield made

    monkeypatch.setattr(run, "make_engine", make_engine)
    return made


@given(lengths, st.integers(1, 30))
def test_batches_hold_every_sentence_with_symbols_once(sizes: list[int], max_tokens: int) -> None:
    sentences = [["x"] * size for size in sizes]
    made = list(run.batches(sentences, max_tokens))
    assert sorted(i for batch in made for i in batch) == [i for i, n in enumerate(sizes) if n]
    for batch in made:
        (length,) = {sizes[i] for i in batch}
        assert len(batch) == 1 or len(batch) * (length + 1) <= max_tokens
    found = [sizes[batch[0]] for batch in made]
    assert found == sorted(found, reverse=True)


def test_no_batch_is_smaller_than_it_must_be() -> None:
    assert list(run.batches([["a", "b"]] * 5, 6)) == [[0, 1], [2, 3], [4]]


def test_lines_keep_their_places(engine: Backwards, data_bin: Path, tmp_path: Path) -> None:
    config = TranslateConfig(path=tmp_path / "x.pt", data_bin=data_bin)
    words = [w for w in (data_bin / "dict.src.txt").read_text("utf-8").split() if w.isalpha()]
    a, b, c = (word for word in words[:3])
    lines = ["", f"{a} {b} {c}", "  \t", c, f"{b} {a}", "", a]
    found = run.translate(config, lines)
    said = [" ".join(reversed(line.split())) for line in lines]
    assert [line.lower() for line in found] == said
    assert engine.batches == [[3], [2], [1, 1]]
    assert run.translate(config, []) == []


def test_every_line_that_is_too_long_is_named(engine: Backwards, data_bin: Path) -> None:
    config = TranslateConfig(path=Path("x.pt"), data_bin=data_bin)
    message = (
        "2 problems:\n  1. `line 2` must be at most 5 symbols, but is 6 instead. Split it into sentences.\n"
        "  2. `line 4` must be at most 5 symbols, but is 7 instead. Split it into sentences."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        run.translate(config, ["? ? ? ? ?", "? ? ? ? ? ?", "", "? ? ? ? ? ? ?"])
    assert engine.batches == []
