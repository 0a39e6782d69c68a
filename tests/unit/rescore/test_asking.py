"""Asking about hypotheses: every token once, in batches that no interruption changes, where there is room."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bertkd_fairseq.dump.teachers import SideLimits
from bertkd_fairseq.errors import DataError
from bertkd_fairseq.rescore import asking
from bertkd_fairseq.rescore.answers import Answers, read_answers
from bertkd_fairseq.rescore.asking import as_asked, ask
from bertkd_fairseq.rescore.nbest import NBest
from bertkd_fairseq.text.lines import write_lines
from tests.unit.rescore.lists import Said, output

SYMBOLS, CPU = 9, torch.device("cpu")


class Dictionary:
    def index(self, symbol: str) -> int:
        return int(symbol) if symbol.isdecimal() else self.unk()

    def eos(self) -> int:
        return 2

    def unk(self) -> int:
        return 3


def distribution(source: np.ndarray, target: np.ndarray, place: int) -> np.ndarray:
    """Log-probabilities that depend on the source and on all other tokens: (V,)."""
    others = [*target[:place], 77, *target[place + 1 :]]
    logits = np.random.default_rng([*source, 99, *others]).normal(size=SYMBOLS)
    return logits - np.log(np.exp(logits).sum())


class Teacher:
    def __init__(self) -> None:
        self.batches: list[int] = []

    def log_probs(self, pairs) -> torch.Tensor:
        self.batches.append(len(pairs))
        rows = [distribution(p.source, p.target, i) for p in pairs for i in range(len(p.target))]
        return torch.from_numpy(np.array(rows)).float()


def nbest_of(folder: Path, sentences: int = 12) -> NBest:
    rng = np.random.default_rng(1)

    def said() -> Said:
        symbols = [str(rng.integers(4, SYMBOLS)) for _ in range(rng.integers(0, 8))]
        return Said(symbols, [-1.0] * (len(symbols) + 1))

    write_lines(folder / "out", output({i: [said(), said()] for i in range(sentences)}))
    return NBest.read(folder / "out", "x")


def setup(nbest: NBest, longest: int = 99):
    sources = [torch.tensor([*range(4, 5 + i % 3), 2]) for i in range(len(nbest.sentences))]
    split = SimpleNamespace(tgt_dict=Dictionary(), src=sources)
    limits = SideLimits(99, longest)
    teachers = SimpleNamespace(
        teachers=[Teacher()],
        weights=[1.0],
        settings=SimpleNamespace(max_tokens=80),
        too_long=lambda source, target: limits.too_long(source, target, cut_sources=True),
    )
    return split, teachers, as_asked(nbest, split, teachers)


def answers_in(folder: Path, num_tokens: int) -> Answers:
    return Answers(folder / "x.npz", {}, num_tokens, force=False, force_name="force")


def test_sums_and_batches(tmp_path: Path) -> None:
    nbest = nbest_of(tmp_path)
    _, teachers, asked = setup(nbest, longest=7)
    answers = answers_in(tmp_path, asked.num_tokens)
    ask(asked, answers, teachers, CPU)
    sums = asked.sums(answers.logprobs)
    assert len(teachers.teachers[0].batches) > 3
    assert 0 < asked.too_long.no_room.sum() < len(sums)
    for pair, no_room, found in zip(asked.pairs, asked.too_long.no_room, sums, strict=True):
        naive = sum(
            distribution(pair.source, pair.target, place)[token]
            for place, token in enumerate(pair.target)
        )
        assert np.isnan(found) if no_room else found == pytest.approx(naive, abs=1e-5)
    np.testing.assert_array_equal(read_answers(tmp_path / "x.npz")[1], answers.logprobs)
    before = len(teachers.teachers[0].batches)
    ask(asked, answers_in(tmp_path, asked.num_tokens), teachers, CPU)
    assert len(teachers.teachers[0].batches) == before


def test_a_killed_process_loses_what_came_after_the_last_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbest = nbest_of(tmp_path)
    _, teachers, asked = setup(nbest)
    monkeypatch.setattr(asking, "SECONDS_BETWEEN_SAVES", 0.0)
    saved = []
    monkeypatch.setattr(
        Answers, "save", lambda self: saved.append(int(np.isfinite(self.logprobs).sum()))
    )
    ask(asked, answers_in(tmp_path, asked.num_tokens), teachers, CPU)
    batches = teachers.teachers[0].batches
    assert len(saved) == len(batches) + 1  # after each, and at the end
    assert saved == sorted(saved)
    assert saved[-1] == asked.num_tokens


def test_answers_that_are_no_numbers(tmp_path: Path) -> None:
    _, teachers, asked = setup(nbest_of(tmp_path))
    teachers.teachers[0].log_probs = lambda pairs: torch.full(
        (sum(len(pair.target) for pair in pairs), SYMBOLS), torch.nan
    )
    with pytest.raises(DataError, match="the teacher's logits must be finite, but some are not"):
        ask(asked, answers_in(tmp_path, asked.num_tokens), teachers, CPU)


def test_unknown_symbols(tmp_path: Path) -> None:
    write_lines(tmp_path / "out", output({0: [Said(["5", "x"], [-1] * 3), Said(["y"], [-1] * 2)]}))
    _, _, asked = setup(NBest.read(tmp_path / "out", "x"))
    assert [pair.target.tolist() for pair in asked.pairs] == [[5, 3, 2], [3, 2]]
    assert (asked.unknown, asked.num_tokens, asked.offsets.tolist()) == (2, 5, [0, 3])
