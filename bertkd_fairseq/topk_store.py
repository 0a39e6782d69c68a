"""The teacher's soft targets on disk: a folder that needs only numpy to read.

One row per target token, EOS included, in the order of the data-bin::

    meta.json      settings, hashes, a checksum per block, a signature
    sizes.npy      (sentences,)  int32    target tokens of every sentence: where a sentence's rows begin
    ids.npy        (tokens, K)   uint8/16/32, the smallest type that holds the dictionary
    logprobs.npy   (tokens, K)   float16, descending: log-probabilities at temperature 1
    log_tail.npy   (tokens,)     float16: log of the probability outside the K entries

Row ``t`` of sentence ``i`` is ``cumsum(sizes)[i - 1] + t``, known before the teacher has run. Sentences are
written in blocks of consecutive ones; a store under construction is ``<folder>.partial`` with one file per
finished block in ``blocks/``, and takes its name only when all are there. A sentence without a teacher has
``-inf`` log-probabilities throughout and a log tail of 0: all of the mass is outside.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.errors import ConfigurationError, StoreError, must_be

FORMAT = "bertkd-topk"
FORMAT_VERSION = 1
PARTIAL_SUFFIX = ".partial"

_ARRAYS = ("ids", "logprobs", "log_tail")


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

    def put(self, where: np.ndarray, other: TopKRows) -> None:
        """Write ``other``'s rows at the positions ``where`` (n,) of this one."""
        self.ids[where] = other.ids
        self.logprobs[where] = other.logprobs
        self.log_tail[where] = other.log_tail


def sentence_offsets(sizes: np.ndarray) -> np.ndarray:
    """Return where each sentence's rows begin, and at last the number of rows: (sentences + 1,) int64."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def bytes_per_token(k: int, num_symbols: int) -> int:
    """Return what one target token takes on disk: ids, log-probabilities and log tail."""
    return k * (_id_dtype(num_symbols).itemsize + 2) + 2


class TopKStore:
    """A complete store, memory-mapped for reading; survives pickling to worker processes."""

    def __init__(self, path: Path, meta: dict[str, Any]) -> None:
        self.path = path
        self.meta = meta
        self._map_arrays()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TopKStore:
        """Open the store at ``path``; the cost doesn't depend on its size.

        :raises StoreError: if it is missing, unfinished, of another format or version, or truncated.
        """
        folder = Path(path)
        meta = _read_meta(folder)
        store = cls(folder, meta)
        store._check_shapes()
        return store

    @property
    def k(self) -> int:
        """Entries stored per token."""
        return int(self.meta["k"])

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

    def sentences(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of many sentences, one after the other: (tokens, K) ids and log-probabilities."""
        lengths = self.sizes[indices]
        # Row numbers of all sentences in one go: starts repeated, plus a count that restarts at each sentence.
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        rows = np.repeat(self.offsets[indices], lengths) + within
        return self.ids[rows], self.logprobs[rows]

    def verify(self) -> list[int]:
        """Return the blocks whose checksum doesn't match what is on disk; empty when all is well."""
        block_size = int(self.meta["block_size"])
        bad = []
        for block, expected in enumerate(self.meta["block_checksums"]):
            rows = _block_rows(self.offsets, block, block_size)
            if _checksum(self.ids[rows], self.logprobs[rows], self.log_tail[rows]) != expected:
                bad.append(block)
        return bad

    def _map_arrays(self) -> None:
        try:
            self.sizes = np.load(self.path / "sizes.npy")
            self.ids, self.logprobs, self.log_tail = (
                np.load(self.path / f"{name}.npy", mmap_mode="r") for name in _ARRAYS
            )
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the teacher store {self.path} is damaged: {error}. Dump it again with `bertkd dump-topk`."
            ) from error
        self.offsets = sentence_offsets(self.sizes)

    def _check_shapes(self) -> None:
        tokens, k = int(self.meta["num_tokens"]), self.k
        seen = (len(self.sizes), self.ids.shape, self.logprobs.shape, self.log_tail.shape)
        wanted = (len(self), (tokens, k), (tokens, k), (tokens,))
        if seen != wanted or int(self.offsets[-1]) != tokens:
            raise StoreError(
                f"the teacher store {self.path} is damaged: its arrays must have the shapes {wanted}, "
                f"but have {seen} instead. Dump it again with `bertkd dump-topk`."
            )

    def __getstate__(self) -> dict[str, Any]:
        # A memory map would be pickled as a copy of the whole file.
        return {"path": self.path, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["meta"])  # type: ignore[misc]


class TopKStoreWriter:
    """A store under construction at ``<path>.partial``: blocks in any order, each durable once written."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        k: int,
        sizes: np.ndarray,
        num_symbols: int,
        block_size: int,
        settings: Mapping[str, Any],
    ) -> None:
        """Create the store, or continue one that was begun with the same settings.

        ``sizes`` (sentences,): target tokens of each sentence; ``settings``: whatever determines the rows,
        written to ``meta.json``.

        :raises ConfigurationError: if ``path`` exists, or was begun with other settings.
        """
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + PARTIAL_SUFFIX)
        self.block_size = block_size
        self.offsets = sentence_offsets(sizes)
        self.num_blocks = -(-len(sizes) // block_size)
        tokens = int(self.offsets[-1])
        self._layout = {
            "ids": ((tokens, k), _id_dtype(num_symbols)),
            "logprobs": ((tokens, k), np.dtype(np.float16)),
            "log_tail": ((tokens,), np.dtype(np.float16)),
        }
        self._plan: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "k": k,
            "num_sentences": len(sizes),
            "num_tokens": tokens,
            "num_symbols": num_symbols,
            "dtypes": {name: dtype.name for name, (_, dtype) in self._layout.items()},
            "bytes_per_token": bytes_per_token(k, num_symbols),
            "block_size": block_size,
            **settings,
        }
        self._open(np.asarray(sizes, dtype=np.int32))

    def missing_blocks(self) -> list[int]:
        """Return the blocks that are still to be written."""
        return [block for block in range(self.num_blocks) if not self._block_file(block).exists()]

    def block_sentences(self, block: int) -> range:
        """Return the sentences of ``block``."""
        end = min((block + 1) * self.block_size, len(self.offsets) - 1)
        return range(block * self.block_size, end)

    def write_block(self, block: int, rows: TopKRows) -> None:
        """Write the rows of all sentences of ``block``, in order, and record it as finished."""
        where = _block_rows(self.offsets, block, self.block_size)
        for name in _ARRAYS:
            array = np.load(self.partial / f"{name}.npy", mmap_mode="r+")
            array[where] = getattr(rows, name)
            array.flush()
        checksum = _checksum(
            *(np.load(self.partial / f"{n}.npy", mmap_mode="r")[where] for n in _ARRAYS)
        )
        _write_durably(self._block_file(block), checksum)

    def finish(self, extra: Mapping[str, Any] | None = None) -> TopKStore:
        """Give the store its name and return it opened; ``extra`` goes to ``meta.json`` too.

        :raises StoreError: if blocks are missing.
        """
        missing = self.missing_blocks()
        if missing:
            raise StoreError(
                must_be("missing blocks", 0, len(missing), "Run the same command again.")
            )
        blocks = [self._block_file(block).read_text() for block in range(self.num_blocks)]
        meta = {**self._plan, **(extra or {}), "block_checksums": blocks}
        meta["signature"] = signature(meta)
        _write_durably(
            self.partial / "meta.json", json.dumps(meta, indent=1, ensure_ascii=False) + "\n"
        )
        (self.partial / "plan.json").unlink()
        shutil.rmtree(self.partial / "blocks")
        self.partial.rename(self.path)
        return TopKStore.open(self.path)

    def _open(self, sizes: np.ndarray) -> None:
        if self.path.exists():
            raise ConfigurationError(
                f"{self.path} exists already. Use --force to dump it again, or another --dest."
            )
        plan_file = self.partial / "plan.json"
        if plan_file.exists():
            self._check_same_plan(json.loads(plan_file.read_text()))
            return
        (self.partial / "blocks").mkdir(parents=True, exist_ok=True)
        np.save(self.partial / "sizes.npy", sizes)
        for name, (shape, dtype) in self._layout.items():
            np.lib.format.open_memmap(
                self.partial / f"{name}.npy", mode="w+", dtype=dtype, shape=shape
            )
        _write_durably(plan_file, json.dumps(self._plan, indent=1))

    def _check_same_plan(self, begun: dict[str, Any]) -> None:
        wanted = json.loads(json.dumps(self._plan))
        differences = [
            f"{key}: {begun.get(key)} before, {wanted.get(key)} now"
            for key in sorted({*begun, *wanted})
            if begun.get(key) != wanted.get(key)
        ]
        if differences:
            raise ConfigurationError(
                f"{self.partial} was begun with other settings ({'; '.join(differences)}). "
                "Use the same settings to continue it, or --force to start over."
            )

    def _block_file(self, block: int) -> Path:
        return self.partial / "blocks" / f"{block:06d}"


def remove_store(path: str | os.PathLike[str]) -> None:
    """Remove a store and what is left of an unfinished one, and nothing that is not a store.

    :raises ConfigurationError: if ``path`` is there and not a store.
    """
    folder = Path(path)
    for candidate in (folder, folder.with_name(folder.name + PARTIAL_SUFFIX)):
        if not candidate.exists():
            continue
        if not any((candidate / name).exists() for name in ("meta.json", "plan.json")):
            raise ConfigurationError(
                f"{candidate} is not a teacher store, so --force does not remove it."
            )
        shutil.rmtree(candidate)


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
    return "|".join([FORMAT, *(f"{name}:{value}" for name, value in parts.items())])


def _read_meta(folder: Path) -> dict[str, Any]:
    meta_file = folder / "meta.json"
    if not meta_file.exists():
        partial = folder.with_name(folder.name + PARTIAL_SUFFIX)
        hint = (
            f"{partial} is an unfinished one: run the same `bertkd dump-topk` again to complete it."
            if partial.exists()
            else "Make one with `bertkd dump-topk`."
        )
        raise StoreError(f"there is no teacher store at {folder} (no meta.json). {hint}")
    try:
        meta: dict[str, Any] = json.loads(meta_file.read_text())
        kind, version = meta["format"], meta["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{meta_file} is damaged ({error!r}). Dump it again with `bertkd dump-topk`."
        ) from error
    if (kind, version) != (FORMAT, FORMAT_VERSION):
        raise StoreError(
            must_be(
                f"format of {folder}",
                f"{FORMAT} version {FORMAT_VERSION}",
                f"{kind} version {version}",
            )
            + " Dump it again with this version of bertkd-fairseq."
        )
    return meta


def _id_dtype(num_symbols: int) -> np.dtype[Any]:
    return np.dtype(np.min_scalar_type(num_symbols - 1))


def _block_rows(offsets: np.ndarray, block: int, block_size: int) -> slice:
    last = min((block + 1) * block_size, len(offsets) - 1)
    return slice(int(offsets[block * block_size]), int(offsets[last]))


def _checksum(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def _write_durably(path: Path, text: str) -> None:
    """Write a small file so that it is either whole or absent, also after a power cut."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
