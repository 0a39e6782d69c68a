"""A split of a data-bin without fairseq, against fairseq's own readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, data_utils
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.text.pairs import EOS, PAD, Pairs, Symbols

LENGTHS = {"src": [3, 1, 5], "tgt": [2, 6, 1]}


@pytest.fixture
def data_bin(tmp_path: Path) -> Path:
    """Three pairs of ids."""
    for lang, lengths in LENGTHS.items():
        dictionary = Dictionary()
        for symbol in ("ab", "##c", "‑", "é", "a\u3000b"):
            dictionary.add_symbol(symbol)
        dictionary.save(str(tmp_path / f"dict.{lang}.txt"))
        prefix = str(tmp_path / f"train.src-tgt.{lang}")
        builder = MMapIndexedDatasetBuilder(f"{prefix}.bin", dtype=np.uint16)
        for length in lengths:
            builder.add_item(torch.arange(length) + 4)
        builder.finalize(f"{prefix}.idx")
    return tmp_path


def test_sentences_are_those_that_fairseq_reads(data_bin: Path) -> None:
    pairs = Pairs(data_bin, "train", ("src", "tgt"))
    assert len(pairs) == 3 and pairs.tgt_sizes.tolist() == LENGTHS["tgt"]
    for lang, side in (("src", pairs.src), ("tgt", pairs.tgt)):
        theirs = data_utils.load_indexed_dataset(str(data_bin / f"train.src-tgt.{lang}"))
        assert [ids.tolist() for ids in side] == [theirs[i].tolist() for i in range(3)]


def test_symbols_are_those_of_fairseqs_dictionary(data_bin: Path) -> None:
    file = data_bin / "dict.tgt.txt"
    with file.open("a", encoding="utf-8") as lines:
        lines.write("ab 1 #fairseq:overwrite\n")
    theirs = Dictionary.load(str(file))
    ours = Symbols.read(file)
    assert list(ours.symbols) == theirs.symbols
    assert (theirs.pad(), theirs.eos()) == (PAD, EOS)
    assert ours.text([4, 5]) == theirs.string(torch.tensor([4, 5]))


def test_a_dictionary_that_cannot_be_read_is_named(data_bin: Path) -> None:
    file = data_bin / "dict.tgt.txt"
    file.unlink()
    with pytest.raises(DataError) as caught:
        Pairs(data_bin, "train", ("src", "tgt"))
    assert str(caught.value) == (
        f"the dictionary `{file}` can't be read: [Errno 2] No such file or directory: '{file}'."
    )
