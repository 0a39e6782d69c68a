"""Writing a teacher store: blocks in any order, each durable once written, the name only when all are there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.errors import ConfigurationError, StoreError, must_be
from bertkd_fairseq.topk_store import (
    CHECKSUM_FILE,
    FORMAT,
    FORMAT_VERSION,
    META_FILE,
    PARTIAL_SUFFIX,
    ROW_ARRAYS,
    SYMBOLS_FILE,
    TopKRows,
    TopKStore,
    block_checksum,
    block_rows,
    bytes_per_token,
    checksum_lines,
    signature,
    store_layout,
)

_PLAN_FILE = "plan.json"
_BLOCKS_FOLDER = "blocks"
_STORE_FOLDER = "store"


class TopKStoreWriter:
    """A store under construction: a folder ``<path>.partial`` with ``store/`` and what is known of it::

        plan.json      the settings that a rerun has to share
        blocks/000017  the checksum of a finished block
        store/         the arrays, renamed to ``<path>`` when all blocks are there

    Any number of processes on a shared file system may have it open at once, each with blocks of its own.

    ``sizes`` (sentences,): target tokens of each sentence, EOS included. ``crc32`` (sentences,):
    checksums of the pairs (:func:`bertkd_fairseq.fingerprint.pair_checksum`). ``symbols``: the target
    dictionary. ``settings``: whatever determines the rows, written to ``meta.json``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        k: int,
        sizes: np.ndarray,
        crc32: np.ndarray,
        symbols: Sequence[str],
        block_size: int,
        settings: Mapping[str, Any],
    ) -> None:
        """Create the store, or continue one that was begun with the same settings.

        :raises ConfigurationError: if ``path`` exists, or was begun with other settings.
        :raises StoreError: if the folder can't be written, or the disk hasn't enough room.
        """
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + PARTIAL_SUFFIX)
        self.block_size = block_size
        self.offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])  # (sentences + 1,)
        self.num_blocks = -(-len(sizes) // block_size)
        tokens = int(self.offsets[-1])
        self._layout = store_layout(tokens, len(sizes), k, len(symbols))
        self._texts = {SYMBOLS_FILE: "".join(f"{symbol}\n" for symbol in symbols)}
        self._arrays = {"offsets": self.offsets, "crc32": crc32}
        self._plan: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "k": k,
            "num_sentences": len(sizes),
            "num_tokens": tokens,
            "num_symbols": len(symbols),
            "dtypes": {name: dtype.name for name, (_, dtype) in self._layout.items()},
            "bytes_per_token": bytes_per_token(k, len(symbols)),
            "block_size": block_size,
            **settings,
        }
        self._open()

    def missing_blocks(self) -> list[int]:
        """Return the blocks that are still to be written."""
        return [block for block in range(self.num_blocks) if not self._block_file(block).exists()]

    def block_sentences(self, block: int) -> range:
        """Return the sentences of ``block``."""
        end = min((block + 1) * self.block_size, len(self.offsets) - 1)
        return range(block * self.block_size, end)

    def write_block(self, block: int, rows: TopKRows) -> None:
        """Write the rows of all sentences of ``block``, in order, and record it as finished."""
        where = block_rows(self.offsets, block, self.block_size)
        written = []
        for name in ROW_ARRAYS:
            array = np.load(self._store / f"{name}.npy", mmap_mode="r+")
            array[where] = getattr(rows, name)
            array.flush()
            written.append(array[where])
        self._write(self._block_file(block), block_checksum(*written))

    def finish(self, extra: Mapping[str, Any] | None = None) -> TopKStore:
        """Give the store its name and return it opened; ``extra`` goes to ``meta.json`` too.

        Where several processes find all blocks there, one of them does it and the others agree.

        :raises StoreError: if blocks are missing.
        """
        try:
            self._finish(extra)
        except FileNotFoundError:
            if not self.path.exists():
                raise
        return TopKStore.open(self.path)

    def _finish(self, extra: Mapping[str, Any] | None) -> None:
        missing = self.missing_blocks()
        if missing:
            raise StoreError(
                must_be("missing blocks", 0, len(missing), "Run the same command again.")
            )
        blocks = [self._block_file(block).read_text() for block in range(self.num_blocks)]
        meta = {**self._plan, **(extra or {}), "block_checksums": blocks}
        meta["signature"] = signature(meta)
        meta_text = json.dumps(meta, indent=1, ensure_ascii=False) + "\n"
        self._write(self._store / META_FILE, meta_text)
        self._write(self._store / CHECKSUM_FILE, "".join(checksum_lines(self._store).values()))
        self._store.rename(self.path)
        shutil.rmtree(self.partial, ignore_errors=True)

    def _open(self) -> None:
        if self.path.exists():
            raise ConfigurationError(
                f"{self.path} exists already. Use --force to dump it again, or another --dest."
            )
        plan_file = self.partial / _PLAN_FILE
        if not plan_file.exists():
            try:
                self._create()
            except OSError as error:
                # Another process may have been quicker, which is as good.
                if not plan_file.exists():
                    raise StoreError(f"{self.partial} can't be made: {error}.") from error
        self._check_same_plan(json.loads(plan_file.read_text("utf-8")))

    def _create(self) -> None:
        """Make the folder under another name and rename it: nobody ever sees half of it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{self.path.name}.", dir=self.path.parent
        ) as name:
            new = Path(name) / "new"
            store = new / _STORE_FOLDER
            store.mkdir(parents=True)
            (new / _BLOCKS_FOLDER).mkdir()
            for array, (shape, dtype) in self._layout.items():
                file = store / f"{array}.npy"
                values = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
                if array in self._arrays:
                    values[:] = self._arrays[array]
                    values.flush()
                _allocate(file)
            for text_file, text in self._texts.items():
                (store / text_file).write_text(text, "utf-8", newline="\n")
            (new / _PLAN_FILE).write_text(json.dumps(self._plan, indent=1), "utf-8")
            new.rename(self.partial)

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

    def _write(self, path: Path, text: str) -> None:
        """Write a small file so that it is either whole or absent, also after a power cut."""
        # Not beside `path`: what a killed process leaves behind must not end up in the store.
        temporary = self.partial / f".{path.name}.{os.getpid()}.tmp"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @property
    def _store(self) -> Path:
        return self.partial / _STORE_FOLDER

    def _block_file(self, block: int) -> Path:
        return self.partial / _BLOCKS_FOLDER / f"{block:06d}"


def remove_store(path: str | os.PathLike[str]) -> None:
    """Remove a store and what is left of an unfinished one, and nothing that is not a store.

    :raises ConfigurationError: if ``path`` is there and not a store.
    """
    folder = Path(path)
    for candidate in (folder, folder.with_name(folder.name + PARTIAL_SUFFIX)):
        if not candidate.exists():
            continue
        if not any((candidate / name).exists() for name in (META_FILE, _PLAN_FILE)):
            raise ConfigurationError(
                f"{candidate} is not a teacher store, so --force does not remove it."
            )
        shutil.rmtree(candidate)


def _allocate(file: Path) -> None:
    """Take the disk's room now: a full disk would otherwise kill the process in mid-write (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        with open(file, "r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
