"""Writing a teacher store: blocks in any order, each durable once written, the name only when all are there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
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
_PATIENCE_SECONDS = 600.0


class TopKStoreWriter:
    """A store under construction: a folder ``<path>.partial`` with ``store/`` and what is known of it::

        plan.json      the settings that a rerun has to share
        blocks/000017  the checksum of a finished block
        store/         the arrays, renamed to ``<path>`` when all blocks are there

    Any number of processes on a shared file system may have it open at once, each with blocks of its own.
    Where the store is complete already and of the same settings, there are no missing blocks.

    ``sizes`` (sentences,): target tokens of each sentence, EOS included. ``crc32`` (sentences,):
    checksums of the pairs (:func:`bertkd_fairseq.fingerprint.pair_checksum`). ``symbols``: the target
    dictionary. ``settings``: whatever determines the rows, written to ``meta.json``. ``create``: one of
    several processes makes the folder, the others wait for it.
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
        create: bool = True,
    ) -> None:
        """Create the store, or continue one that was begun with the same settings.

        :raises ConfigurationError: if ``path`` is something else, or was begun with other settings.
        :raises StoreError: if the folder can't be written, or the disk hasn't enough room.
        """
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + PARTIAL_SUFFIX)
        self.block_size = block_size
        self.offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])  # (sentences + 1,)
        self.num_blocks = -(-len(sizes) // block_size)
        tokens = int(self.offsets[-1])
        self._layout = store_layout(tokens, len(sizes), k, len(symbols))
        self._symbols = "".join(f"{symbol}\n" for symbol in symbols)
        self._arrays = {"offsets": self.offsets, "crc32": crc32}
        plan = {
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
        self._plan: dict[str, Any] = json.loads(json.dumps(plan))
        self._open(create)

    def missing_blocks(self) -> list[int]:
        """Return the blocks that are still to be written."""
        missing = [
            block for block in range(self.num_blocks) if not self._block_file(block).exists()
        ]
        # Asked in this order: another process may finish the store at any moment.
        return [] if self.path.exists() else missing

    def block_sentences(self, block: int) -> range:
        """Return the sentences of ``block``."""
        end = min((block + 1) * self.block_size, len(self.offsets) - 1)
        return range(block * self.block_size, end)

    def write_block(self, block: int, rows: TopKRows) -> None:
        """Write the rows of all sentences of ``block``, in order, and record it as finished."""
        where = block_rows(self.offsets, block, self.block_size)
        arrays = []
        for name in ROW_ARRAYS:
            array = np.ascontiguousarray(getattr(rows, name), dtype=self._layout[name][1])
            # Exactly these bytes: a memory map writes whole pages back, on a network also the neighbour's rows.
            with open(self._store / f"{name}.npy", "r+b", buffering=0) as file:
                row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
                file.seek(_data_offset(file) + where.start * row_bytes)
                _write_all(file, array)
                os.fsync(file.fileno())
            arrays.append(array)
        self._write(self._block_file(block), block_checksum(*arrays))

    def finish(self) -> TopKStore:
        """Give the store its name and return it opened.

        Where several processes find all blocks there, one of them does it and the others agree.

        :raises StoreError: if blocks are missing, or aren't on the disk as they were written.
        """
        if not self.path.exists():
            try:
                self._finish()
            except (FileNotFoundError, StoreError):
                if not self.path.exists():
                    raise
        return TopKStore.open(self.path)

    def _finish(self) -> None:
        missing = self.missing_blocks()
        if missing:
            raise StoreError(
                must_be("missing blocks", 0, len(missing), "Run the same command again.")
            )
        blocks = [self._block_file(block).read_text() for block in range(self.num_blocks)]
        self._check_blocks(blocks)
        meta = {**self._plan, "block_checksums": blocks}
        meta["signature"] = signature(meta)
        meta_text = json.dumps(meta, indent=1, ensure_ascii=False) + "\n"
        self._write(self._store / META_FILE, meta_text)
        self._write(self._store / CHECKSUM_FILE, "".join(checksum_lines(self._store).values()))
        self._store.rename(self.path)
        shutil.rmtree(self.partial, ignore_errors=True)

    def _check_blocks(self, checksums: Sequence[str]) -> None:
        """Read all blocks again; one that isn't as it was written has to be written anew."""
        arrays = [np.load(self._store / f"{name}.npy", mmap_mode="r") for name in ROW_ARRAYS]
        for block, expected in enumerate(checksums):
            where = block_rows(self.offsets, block, self.block_size)
            if block_checksum(*(array[where] for array in arrays)) != expected:
                self._block_file(block).unlink(missing_ok=True)
                raise StoreError(
                    f"block {block} of {self.partial} isn't on the disk as it was written. "
                    "Check the disk and run the same command again."
                )

    def _open(self, create: bool) -> None:
        if self.path.exists():
            self._check_same_plan(self.path, TopKStore.open(self.path).meta)
            return
        plan_file = self.partial / _PLAN_FILE
        if create and not plan_file.exists():
            try:
                self._create()
            except OSError as error:
                # Another process may have been quicker, which is as good.
                if not plan_file.exists():
                    reason = error.strerror or str(error)
                    raise StoreError(
                        f"{self.partial} can't be made: {reason}. Choose a folder that can be written."
                    ) from error
        _wait_for(self.partial, self.path)
        if not self.path.exists():
            self._check_same_plan(self.partial, json.loads(plan_file.read_text("utf-8")))

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
            (store / SYMBOLS_FILE).write_text(self._symbols, "utf-8", newline="\n")
            with open(new / _PLAN_FILE, "w", encoding="utf-8") as plan_file:
                json.dump(self._plan, plan_file, indent=1)
                plan_file.flush()
                os.fsync(plan_file.fileno())
            new.rename(self.partial)

    def _check_same_plan(self, folder: Path, begun: dict[str, Any]) -> None:
        keys = {*begun, *self._plan} - {"block_checksums", "signature"}
        differences = [
            f"{key}: {begun.get(key)} before, {self._plan.get(key)} now"
            for key in sorted(keys)
            if begun.get(key) != self._plan.get(key)
        ]
        if differences:
            raise ConfigurationError(
                f"{folder} was made with other settings ({'; '.join(differences)}). "
                "Use the same settings, another --dest, or --force to start over."
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


def begun_settings(path: str | os.PathLike[str], *, wait: bool = False) -> dict[str, Any] | None:
    """Return the settings of the store at ``path``, finished or not, or None where nothing was begun.

    :raises StoreError: with ``wait``, if no other process begins it.
    """
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    if wait:
        _wait_for(partial, path)
    for file in (path / META_FILE, partial / _PLAN_FILE):
        if _is_ours(file):
            begun: dict[str, Any] = json.loads(file.read_text("utf-8"))
            return begun
    return None


def remove_store(path: str | os.PathLike[str]) -> None:
    """Remove a store and what is left of an unfinished one, and nothing that is not a store.

    :raises ConfigurationError: if ``path`` is there and not a store; nothing is removed then.
    """
    folder = Path(path)
    partial = folder.with_name(folder.name + PARTIAL_SUFFIX)
    marks = {folder: folder / META_FILE, partial: partial / _PLAN_FILE}
    found = [candidate for candidate in marks if candidate.exists()]
    for candidate in found:
        if not _is_ours(marks[candidate]):
            raise ConfigurationError(
                f"{candidate} is not a teacher store, so --force does not remove it."
            )
    for candidate in found:
        shutil.rmtree(candidate)


def _wait_for(partial: Path, path: Path) -> None:
    """Wait until another process has begun the store."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (partial / _PLAN_FILE).exists() and not path.exists():
        if time.monotonic() > deadline:
            raise StoreError(
                f"{partial} isn't there after {_PATIENCE_SECONDS:.0f} seconds. "
                "Start the process with --shard-id 0, which makes it."
            )
        time.sleep(0.1)


def _is_ours(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_text("utf-8"))["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _data_offset(file: Any) -> int:
    """Return where the numbers of an opened .npy file begin."""
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    read(file)
    return int(file.tell())


def _write_all(file: Any, array: np.ndarray) -> None:
    left = memoryview(array.reshape(-1).view(np.uint8).data)
    while left:
        left = left[file.write(left) :]


def _allocate(file: Path) -> None:
    """Take the disk's room now, so that a full disk is known before any compute is spent."""
    if hasattr(os, "posix_fallocate"):
        with open(file, "r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
