"""The teacher's soft targets on disk: a folder that needs only numpy to read.

One row per target token, EOS included, in the order of the data-bin::

    ids.npy        (tokens, K)       uint8/16/32, the smallest type that holds the dictionary
    logprobs.npy   (tokens, K)       float16, descending: log-probabilities at temperature 1
    log_tail.npy   (tokens,)         float16: log of the probability outside the K entries
    gold_logprob.npy (tokens,)       float16: log-probability of the target token itself, entry or not
    offsets.npy    (sentences + 1,)  int64: where each sentence's rows begin, and where the last one's end
    crc32.npy      (sentences,)      uint32: checksum of each pair, to name the first that differs
    symbols.txt    the target dictionary that ids stand for, one symbol a line
    meta.json      settings, hashes, a checksum per block, a signature
    SHA256SUMS     of all files above, as sha256sum writes it

Where a row stands follows from the target lengths alone, before the teacher has run, so that blocks of
consecutive sentences can be written in any order (:mod:`bertkd_fairseq.dump.writer`). A sentence without a
teacher has ``-inf`` log-probabilities throughout and a log tail of 0: all of the mass is outside.

Where the target token is an entry, ``gold_logprob`` repeats its log-probability bit by bit. It has two bytes too where
it is none: float16 keeps 11 bits of the logarithm, so that of a probability of 1e-6 is off by 0.004, far less than
what one teacher and the next differ by; float32 would double that price for nothing that training could see. Format 1,
which is still read, doesn't have this array.

Where ``meta.json`` says ``"targets": "sampled"``, the entries are K random draws from the teacher, each symbol once
with the log of its share among the draws; ``-inf`` where a row has fewer than K different ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.files import hash_file

FORMAT = "bertkd-topk"
FORMAT_VERSION = 2
PARTIAL_SUFFIX = ".partial"

TOPK, SAMPLED = TARGETS = ("topk", "sampled")

_HIDDEN = {
    "hide_future": "future",
    "hide_seed": "seed",
    "future_window": "all after",
    "mask_unit": "unit",
}
"""What ``meta.json`` says of tokens that the teacher didn't see, and how the signature calls it."""

_OF_FORMAT_1 = ("ids", "logprobs", "log_tail")
ARRAYS_OF_FORMAT = {1: _OF_FORMAT_1, FORMAT_VERSION: (*_OF_FORMAT_1, "gold_logprob")}
"""The arrays with a row for each token, by the version of the format."""
ROW_ARRAYS = ARRAYS_OF_FORMAT[FORMAT_VERSION]
SYMBOLS_FILE = "symbols.txt"
META_FILE = "meta.json"
CHECKSUM_FILE = "SHA256SUMS"


def files_of_format(version: int) -> tuple[str, ...]:
    """Return the names of all files of a store."""
    arrays = (*ARRAYS_OF_FORMAT[version], "offsets", "crc32")
    return (*(f"{name}.npy" for name in arrays), SYMBOLS_FILE, META_FILE, CHECKSUM_FILE)


FILES = files_of_format(FORMAT_VERSION)

Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


def store_layout(
    num_tokens: int, num_sentences: int, k: int, num_symbols: int, version: int = FORMAT_VERSION
) -> Layout:
    """Return shape and type of every array of a store."""
    half = np.dtype(np.float16)
    layout: Layout = {
        "ids": ((num_tokens, k), np.dtype(np.min_scalar_type(num_symbols - 1))),
        "logprobs": ((num_tokens, k), half),
        "log_tail": ((num_tokens,), half),
        "gold_logprob": ((num_tokens,), half),
        "offsets": ((num_sentences + 1,), np.dtype(np.int64)),
        "crc32": ((num_sentences,), np.dtype(np.uint32)),
    }
    newer = {*ROW_ARRAYS} - {*ARRAYS_OF_FORMAT[version]}
    return {name: array for name, array in layout.items() if name not in newer}


def bytes_per_token(k: int, num_symbols: int) -> int:
    """Return what one target token takes on disk, in the format that is written."""
    layout = store_layout(1, 1, k, num_symbols)
    return sum(int(np.prod(layout[name][0])) * layout[name][1].itemsize for name in ROW_ARRAYS)


def signature(meta: Mapping[str, Any]) -> str:
    """Return one line that names what the scores of a student depend on."""
    hashes = meta.get("hashes", {})
    parts = {
        "fmt": meta["format_version"],
        "k": meta["k"],
        "masks": meta.get("num_masks", "?"),
        "precision": meta.get("precision", "?"),
        "teacher": str(meta.get("teacher", {}).get("sha256", "?"))[:8],
        "data": str(hashes.get("data", "?"))[:8],
        "tokens": meta["num_tokens"],
        "version": meta.get("versions", {}).get("bertkd-fairseq", "?"),
    }
    if meta.get("targets") == SAMPLED:
        parts["targets"] = f"{SAMPLED}, seed {meta.get('seed', '?')}"
    hidden = [f"{name} {meta[key]}" for key, name in _HIDDEN.items() if key in meta]
    if hidden:
        parts["hidden"] = ", ".join(hidden)
    return "|".join([FORMAT, *(f"{name}:{value}" for name, value in parts.items())])


def checksum_lines(folder: Path, files: tuple[str, ...] = FILES) -> dict[str, str]:
    """Return the line of SHA256SUMS for every other one of a store's ``files``."""
    names = (name for name in files if name != CHECKSUM_FILE)
    return {name: f"{hash_file(folder / name)}  {name}\n" for name in names}


def block_rows(offsets: np.ndarray, block: int, block_size: int) -> slice:
    """Return the rows of a block of ``block_size`` consecutive sentences (the last may be smaller)."""
    last = min((block + 1) * block_size, len(offsets) - 1)
    return slice(int(offsets[block * block_size]), int(offsets[last]))


def block_checksum(*arrays: np.ndarray) -> str:
    """Return the sha256 of the bytes of a block's arrays, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
