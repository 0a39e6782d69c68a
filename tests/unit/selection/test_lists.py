"""From printed symbols to ids and back, and lists that don't belong together."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
from fairseq.data import Dictionary
from hypothesis import given, settings
from hypothesis import strategies as st

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.selection.lists import Sides, read_candidates
from bertkd_fairseq.selection.sentences import Side
from bertkd_fairseq.text.lines import write_lines
from tests.unit.rescore.lists import Said, output

SYMBOLS = [
    "a",
    "b",
    "##b",
    "\u2028d",
    "é",
    "e\u0301",
    "\xa0",
    "a@@",
    "▁a",
    "<x>",
    "H-0",
    "##",
    "12",
]
NAMES = ("SelectConfig.nbest", "SelectConfig.rescored")


def dictionary() -> Dictionary:
    made = Dictionary()
    for symbol in SYMBOLS:
        made.add_symbol(symbol)
    return made


def side(lang: str, lines: list[str]) -> Side:
    made = dictionary()
    sentences = [
        tuple(made.index(symbol) for symbol in line.split(" ") if symbol) for line in lines
    ]
    return Side(lang, Path(f"dict.{lang}.txt"), made, sentences)


SIDES = Sides(side("src", ["a b", "b"]), side("tgt", ["b a", "a"]))


def printed(lists: dict[int, list[Said]], heads: dict[int, tuple[str, str]]) -> list[str]:
    lines = [line for line in output(lists) if line[:2] not in ("S-", "T-")]
    return [
        *(
            f"{kind}-{n}\t{text}"
            for n, pair in heads.items()
            for kind, text in zip("ST", pair, strict=True)
        ),
        *lines,
    ]


HEADS = {0: ("a b", "b a"), 1: ("b", "a")}


def said(line: str, *positional: float) -> Said:
    symbols = line.split(" ") if line else []
    return Said(symbols, positional or [-1.0] * (len(symbols) + 1))


def read(
    folder: Path, files: dict[str, list[str]], rescored: tuple[str, ...] = (), sides: Sides = SIDES
):
    for name, lines in files.items():
        write_lines(folder / name, lines)
    paths = [str(folder / name) for name in files if name not in rescored]
    return read_candidates(paths, [str(folder / name) for name in rescored], sides, NAMES)


def message(folder: Path, *args: object, **kwargs: object) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, *args, **kwargs)
    return str(caught.value).replace(f"{folder}/", "")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(4, 3 + len(SYMBOLS)), max_size=6), min_size=1, max_size=4))
def test_printed_symbols_are_the_same_ids_again(lists: list[list[int]]) -> None:
    """Through fairseq's own way to print them, whatever the symbols look like."""
    made = dictionary()
    hypotheses = [Said([made.symbols[i] for i in ids], [-1.0] * (len(ids) + 1)) for ids in lists]
    for each, ids in zip(hypotheses, lists, strict=True):
        assert made.string([*ids, made.eos()]) == " ".join(each.symbols)
    with tempfile.TemporaryDirectory() as folder:
        lines = printed({0: hypotheses}, {})
        sides = Sides(side("src", ["a"]), side("tgt", ["a"]))
        (found,) = read(Path(folder), {"a.out": lines}, sides=sides)
        assert [list(each.ids) for each in found] == lists
        assert all(each.student == pytest.approx(-math.log(2)) for each in found)


def test_files_follow_each_other_and_shards_make_a_whole(tmp_path: Path) -> None:
    files = {
        "0.out": printed({0: [said("a"), said("b")]}, {0: HEADS[0]}),
        "1.out": printed({1: [said("b", -2, -2)]}, {1: HEADS[1]}),
        "other.out": printed({1: [said("a")], 0: [said("a b")]}, HEADS),
    }
    index = dictionary().index
    found = read(tmp_path, files)
    a, b = index("a"), index("b")
    assert [[each.ids for each in one] for one in found] == [[(a,), (b,), (a, b)], [(b,), (a,)]]
    assert [each.student / math.log(2) for each in found[1]] == pytest.approx([-2.0, -1.0])


def test_the_new_scores_go_to_their_hypotheses(tmp_path: Path) -> None:
    before = printed({0: [said("a"), said("b")], 1: [said("b"), said("a b")]}, HEADS)
    after = [line.replace("H-0\t-1.0\ta", "H-0\t-9.0\ta") for line in before]
    after = [line.replace("H-1\t-1.0\ta b", "H-1\t-0.5\ta b") for line in after]
    found = read(tmp_path, {"a.out": before, "a.re": after}, ("a.re",))
    scores = [[each.teacher / math.log(2) for each in one] for one in found]
    assert scores == [pytest.approx([-9.0, -1.0]), pytest.approx([-1.0, -0.5])]
    assert all(each.student == pytest.approx(-math.log(2)) for one in found for each in one)


def test_unknown_symbols_are_refused(tmp_path: Path) -> None:
    lines = printed({0: [said("a z"), said("y")], 1: [said("<unk>")]}, HEADS)
    assert message(tmp_path, {"a.out": lines}) == (
        "`a.out` must be made of the symbols of dict.tgt.txt, but has 2 others ('y', 'z') instead. "
        "Name the data-bin that it was decoded from."
    )


def test_a_list_of_another_text_is_refused(tmp_path: Path) -> None:
    both = {0: [said("a")], 1: [said("a")]}
    assert read(tmp_path, {"a.out": printed(both, {0: ("a b", "else"), 1: ("else", "a")})})
    assert message(tmp_path, {"a.out": printed(both, {0: ("b a", "a b"), 1: HEADS[1]})}) == (
        "`a.out` must be translations of the split from src to tgt, but is one whose S- and T- lines have other "
        "text in 1 sentences (ids 0) instead. Name the data-bin and the split that was decoded, and with "
        "--backward the other direction."
    )


def test_sentences_are_all_there_and_from_one_run_a_file(tmp_path: Path) -> None:
    one = printed({0: [said("a")]}, {0: HEADS[0]})
    assert message(tmp_path, {"a.out": one}) == (
        "`a.out` has no H- line for 1 of 2 sentences (ids 1). Decode with `--required-batch-size-multiple 1`: "
        "otherwise fairseq drops the last batch."
    )
    two = printed({0: [said("a")], 1: [said("a")]}, HEADS)
    assert message(tmp_path, {"a.out": two + two}) == (
        "`a.out` has H- lines in several places for 2 of 2 sentences (ids 0, 1). It must hold the output of one run of "
        "fairseq-generate."
    )
    three = printed({n: [said("a")] for n in range(3)}, HEADS)
    assert message(tmp_path, {"a.out": three}) == (
        "`a.out` has H- lines for 1 sentences (ids 2) beyond the 2 references. Is it the output for another split?"
    )


def test_rescored_lists_have_the_same_hypotheses(tmp_path: Path) -> None:
    before = printed({0: [said("a"), said("b")], 1: [said("b")]}, HEADS)
    after = printed({0: [said("b"), said("a")], 1: [said("a")]}, HEADS)
    assert message(tmp_path, {"a.out": before, "b.re": after}, ("b.re",)) == (
        "`b.re` must be the hypotheses of a.out in another order, but is one with other hypotheses for "
        "1 sentences (ids 1) instead. Give the files of both options in the same order."
    )
