"""Training data of several parts, joined as fairseq-train joins ``train``, ``train1``, ``train2``, ..."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from fairseq.data import ConcatDataset

from bertkd_fairseq.text.data_bin import split_prefix


def split_parts(folder: str, split: str, langs: tuple[str, str], combine: bool) -> list[str]:
    """Return the splits of a data-bin that ``split`` means, in the order of their rows.

    :param split: one name, or several with commas between.
    :param combine: whether one name means those as well that fairseq finds by counting.
    """
    if "," in split or not combine:
        return split.split(",")
    more = (f"{split}{k}" for k in itertools.count(1))
    found = itertools.takewhile(lambda part: split_prefix(folder, part, langs) is not None, more)
    return [split, *found]


def join_pairs(parts: Sequence[Any], upsample_primary: int) -> Any:
    """Return LanguagePairDatasets as one, with the first so many times."""
    ratios = [upsample_primary, *(1 for _ in parts[1:])]
    sides = (ConcatDataset([getattr(p, side) for p in parts], ratios) for side in ("src", "tgt"))
    return _with_sides(parts[0], *sides)


def parts_of_pairs(pairs: Any) -> tuple[list[Any], list[int]]:
    """Return each part of a LanguagePairDataset as one, and how often it comes."""
    if not isinstance(pairs.src, ConcatDataset):
        return [pairs], [1]
    sides = zip(pairs.src.datasets, pairs.tgt.datasets, strict=True)
    return [_with_sides(pairs, *side) for side in sides], list(pairs.src.sample_ratios)


def _with_sides(pairs: Any, source: Any, target: Any) -> Any:
    other = copy.copy(pairs)
    other.src, other.tgt = source, target
    other.src_sizes, other.tgt_sizes = np.asarray(source.sizes), np.asarray(target.sizes)
    other.sizes = np.vstack((other.src_sizes, other.tgt_sizes)).T
    return other
