"""A split of a data-bin in numpy alone, for students that other libraries train: fairseq isn't needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.text.data_bin import check_split, read_index, split_prefix
from bertkd_fairseq.vocabulary import SPECIAL_PIECES

BOS, PAD, EOS, UNK = range(len(SPECIAL_PIECES))
"""Ids of fairseq's specials, in every dictionary."""

_DUPLICATE = "#fairseq:overwrite"


@dataclass(frozen=True)
class Symbols:
    """One side's dictionary: V symbols in the order of their ids, fairseq's four specials first."""

    symbols: Sequence[str]

    @classmethod
    def read(cls, file: Path) -> Symbols:
        """Read a ``dict.<lang>.txt``, a symbol and its count in each line.

        :raises DataError: if it can't be read.
        """
        try:
            with file.open(encoding="utf-8") as lines:
                fields = [line.rstrip().removesuffix(_DUPLICATE).rstrip() for line in lines]
        except (OSError, UnicodeError) as error:
            raise DataError(f"the dictionary `{file}` can't be read: {error}.") from error
        return cls([*SPECIAL_PIECES, *(field.rsplit(" ", 1)[0] for field in fields)])

    def text(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the symbols of ``ids`` with spaces between, as fairseq-generate prints them."""
        return " ".join(self.symbols[i] for i in ids)


class Sentences:
    """One side's sentences, memory-mapped: each (L,) ids, EOS included."""

    def __init__(self, prefix: Path) -> None:
        self.sizes, dtype = read_index(prefix)
        self._ends = np.cumsum(self.sizes)
        self._tokens = np.memmap(f"{prefix}.bin", dtype, mode="r")

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> np.ndarray:
        end = self._ends[index]
        return np.asarray(self._tokens[end - self.sizes[index] : end])


class Pairs:
    """A split as pairs of sentences, with the names that fairseq's ``LanguagePairDataset`` has for them."""

    def __init__(self, data_bin: str | Path, split: str, langs: tuple[str, str]) -> None:
        """Open a split that ``fairseq-preprocess`` wrote in its mmap format, which is its default.

        ``langs``: source and target language.

        :raises DataError: if the split is missing, damaged, of unequal sides or in another format.
        """
        check_split(data_bin, split, langs)
        prefix = split_prefix(data_bin, split, langs)
        self.src, self.tgt = (Sentences(Path(f"{prefix}{lang}")) for lang in langs)
        self.src_dict, self.tgt_dict = (
            Symbols.read(Path(data_bin) / f"dict.{lang}.txt") for lang in langs
        )

    @property
    def tgt_sizes(self) -> np.ndarray:
        """Target tokens of every sentence, EOS included: (sentences,)."""
        return self.tgt.sizes

    def __len__(self) -> int:
        return len(self.tgt)
