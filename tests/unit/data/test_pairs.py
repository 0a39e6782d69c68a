"""A split of a data-bin as pairs, against its files read without fairseq."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from fairseq.data import Dictionary

from bertkd_fairseq.data.pairs import load_pairs
from bertkd_fairseq.errors import DataError
from bertkd_fairseq.text.data_bin import DataBin, read_binarized
from tests.conftest import CHECKOUT

BIN = CHECKOUT / "tests" / "data" / "before_rooms" / "data-bin"
LANGS = ("src", "tgt")


@pytest.fixture(scope="module")
def dictionaries() -> tuple[Dictionary, Dictionary]:
    source, target = (Dictionary.load(str(DataBin.open(BIN).dictionary(lang))) for lang in LANGS)
    return source, target


@pytest.mark.parametrize("left_pad_source", [True, False])
def test_every_pair_in_order(
    dictionaries: tuple[Dictionary, Dictionary], left_pad_source: bool
) -> None:
    pairs = load_pairs(BIN, "train", LANGS, dictionaries, left_pad_source=left_pad_source)
    for lang, side in zip(LANGS, (pairs.src, pairs.tgt), strict=True):
        sizes, tokens = read_binarized(DataBin.open(BIN).prefix("train", lang))
        assert len(pairs) == len(sizes) > 1
        wanted = np.split(tokens, np.cumsum(sizes)[:-1])
        for index, sentence in enumerate(wanted):
            assert side[index].tolist() == sentence.tolist()
    short, long = np.argsort(pairs.src_sizes)[[0, -1]]
    batch = pairs.collater([pairs[short], pairs[long]])
    padded = (batch["net_input"]["src_tokens"] == dictionaries[0].pad()).any(0)
    assert padded[0 if left_pad_source else -1] and not padded[-1 if left_pad_source else 0]


def test_parts_of_a_split_are_joined_where_asked(
    tmp_path: Path, dictionaries: tuple[Dictionary, Dictionary]
) -> None:
    folder = tmp_path / "data-bin"
    shutil.copytree(BIN, folder)
    for file in folder.glob("valid.*"):
        shutil.copy(file, folder / file.name.replace("valid", "train1"))
    counts = [
        len(load_pairs(folder, split, LANGS, dictionaries, left_pad_source=True, combine=combine))
        for split, combine in (("train", False), ("train1", False), ("train", True))
    ]
    assert counts[2] == counts[0] + counts[1]
    with pytest.raises(DataError, match=r"must hold a split 'dev' of src and tgt, but holds"):
        load_pairs(folder, "dev", LANGS, dictionaries, left_pad_source=True)
