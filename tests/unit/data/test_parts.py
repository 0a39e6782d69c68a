"""Training data of several parts: which there are, joined and taken apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fairseq.data import LanguagePairDataset, ListDataset

from bertkd_fairseq.data.parts import join_pairs, parts_of_pairs, split_parts
from tests.unit.data.test_datasets import make_pairs

ONE, TWO = [(3, 5), (9, 2), (1, 7)], [(4, 4), (6, 1)]


def make_part(lengths: list[tuple[int, int]]) -> LanguagePairDataset:
    pairs = make_pairs(lengths)
    pairs.src = ListDataset(pairs.src, pairs.src_sizes)
    pairs.tgt = ListDataset(pairs.tgt, pairs.tgt_sizes)
    return pairs


@pytest.mark.parametrize(
    ("split", "combine", "wanted"),
    [
        ("train", True, ["train", "train1", "train2"]),
        ("train", False, ["train"]),
        ("train1", True, ["train1"]),
        ("other,train", True, ["other", "train"]),
        ("other,train", False, ["other", "train"]),
    ],
)
def test_parts_are_those_that_fairseq_finds_by_counting(
    tmp_path: Path, split: str, combine: bool, wanted: list[str]
) -> None:
    for name in ("train", "train1", "train2", "train4", "other"):
        (tmp_path / f"{name}.de-en.de.idx").touch()
    assert split_parts(str(tmp_path), split, ("de", "en"), combine) == wanted
    # The same files serve the other direction.
    (tmp_path / "train.de-en.en.idx").touch()
    assert split_parts(str(tmp_path), "train", ("en", "de"), False) == ["train"]


@pytest.mark.parametrize("upsample", [1, 3])
def test_joined_pairs_are_the_parts_and_have_rows_of_the_whole(upsample: int) -> None:
    parts = [make_part(ONE), make_part(TWO)]
    joined = join_pairs(parts, upsample)
    whole = [(parts[0], i) for _ in range(upsample) for i in range(3)]
    whole += [(parts[1], i) for i in range(2)]
    assert len(joined) == len(whole)
    assert joined.sizes.tolist() == [list(pair) for pair in ONE * upsample + TWO]
    for row, (part, index) in enumerate(whole):
        sample = joined[row]
        assert sample["id"] == row
        assert sample["source"].tolist() == part[index]["source"].tolist()
        assert sample["target"].tolist() == part[index]["target"].tolist()
    again, repeats = parts_of_pairs(joined)
    assert repeats == [upsample, 1]
    for part, wanted in zip(again, parts, strict=True):
        assert len(part) == len(wanted)
        np.testing.assert_array_equal(part.tgt_sizes, wanted.tgt_sizes)
        assert [part[i]["target"].tolist() for i in range(len(part))] == [
            wanted[i]["target"].tolist() for i in range(len(part))
        ]


def test_pairs_of_one_part_are_themselves() -> None:
    pairs = make_part(ONE)
    assert parts_of_pairs(pairs) == ([pairs], [1])
