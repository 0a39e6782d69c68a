"""What ties a teacher store to a data-bin: hashes of content, so that moved and copied folders still fit."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import numpy as np

from bertkd_fairseq.errors import must_be
from bertkd_fairseq.files import hash_files
from bertkd_fairseq.text.data_bin import split_files
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.vocabulary import dictionary_hash

_HINT = "Use the data-bin that the store was dumped for, or dump this one with `bertkd dump-topk`."


def data_hashes(
    data_bin: str, split: str, source_lang: str, target_lang: str, pairs: Any
) -> dict[str, str]:
    """Return the hashes that a store carries of the data it was made from.

    ``pairs`` is the split as fairseq's LanguagePairDataset, or as :class:`bertkd_fairseq.text.pairs.Pairs`.
    """
    return {
        "source_dictionary": dictionary_hash(pairs.src_dict.symbols),
        "target_dictionary": dictionary_hash(pairs.tgt_dict.symbols),
        "target_sizes": hash_sizes(pairs.tgt_sizes),
        "data": hash_files(split_files(data_bin, split, (source_lang, target_lang))),
    }


def pair_checksum(source: np.ndarray, target: np.ndarray) -> int:
    """Return the CRC-32 of one pair's ids (S,) and (L,), whatever integer type they come in."""
    start = zlib.crc32(np.ascontiguousarray(source, dtype="<i8").tobytes(), len(source))
    return zlib.crc32(np.ascontiguousarray(target, dtype="<i8").tobytes(), start)


def hash_sizes(sizes: np.ndarray) -> str:
    """Return the sha256 of sentence lengths (sentences,), whatever integer type they come in."""
    return hashlib.sha256(np.ascontiguousarray(sizes, dtype="<i8").tobytes()).hexdigest()


def pair_checksums(pairs: Any) -> np.ndarray:
    """Return the checksum of every pair: (sentences,) uint32."""
    checksums = (
        pair_checksum(np.asarray(pairs.src[i]), np.asarray(pairs.tgt[i])) for i in range(len(pairs))
    )
    return np.fromiter(checksums, dtype=np.uint32, count=len(pairs))


def mismatches(
    store: TopKStore, data_bin: str, split: str, langs: tuple[str, str], pairs: Any
) -> list[str]:
    """Return a message for everything in which the store and a split of the data-bin differ, with both sides.

    :raises StoreError: if the store's own lengths have changed since it was written.
    """
    wanted: dict[str, str] = store.meta.get("hashes", {})
    hashes = data_hashes(data_bin, split, *langs, pairs)
    differ = {key for key in hashes if wanted.get(key) != hashes[key]}
    if not differ:
        return []
    made_for = {
        "direction": "{source_lang} to {target_lang}".format_map(store.meta),
        "split": store.meta["split"],
    }
    asked_for = {"direction": f"{langs[0]} to {langs[1]}", "split": split}
    for name, made in made_for.items():  # each explains all the rest
        if made != asked_for[name]:
            return [must_be(f"{name} of {store.path}", asked_for[name], made, _HINT)]
    problems = []
    if "target_dictionary" in differ:
        problems.append(_dictionary_problem(store, data_bin, pairs))
    elif "source_dictionary" in differ:
        problems.append(
            f"the source dictionary of {data_bin} isn't the one that {store.path} was dumped for."
        )
    if len(store) != len(pairs):
        problems.append(
            must_be(
                f"number of sentences of {data_bin}", f"{len(store)} as in {store.path}", len(pairs)
            )
        )
    elif differ & {"target_sizes", "data"} or not np.array_equal(store.sizes, pairs.tgt_sizes):
        problems.append(_sentence_problem(store, data_bin, pairs))
    return [*problems[:-1], f"{problems[-1]} {_HINT}"]


def _dictionary_problem(store: TopKStore, data_bin: str, pairs: Any) -> str:
    theirs, ours = store.symbols(), list(pairs.tgt_dict.symbols)
    first = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), None)
    if first is None:
        return must_be(
            f"target dictionary of {data_bin}",
            f"{len(theirs)} symbols as in {store.path}",
            f"{len(ours)} symbols",
        )
    return must_be(
        f"symbol {first} of {data_bin}", f"{theirs[first]!r} as in {store.path}", repr(ours[first])
    )


def _sentence_problem(store: TopKStore, data_bin: str, pairs: Any) -> str:
    """Name the first pair that differs: by its length, or else by its checksum."""
    sizes = np.asarray(pairs.tgt_sizes)
    lengths = np.flatnonzero(store.sizes != sizes)
    if len(lengths):
        first = int(lengths[0])
        wanted, seen = f"{store.sizes[first]} tokens as in {store.path}", f"{sizes[first]} tokens"
        return must_be(f"target sentence {first} of {data_bin}", wanted, seen)
    changed = np.flatnonzero(store.crc32 != pair_checksums(pairs))
    if not len(changed):
        return f"the files of {data_bin} aren't those that {store.path} was dumped for, though every pair is equal."
    return (
        f"sentence {int(changed[0])} of {data_bin} isn't the one that {store.path} was dumped for. "
        f"Sentences that differ: {len(changed)}."
    )
