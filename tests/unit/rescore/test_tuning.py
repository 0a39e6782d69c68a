"""Tuned weights against brute force with sacreBLEU's own corpus score, and the grid's order."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
import sacrebleu

from bertkd_fairseq.rescore.bleu import ListBLEU
from bertkd_fairseq.rescore.nbest import NBest
from bertkd_fairseq.rescore.scoring import Lists, Mix
from bertkd_fairseq.rescore.tuning import GRID, Grid, tune
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.lines import write_lines
from tests.unit.rescore.lists import Said, output

WORDS = ["the", "a", "man", "dog", "runs", "sits", "on", "under", "street", "bench", "with", "red"]


def wrong(said: Said, reference: str) -> float:
    """How many words are others: what a teacher that knows something finds improbable."""
    pairs = zip_longest(said.symbols, reference.split())
    return 2.0 * sum(one != other for one, other in pairs)


def test_brute_force(tmp_path) -> None:
    """Lists of different sizes, sentences in the order of their length, every point of a grid by hand."""
    rng = np.random.default_rng(5)
    reference = [" ".join(rng.choice(WORDS, size=rng.integers(4, 9))) for _ in range(20)]

    def change(line: str) -> Said:
        words = [w if rng.random() < 0.7 else str(rng.choice(WORDS)) for w in line.split()]
        words = words[: rng.integers(3, len(words) + 1)]
        return Said(words, np.round(-rng.random(len(words) + 1) * 3, 4).tolist())

    numbers = rng.permutation(20).tolist()
    lists = {i: [change(reference[i]) for _ in range(rng.integers(1, 5))] for i in numbers}
    write_lines(tmp_path / "out", output(lists))
    write_lines(tmp_path / "references" / "valid.en", reference)
    facts = {"source_lang": "de", "target_lang": "en", "lowercase": False, "tokenized": True}
    nbest = NBest.read(tmp_path / "out", "x")
    bleu = ListBLEU(nbest, DataBin(tmp_path, facts), "valid")
    teacher = -np.array([wrong(said, reference[i]) for i in lists for said in lists[i]])
    made = Lists.of(nbest.sizes, nbest.student(), teacher, nbest.lengths())
    grid = Grid((0.0, 0.4, 1.3), (-0.5, 0.0, 0.5, 1.0), (0.0, 0.5, 1.0))

    def by_hand(mix: Mix) -> float:
        chosen, each = {}, iter(teacher)
        for number, hypotheses in lists.items():
            scores = []
            for said in hypotheses:
                length = len(said.symbols) + 1
                score = sum(said.positional) * np.log(2) + mix.length_bonus * length
                scores.append((score + mix.weight * next(each)) / length**mix.lenpen)
            chosen[number] = " ".join(hypotheses[int(np.argmax(scores))].symbols)
        text = [chosen[number] for number in range(20)]
        return sacrebleu.corpus_bleu(text, [reference]).score

    scores = {mix: by_hand(mix) for mix in grid.points()}
    assert len(scores) == 36
    for part in (grid, grid.without_teacher()):
        tuned = tune(made, bleu, part)
        best = max(scores[mix] for mix in part.points())
        assert abs(tuned.score - best) < 1e-9
        first = next(mix for mix in part.points() if abs(scores[mix] - best) < 1e-9)
        assert tuned.mix == first
    assert tune(made, bleu, grid).mix.weight > 0


def test_the_least_change_comes_first() -> None:
    points = GRID.points()
    assert points[0] == Mix(0.0, 0.0, 0.0)
    assert [mix.length_bonus for mix in points[:5]] == [0.0, -0.1, 0.1, -0.2, 0.2]
    assert len(points) == len({*points}) == 12 * 41 * 3
    assert {mix.weight for mix in GRID.without_teacher().points()} == {0.0}
    made = Lists.of(np.array([2]), np.array([-1.0, -2.0]), np.zeros(2), np.ones(2))
    assert tune(made, lambda chosen: 1.0, GRID).mix == points[0]
