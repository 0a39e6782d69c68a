"""What ties a teacher store to a data-bin: hashes of content, so that moved and copied folders still fit."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from fairseq.data import Dictionary

from bertkd_fairseq.errors import must_be
from bertkd_fairseq.fingerprint import hash_files, hash_sizes
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.vocabulary import dictionary_hash

_WHAT = {
    "source_dictionary": "source dictionary",
    "target_dictionary": "target dictionary",
    "target_sizes": "target lengths",
    "data": "sentences",
}


def data_hashes(
    data_bin: str,
    split: str,
    source_lang: str,
    target_lang: str,
    target_sizes: np.ndarray,
    source_dictionary: Dictionary,
    target_dictionary: Dictionary,
) -> dict[str, str]:
    """Return the hashes that a store carries of the data it was made from."""
    return {
        "source_dictionary": dictionary_hash(source_dictionary.symbols),
        "target_dictionary": dictionary_hash(target_dictionary.symbols),
        "target_sizes": hash_sizes(target_sizes),
        "data": hash_files(_binarized_files(data_bin, split, source_lang, target_lang)),
    }


def mismatches(
    store: TopKStore, hashes: dict[str, str], data_bin: str, target_sizes: np.ndarray
) -> list[str]:
    """Return a message for everything in which the store and the data-bin differ."""
    expected: dict[str, Any] = store.meta["hashes"]
    problems = []
    if len(store) != len(target_sizes):
        problems.append(
            must_be(
                f"number of sentences of {data_bin}",
                f"{len(store)} as in {store.path}",
                len(target_sizes),
            )
        )
    for key, what in _WHAT.items():
        if expected.get(key) != hashes[key]:
            problems.append(
                must_be(
                    f"{what} of {data_bin}",
                    f"those that {store.path} was dumped for (hash {str(expected.get(key))[:8]})",
                    f"others (hash {hashes[key][:8]})",
                )
            )
    if problems:
        problems[-1] += (
            " Use the data-bin that the store was dumped for, or dump this one with `bertkd dump-topk`."
        )
    return problems


def _binarized_files(data_bin: str, split: str, source_lang: str, target_lang: str) -> list[str]:
    for pair in (f"{source_lang}-{target_lang}", f"{target_lang}-{source_lang}"):
        prefix = os.path.join(data_bin, f"{split}.{pair}.")
        if os.path.exists(f"{prefix}{source_lang}.bin"):
            return [
                f"{prefix}{lang}.{end}"
                for lang in (source_lang, target_lang)
                for end in ("bin", "idx")
            ]
    raise FileNotFoundError(
        f"no binarized {split} split of {source_lang} and {target_lang} in {data_bin}"
    )
