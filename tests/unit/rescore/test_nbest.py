"""N-best lists: read as they were printed, written in another order, refused where something is missing."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from bertkd_fairseq.analysis.compare.generated import parse_generated
from bertkd_fairseq.errors import DataError
from bertkd_fairseq.rescore.nbest import NBest
from bertkd_fairseq.rescore.scoring import Lists, Mix
from bertkd_fairseq.text.lines import read_lines, write_lines
from tests.unit.rescore.lists import Said, nbest_lists, output

TWO = {
    3: [Said(["a", "b"], [-1, -2, -0.5], "A b."), Said([], [-4], "")],
    0: [Said(["c"], [-1, -1], "C.")],
    1: [Said(["c"], [-1, -1], "C.")],
    2: [Said(["c"], [-1, -1], "C.")],
}


def read(lines: list[str], folder: Path) -> NBest:
    write_lines(folder / "out", lines)
    return NBest.read(folder / "out", "RescoreConfig.nbest")


def blocks(lines: list[str]) -> list[str]:
    return [line for line in lines if line[1:2] == "-"]


@settings(max_examples=50, deadline=None)
@given(nbest_lists())
def test_what_is_read_and_written_is_the_same(lists: dict[int, list[Said]]) -> None:
    """Sentence by sentence, with all lines of a hypothesis, but without fairseq's log and score."""
    with tempfile.TemporaryDirectory() as folder:
        lines = output(lists, further=True)
        nbest = read(lines, Path(folder))
        nbest.write(Path(folder) / "again")
        assert read_lines(Path(folder) / "again") == blocks(lines)
        said = [each for each_list in lists.values() for each in each_list]
        assert nbest.sizes.tolist() == [len(each) for each in lists.values()]
        assert nbest.lengths().tolist() == [len(each.symbols) + 1 for each in said]
        sums = [sum(each.positional) * math.log(2) for each in said]
        np.testing.assert_allclose(nbest.student(), sums, rtol=0, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(nbest_lists())
def test_another_order_keeps_the_hypotheses_of_each_sentence(lists: dict[int, list[Said]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        nbest = read(output(lists), Path(folder))
        teacher = np.array([len(each.symbols) * 7.0 % 5 for each in nbest])
        arrays = Lists.of(nbest.sizes, nbest.student(), teacher, nbest.lengths())
        mix = Mix(3.0, 0.5, 1.0)
        new = nbest.reordered(arrays.order(mix), arrays.scores(mix))
        for before, after in zip(nbest.sentences, new.sentences, strict=True):
            assert (before.number, before.head) == (after.number, after.head)
            sets = [
                Counter((each.symbols, each.decoded, each.positional) for each in one.hypotheses)
                for one in (before, after)
            ]
            assert sets[0] == sets[1]
            scores = [float(each.score) for each in after.hypotheses]
            assert scores == sorted(scores, reverse=True)


def test_new_scores_are_in_base_2(tmp_path: Path) -> None:
    nbest = read(output(TWO), tmp_path)
    order = np.array([[1, 0], [0, 1], [0, 1], [0, 1]])
    scores = np.log(2) * np.array([[-3.0, -1.5]] + [[-2.0, -np.inf]] * 3)
    assert nbest.reordered(order, scores).sentences[0].lines() == [
        "S-3\tquelle 3",
        "T-3\ttarget 3",
        "H-3\t-1.5\t",
        "D-3\t-1.5\t",
        "P-3\t-4.0000",
        "H-3\t-3.0\ta b",
        "D-3\t-3.0\tA b.",
        "P-3\t-1.0000 -2.0000 -0.5000",
    ]


def test_ids_and_digest(tmp_path: Path) -> None:
    nbest = read(output(TWO), tmp_path)
    ids = nbest.ids(lambda symbol: {"a": 7, "b": 8}.get(symbol, 3), 2)
    assert [each.tolist() for each in ids] == [[7, 8, 2], [2], [3, 2], [3, 2], [3, 2]]
    assert nbest.numbers.tolist() == [3, 3, 0, 1, 2]
    rescored = [line.replace("H-3\t", "H-3\t-9") for line in output(TWO)]
    assert read(rescored, tmp_path).digest() == nbest.digest()
    other = [line.replace("\ta b", "\ta c") for line in output(TWO)]
    assert read(other, tmp_path).digest() != nbest.digest()


def message(lines: list[str], folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(lines, folder)
    return str(caught.value).replace(str(folder / "out"), "OUT")


@pytest.mark.parametrize("order", ["sorted", "without P-", "one P- less"])
def test_positional_scores_have_to_stand_beside_their_hypothesis(
    order: str, tmp_path: Path
) -> None:
    lines = output(TWO)
    if order == "sorted":
        lines.sort()
    elif order == "without P-":
        lines = [line for line in lines if not line.startswith("P-3")]
    else:
        lines.remove("P-3\t-4.0000")
    assert message(lines, tmp_path) == (
        "`OUT` must have a P- line after each H- line, but lacks some in 1 sentences (ids 3). Keep all that "
        "fairseq-generate prints, unsorted: a P- line has the student's log-probabilities."
    )


@pytest.mark.parametrize("text", ["-1.0 -2.0", "-1.0 -2.0 nan", "-1.0 -2.0 x", ""])
def test_each_symbol_has_a_number(text: str, tmp_path: Path) -> None:
    lines = [f"P-3\t{text}" if line.startswith("P-3\t-1") else line for line in output(TWO)]
    assert message(lines, tmp_path) == (
        "`OUT` must have a number in P- for every symbol of H- and one for EOS, but hasn't in 1 sentences (ids 3). "
        "Decode without --post-process (--remove-bpe), which joins symbols. --bpe may stay: it changes only D- lines."
    )


def test_split(tmp_path: Path) -> None:
    nbest = read(output(TWO), tmp_path)
    targets = [f"Tar@@ get {number}" for number in range(4)]
    others = [f"other {number}" for number in range(4)]
    numbers = ["17 12", "5", "6", "7"]  # GPT-2's
    for agreeing in ([targets], [others, targets], [numbers], [others[:2] + targets[2:]]):
        assert nbest.split_problems("test", agreeing) == []
    assert nbest.split_problems("test", [others]) == [
        f"`{tmp_path}/out` must be the output for test, but its T- lines agree with only 0 of 4 "
        "sentences. Name the split that was decoded."
    ]
    (missing,) = nbest.split_problems("test", [[*targets, "more"]])
    assert missing.startswith(f"`{tmp_path}/out` has no H- line for 1 of 5 sentences (ids 4).")
    (surplus,) = nbest.split_problems("test", [targets[:3]])
    assert "has H- lines for 1 sentences (ids 3) beyond the 3 references" in surplus


def test_lines_of_two_runs_are_told_from_a_list() -> None:
    lines = output({0: TWO[3], 1: TWO[0]})
    assert [one.again for one in parse_generated(lines).values()] == [False, False]
    twice = parse_generated([*lines, *lines])
    assert [one.again for one in twice.values()] == [True, True]
    bare = [line for line in lines if line.startswith("H-")]
    assert [one.again for one in parse_generated([*bare, *bare]).values()] == [True, True]
