"""The teacher's soft targets on disk: a folder that needs only numpy to read.

One row per target token, EOS included, in the order of the data-bin::

    ids.npy        (tokens, K)       uint8/16/32, the smallest type that holds the dictionary
    logprobs.npy   (tokens, K)       float16, descending: log-probabilities at temperature 1
    log_tail.npy   (tokens,)         float16: log of the probability outside the K entries
    offsets.npy    (sentences + 1,)  int64: where each sentence's rows begin, and where the last one's end
    crc32.npy      (sentences,)      uint32: checksum of each pair, to name the first that differs
    symbols.txt    the target dictionary that ids stand for, one symbol a line
    meta.json      settings, hashes, a checksum per block, a signature
    SHA256SUMS     of all files above, as sha256sum writes it

Where a row stands follows from the target lengths alone, before the teacher has run, so that blocks of
consecutive sentences can be written in any order (:mod:`bertkd_fairseq.topk_writer`). A sentence without a
teacher has ``-inf`` log-probabilities throughout and a log tail of 0: all of the mass is outside.

Where ``meta.json`` says ``"targets": "sampled"``, the entries are K random draws from the teacher, each symbol once
with the log of its share among the draws; ``-inf`` where a row has fewer than K different ones.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.errors import StoreError, must_be
from bertkd_fairseq.fingerprint import hash_file

FORMAT = "bertkd-topk"
FORMAT_VERSION = 1
PARTIAL_SUFFIX = ".partial"

TOPK, SAMPLED = TARGETS = ("topk", "sampled")

ROW_ARRAYS = ("ids", "logprobs", "log_tail")
ARRAY_FILES = tuple(f"{name}.npy" for name in (*ROW_ARRAYS, "offsets", "crc32"))
SYMBOLS_FILE = "symbols.txt"
META_FILE = "meta.json"
CHECKSUM_FILE = "SHA256SUMS"
FILES = (*ARRAY_FILES, SYMBOLS_FILE, META_FILE, CHECKSUM_FILE)

_REQUIRED = (
    "k",
    "num_tokens",
    "num_sentences",
    "num_symbols",
    "block_size",
    "block_checksums",
    "signature",
)

Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


@dataclass(frozen=True)
class TopKRows:
    """The teacher's answer for some target tokens: (tokens, K), (tokens, K) and (tokens,)."""

    ids: np.ndarray
    logprobs: np.ndarray
    log_tail: np.ndarray

    @classmethod
    def without_teacher(cls, num_tokens: int, k: int) -> TopKRows:
        """Return rows that say: the teacher was not asked."""
        return cls(
            ids=np.zeros((num_tokens, k), dtype=np.int64),
            logprobs=np.full((num_tokens, k), -np.inf, dtype=np.float16),
            log_tail=np.zeros(num_tokens, dtype=np.float16),
        )

    def first(self, k: int) -> TopKRows:
        """Return the first ``k`` entries of every row; the mass of the others joins the tail, in float32."""
        if k == self.ids.shape[1]:
            return self
        outside = [self.logprobs[:, k:], self.log_tail[:, None]]
        log_tail = np.logaddexp.reduce(np.concatenate(outside, axis=1).astype(np.float32), axis=1)
        return TopKRows(self.ids[:, :k], self.logprobs[:, :k], log_tail)

    def put(self, where: np.ndarray, other: TopKRows) -> None:
        """Write ``other``'s rows at the positions ``where`` (n,) of this one."""
        self.ids[where] = other.ids
        self.logprobs[where] = other.logprobs
        self.log_tail[where] = other.log_tail


def store_layout(num_tokens: int, num_sentences: int, k: int, num_symbols: int) -> Layout:
    """Return shape and type of every array of a store."""
    half = np.dtype(np.float16)
    return {
        "ids": ((num_tokens, k), np.dtype(np.min_scalar_type(num_symbols - 1))),
        "logprobs": ((num_tokens, k), half),
        "log_tail": ((num_tokens,), half),
        "offsets": ((num_sentences + 1,), np.dtype(np.int64)),
        "crc32": ((num_sentences,), np.dtype(np.uint32)),
    }


def bytes_per_token(k: int, num_symbols: int) -> int:
    """Return what one target token takes on disk: ids, log-probabilities and log tail."""
    layout = store_layout(1, 1, k, num_symbols)
    return sum(int(np.prod(layout[name][0])) * layout[name][1].itemsize for name in ROW_ARRAYS)


class TopKStore:
    """A complete store, memory-mapped for reading; survives pickling to worker processes."""

    def __init__(self, path: Path, meta: dict[str, Any]) -> None:
        self.path = path
        self.meta = meta
        layout = _read_layout(path, meta)
        self.ids, self.logprobs, self.log_tail, self.offsets, self.crc32 = (
            _map_array(path, f"{name}.npy", *layout[name]) for name in layout
        )
        if (self.offsets[0], self.offsets[-1]) != (0, meta["num_tokens"]):
            raise _damaged(path, "offsets.npy doesn't begin at 0 and end at the number of tokens")

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TopKStore:
        """Open the store at ``path``; the cost doesn't depend on its size.

        :raises StoreError: if it is missing, unfinished, of another format or version, truncated or
            holds other files. Changed bytes are what :meth:`verify` finds.
        """
        folder = Path(path)
        meta = _read_meta(folder)
        names = set(os.listdir(folder))
        if names != set(FILES):
            missing = [f"{name} is missing" for name in sorted(set(FILES) - names)]
            if missing:
                raise _damaged(folder, "; ".join(missing))
            foreign = ", ".join(sorted(names - set(FILES)))
            raise StoreError(
                f"the teacher store {folder} holds {foreign}, which doesn't belong there. Move it away."
            )
        return cls(folder, meta)

    @property
    def k(self) -> int:
        """Entries stored per token."""
        return int(self.meta["k"])

    @property
    def sampled(self) -> bool:
        """Whether the entries were drawn at random and weigh what they were drawn, or are the K likeliest."""
        return self.meta.get("targets") == SAMPLED

    def symbols(self) -> list[str]:
        """Return the target dictionary, V symbols in the order of their ids."""
        return (self.path / SYMBOLS_FILE).read_text("utf-8").split("\n")[:-1]

    @property
    def sizes(self) -> np.ndarray:
        """Target tokens of every sentence, EOS included: (sentences,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return int(self.meta["num_sentences"])

    def sentence(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (L, K) and log-probabilities (L, K) of one sentence of L target tokens.

        :raises IndexError: if there is no such sentence.
        """
        if not 0 <= index < len(self):
            raise IndexError(must_be("index", f"from 0 to {len(self) - 1}", index))
        rows = slice(self.offsets[index], self.offsets[index + 1])
        return self.ids[rows], self.logprobs[rows]

    def sentences(self, indices: np.ndarray) -> TopKRows:
        """Return the rows of many sentences, one after the other."""
        starts = self.offsets[indices]
        lengths = self.offsets[indices + 1] - starts
        # Row numbers of all sentences in one go: starts repeated, plus a count that restarts at each.
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        rows = np.repeat(starts, lengths) + within
        # Three times as fast as indexing with an array.
        return TopKRows(*(getattr(self, name).take(rows, axis=0) for name in ROW_ARRAYS))

    def summary(self) -> dict[str, Any]:
        """Return what is said of a store first: signature, counts and size."""
        size = sum(file.stat().st_size for file in self.path.iterdir())
        tokens = int(self.meta["num_tokens"])
        return {
            "signature": self.meta["signature"],
            "sentences": len(self),
            "tokens": tokens,
            "bytes_per_token": round(size / tokens, 2),
        }

    def verify(self) -> list[str]:
        """Return what differs from the checksums, files and blocks by name; empty when all is well.

        Every byte of every file is read: a single changed one is found.
        """
        stored = (self.path / CHECKSUM_FILE).read_bytes()
        lines = checksum_lines(self.path)
        if stored == "".join(lines.values()).encode():
            return []
        problems = [name for name, line in lines.items() if line.encode() not in stored]
        if (
            META_FILE in problems
        ):  # where blocks begin and what their checksums are is not to be trusted
            return problems
        block_size = int(self.meta["block_size"])
        for block, expected in enumerate(self.meta["block_checksums"]):
            rows = block_rows(self.offsets, block, block_size)
            arrays = (self.ids[rows], self.logprobs[rows], self.log_tail[rows])
            if block_checksum(*arrays) != expected:
                problems.append(f"block {block}")
        return problems or [CHECKSUM_FILE]

    def __getstate__(self) -> dict[str, Any]:
        # A memory map would be pickled as a copy of the whole file.
        return {"path": self.path, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["meta"])  # type: ignore[misc]


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
        "version": meta.get("versions", {}).get("bertkd_fairseq", "?"),
    }
    if meta.get("targets") == SAMPLED:
        parts["targets"] = f"{SAMPLED}, seed {meta.get('seed', '?')}"
    return "|".join([FORMAT, *(f"{name}:{value}" for name, value in parts.items())])


def checksum_lines(folder: Path) -> dict[str, str]:
    """Return the line of SHA256SUMS for every other file of a store."""
    names = (name for name in FILES if name != CHECKSUM_FILE)
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


def _map_array(folder: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Memory-map an array that has to be exactly what the settings say, down to the file's size."""
    try:
        array = np.load(folder / name, mmap_mode="r")
    except (
        Exception
    ) as error:  # numpy lets through whatever Python's parser makes of a changed header
        raise _damaged(folder, f"{name}: {error}") from error
    size = (folder / name).stat().st_size
    seen = (array.shape, array.dtype.name, size - array.offset)
    wanted = (shape, dtype.name, int(np.prod(shape)) * dtype.itemsize)
    if seen != wanted:
        raise _damaged(folder, f"shape, type and bytes of {name} must be {wanted}, but are {seen}")
    return array


def _read_layout(folder: Path, meta: dict[str, Any]) -> Layout:
    keys = ("num_tokens", "num_sentences", "k", "num_symbols")
    try:
        return store_layout(*(int(meta[key]) for key in keys))
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise _damaged(folder, f"{META_FILE}: {error!r}") from error


def _damaged(folder: Path, reason: str) -> StoreError:
    return StoreError(
        f"the teacher store {folder} is damaged: {reason}. "
        "Dump it again with `bertkd dump-topk --force`."
    )


def _read_meta(folder: Path) -> dict[str, Any]:
    meta_file = folder / META_FILE
    if not meta_file.exists():
        partial = folder.with_name(folder.name + PARTIAL_SUFFIX)
        hint = (
            f"{partial} is an unfinished one: run the same `bertkd dump-topk` again to complete it."
            if partial.exists()
            else "Make one with `bertkd dump-topk`."
        )
        raise StoreError(f"there is no teacher store at {folder} (no meta.json). {hint}")
    try:
        meta: dict[str, Any] = json.loads(meta_file.read_text("utf-8"))
        kind, version = meta["format"], meta["format_version"]
        _ = [meta[key] for key in _REQUIRED]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{META_FILE}: {error!r}") from error
    if (kind, version) != (FORMAT, FORMAT_VERSION):
        wanted, seen = f"{FORMAT} version {FORMAT_VERSION}", f"{kind} version {version}"
        hint = "Dump it again with this version of bertkd-fairseq."
        raise StoreError(must_be(f"format of {folder}", wanted, seen, hint))
    return meta
