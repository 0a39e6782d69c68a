"""A complete teacher store, memory-mapped, every byte compared with its checksum before it is used."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.errors import StoreError, must_be
from bertkd_fairseq.files import hash_file
from bertkd_fairseq.topk_store.layout import (
    ARRAYS_OF_FORMAT,
    CHECKSUM_FILE,
    FORMAT,
    META_FILE,
    PARTIAL_SUFFIX,
    SAMPLED,
    SYMBOLS_FILE,
    block_checksum,
    block_rows,
    checksum_lines,
    files_of_format,
    store_layout,
)
from bertkd_fairseq.topk_store.rows import TopKRows

_REQUIRED = (
    "k",
    "num_tokens",
    "num_sentences",
    "num_symbols",
    "block_size",
    "block_checksums",
    "signature",
)


@dataclass(frozen=True)
class StoreSummary:
    """What is said of a store first: counts, and what all of its files take on disk."""

    signature: str
    sentences: int
    tokens: int
    bytes_per_token: float


class TopKStore:
    """A complete store, memory-mapped for reading; survives pickling to worker processes.

    Nothing is returned that was not compared with its checksum:

    - ``meta.json``, ``symbols.txt``, headers and sizes of the arrays when the store is opened;
    - a block of rows, with its checksum in ``meta.json``, when one of its sentences is first read;
    - ``offsets.npy`` and ``crc32.npy``, with theirs in ``SHA256SUMS``, when first needed. They are read whole for it:
      100 MB take a tenth of a second, too much for opening a store and little beside reading it. Checksums of their
      parts would be quicker, but stores made so far have none, and ``meta.json`` would be twice as large.

    A process checks each of them once; those forked from it share its memory maps and what it knows of blocks.
    Files that change later are not noticed, and one that gets shorter ends Python with SIGBUS. Hence a finished store
    is replaced, never written to.
    """

    def __init__(self, path: Path, meta: dict[str, Any], digests: dict[str, str]) -> None:
        self.path = path
        self.meta = meta
        self._digests = digests  # of the files, as SHA256SUMS has them
        self._checked_files: set[str] = set()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TopKStore:
        """Open the store at ``path``; the cost doesn't depend on its size.

        :raises StoreError: if it is missing, unfinished, of another format or version, truncated or mixed with
            other files, or if a byte of what is read here has changed.
        """
        folder = Path(path)
        with _readable(folder):
            meta = _read_meta(folder)
            names, files = set(os.listdir(folder)), set(files_of_format(meta["format_version"]))
            if names != files:
                missing = [f"{name} is missing" for name in sorted(files - names)]
                if missing:
                    raise _damaged(folder, "; ".join(missing))
                foreign = ", ".join(sorted(names - files))
                raise StoreError(
                    f"the teacher store {folder} holds {foreign}, which doesn't belong there. Move it away."
                )
            store = cls(folder, meta, _read_digests(folder, files))
        store._check_file(META_FILE)
        store._check_file(SYMBOLS_FILE)
        # Made now, so that mistakes show here and forked processes share both.
        _ = store._arrays, store._checked
        return store

    @property
    def k(self) -> int:
        """Entries stored per token."""
        return int(self.meta["k"])

    @property
    def version(self) -> int:
        """The version of the format; from 2 on rows have ``gold_logprob``."""
        return int(self.meta["format_version"])

    @property
    def sampled(self) -> bool:
        """Whether the entries are random draws, weighted by how often each was drawn.

        If not, they are the K most probable symbols.
        """
        return self.meta.get("targets") == SAMPLED

    def symbols(self) -> list[str]:
        """Return the target dictionary, V symbols in the order of their ids."""
        return (self.path / SYMBOLS_FILE).read_text("utf-8").split("\n")[:-1]

    @property
    def offsets(self) -> np.ndarray:
        """Where the rows of each sentence begin, and where the last one's end: (sentences + 1,)."""
        self._check_file("offsets.npy")
        return self._arrays["offsets"]

    @property
    def crc32(self) -> np.ndarray:
        """Checksum of each pair (:func:`bertkd_fairseq.data.store_match.pair_checksum`): (sentences,)."""
        self._check_file("crc32.npy")
        return self._arrays["crc32"]

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
        if not self._checked[index // self._block_size]:
            self.check(np.array([index]))
        rows = slice(self.offsets[index], self.offsets[index + 1])
        return self._arrays["ids"][rows], self._arrays["logprobs"][rows]

    def sentences(self, indices: np.ndarray) -> TopKRows:
        """Return the rows of many sentences, one after the other.

        :raises StoreError: if a block that holds one of them has changed.
        """
        self.check(indices)
        offsets = self.offsets
        starts = offsets[indices]
        lengths = offsets[indices + 1] - starts
        # Row numbers of all sentences in one go: starts repeated, plus a count that restarts at each.
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        rows = np.repeat(starts, lengths) + within
        # Three times as fast as indexing with an array.
        return TopKRows(*(self._arrays[name].take(rows, axis=0) for name in self._row_arrays))

    def check(self, sentences: np.ndarray) -> None:
        """Compare the blocks of ``sentences`` (n,) with their checksums, each only once in a process.

        :raises StoreError: if one has changed.
        """
        blocks = sentences // self._block_size
        checked = self._checked.take(blocks)
        if np.count_nonzero(checked) == len(checked):
            return
        for block in np.unique(blocks[checked == 0]).tolist():
            if not self._is_whole(block):
                first = block * self._block_size
                last = min(first + self._block_size, len(self)) - 1
                *names, other = (f"{name}.npy" for name in self._row_arrays)
                where = (
                    f"block {block} (sentences {first} to {last}) of {', '.join(names)} or {other}"
                )
                raise _damaged(self.path, f"{where} differs from its checksum in {META_FILE}")
            self._checked[block] = 1

    def summary(self) -> StoreSummary:
        """Return what is said of a store first."""
        size = sum(file.stat().st_size for file in self.path.iterdir())
        tokens = int(self.meta["num_tokens"])
        return StoreSummary(self.meta["signature"], len(self), tokens, round(size / tokens, 2))

    def verify(self) -> list[str]:
        """Return what differs from the checksums, files and blocks by name; empty when all is well.

        Every byte of every file is read: a single changed one is found.
        """
        with _readable(self.path):
            stored = (self.path / CHECKSUM_FILE).read_bytes()
            lines = checksum_lines(self.path, files_of_format(self.version))
        if stored == "".join(lines.values()).encode():
            self._checked[:] = 1
            return []
        problems = [name for name, line in lines.items() if line.encode() not in stored]
        # Where these can't be trusted, nobody knows where blocks begin and what their checksums are.
        if not {META_FILE, "offsets.npy"} & set(problems):
            blocks = range(len(self.meta["block_checksums"]))
            problems += [f"block {block}" for block in blocks if not self._is_whole(block)]
        return problems or [CHECKSUM_FILE]

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        """The memory-mapped arrays. Nothing in them is checked: not to be read but by the methods above."""
        keys = ("num_tokens", "num_sentences", "k", "num_symbols")
        tokens, sentences, k, symbols = (int(self.meta[key]) for key in keys)
        layout = store_layout(tokens, sentences, k, symbols, self.version)
        with _readable(self.path):
            return {name: _map_array(self.path, f"{name}.npy", *layout[name]) for name in layout}

    @cached_property
    def _checked(self) -> np.ndarray:
        """Whether each block was compared with its checksum: (blocks,) uint8."""
        # Anonymous memory, which forked processes share: a block that one of them has checked is so for all.
        blocks = len(self.meta["block_checksums"])
        return np.frombuffer(mmap.mmap(-1, blocks), dtype=np.uint8)

    @property
    def _row_arrays(self) -> tuple[str, ...]:
        return ARRAYS_OF_FORMAT[self.version]

    @property
    def _block_size(self) -> int:
        return int(self.meta["block_size"])

    def _is_whole(self, block: int) -> bool:
        rows = block_rows(self.offsets, block, self._block_size)
        checksum = block_checksum(*(self._arrays[name][rows] for name in self._row_arrays))
        return bool(checksum == self.meta["block_checksums"][block])

    def _check_file(self, name: str) -> None:
        if name in self._checked_files:
            return
        with _readable(self.path):
            digest = hash_file(self.path / name)
        if digest != self._digests[name]:
            raise _damaged(self.path, f"{name} differs from its checksum in {CHECKSUM_FILE}")
        self._checked_files.add(name)

    def __getstate__(self) -> dict[str, Any]:
        # A memory map would be pickled as a copy of the whole file.
        return {"path": self.path, "meta": self.meta, "digests": self._digests}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _map_array(folder: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Memory-map an array that has to be exactly what the settings say, down to the file's size."""
    try:
        array = np.load(folder / name, mmap_mode="r")
    except OSError:
        raise
    except (
        Exception
    ) as error:  # numpy lets through whatever Python's parser makes of a changed header
        raise _damaged(folder, f"{name}: {error}") from error
    size = (folder / name).stat().st_size
    order = "C" if array.flags.c_contiguous else "F"
    seen = (array.shape, array.dtype.str, order, size - array.offset)
    wanted = (shape, dtype.str, "C", int(np.prod(shape)) * dtype.itemsize)
    if seen != wanted:
        kinds = "shape, type, order and bytes"
        raise _damaged(folder, f"{kinds} of {name} must be {wanted}, but are {seen}")
    return array


def _read_digests(folder: Path, files: set[str]) -> dict[str, str]:
    """Return the sha256 of every file as SHA256SUMS has it."""
    lines = (folder / CHECKSUM_FILE).read_text("ascii", "replace").splitlines()
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    missing = files - {CHECKSUM_FILE} - set(digests)
    if missing:
        raise _damaged(folder, f"{CHECKSUM_FILE} has no checksum of {', '.join(sorted(missing))}")
    return digests


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Say in one message which file of the store can't be read, and why."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder} of a teacher store can't be read: {error.strerror or error}. "
            "Check that it is there, that its disk works, and that you may read it."
        ) from error


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
    if kind != FORMAT or version not in ARRAYS_OF_FORMAT:
        versions = " or ".join(map(str, ARRAYS_OF_FORMAT))
        wanted, seen = f"{FORMAT} version {versions}", f"{kind} version {version}"
        hint = "Dump it again with this version of bertkd-fairseq."
        raise StoreError(must_be(f"format of {folder}", wanted, seen, hint))
    return meta
