"""Read the sentences of a split: the ids of both sides as the data-bin has them, and their words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.text.data_bin import DataBin, read_binarized
from bertkd_fairseq.text.raw import undo_subwords
from bertkd_fairseq.text.segmentation.schemes import detect_scheme

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Side:
    """One language of a split. ``sentences`` are in the order of the data-bin, without EOS."""

    lang: str
    file: Path  # of the dictionary
    dictionary: Any  # fairseq's
    sentences: list[Ids]

    @classmethod
    def read(cls, data_bin: DataBin, split: str, lang: str) -> Side:
        """Read one side.

        :raises DataError: if the split is missing, damaged, or not in fairseq's mmap format.
        """
        from fairseq.data import Dictionary

        file = data_bin.dictionary(lang)
        sizes, tokens = read_binarized(data_bin.prefix(split, lang))
        ends = np.cumsum(sizes)[:-1]
        sentences = [tuple(ids[:-1].tolist()) for ids in np.split(tokens, ends)]
        return cls(lang, file, Dictionary.load(str(file)), sentences)

    @cached_property
    def _scheme(self) -> str:
        return detect_scheme(self.dictionary.symbols)

    def words(self, ids: Sequence[int]) -> str:
        """Return the words of ids with spaces between them. If the scheme isn't known, symbols count as words."""
        return undo_subwords(" ".join(self.dictionary.symbols[i] for i in ids), self._scheme)

    def ids(self, symbols: Sequence[str]) -> Ids:
        """Return the ids of symbols that fairseq-generate has printed.

        :raises KeyError: if a symbol isn't in the dictionary. ``<unk>`` is in it.
        """
        return tuple(self.dictionary.indices[symbol] for symbol in symbols)

    def unknown_problem(self, path: object, unknown: Sequence[str]) -> str:
        """Return the message for an n-best list with symbols that aren't in the dictionary."""
        shown = ", ".join(map(repr, sorted(unknown)[:5])) + (", ..." if len(unknown) > 5 else "")
        seen = f"has {len(unknown)} other{'s' * (len(unknown) > 1)} ({shown})"
        return (
            f"`{path}` must be made of the symbols of {self.file}, but {seen} instead. "
            "Name the data-bin that it was decoded from."
        )
