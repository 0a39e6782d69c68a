"""Write a teacher store block by block. A written block is safe on disk; the store gets its name when all are there."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.dump.config import DumpConfig
from bertkd_fairseq.dump.scores import (
    SCORES,
    TeacherScore,
    add_scores,
    from_records,
    to_records,
)
from bertkd_fairseq.errors import (
    BertKDError,
    ConfigurationError,
    OutputError,
    StoreError,
    differences,
    must_be,
    raise_all,
)
from bertkd_fairseq.files import (
    flush,
    holds_something,
    read_marker,
    real_path,
    remove_own,
    room_beside,
    writing,
)
from bertkd_fairseq.settings import named
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.folder import (
    BLOCKS_FOLDER,
    COMMAND,
    PLAN_FILE,
    STORE_FOLDER,
    UNFINISHED_FILES,
    WORK,
    partial_of,
    store_problems,
    wait_until_begun,
)
from bertkd_fairseq.topk_store.layout import (
    CHECKSUM_FILE,
    FORMAT,
    FORMAT_VERSION,
    META_FILE,
    ROW_ARRAYS,
    SYMBOLS_FILE,
    block_checksum,
    block_rows,
    bytes_per_token,
    checksum_lines,
    signature,
    store_layout,
)
from bertkd_fairseq.topk_store.rows import TopKRows

log = logging.getLogger(__name__)

_FORCE = named(DumpConfig, "force")


class TopKStoreWriter:
    """A store under construction, in a folder ``<path>.partial``::

        plan.json                  the settings that a rerun has to share, the name of the work folder
        work-RANDOM/blocks/000017  the checksum of a finished block
        work-RANDOM/store/         the arrays, renamed to ``<path>`` when all blocks are there

    Any number of processes on a shared file system may work on it at once, each on blocks of its own. If there is a
    complete store with the same settings already, no blocks are missing. The random name protects a new folder from a
    process whose own folder was removed: that process can't write into the new one.

    If ``path`` is a symbolic link, the link stays and the store is made where it leads. An empty folder at ``path`` is
    replaced.

    ``sizes`` (sentences,): target tokens of each sentence, EOS included.
    ``crc32`` (sentences,): checksums of the pairs (:func:`bertkd_fairseq.data.store_match.pair_checksum`).
    ``symbols``: the target dictionary.
    ``settings``: everything that determines the rows; it is written to ``meta.json``.
    ``create``: True for the one process that makes the folder. The others wait for it.
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

        :raises ConfigurationError: if ``path`` or its ``.partial`` isn't a store, or was begun with other settings.
        :raises StoreError: if the folder can't be written, or if the disk doesn't have enough room.
        """
        self.path = real_path(path)
        self.partial = partial_of(self.path)
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
        # Checked only now, because another process may finish the store, and remove its blocks' files, at any moment.
        return [] if self._complete() else missing

    def block_sentences(self, block: int) -> range:
        """Return the sentences of ``block``."""
        end = min((block + 1) * self.block_size, len(self.offsets) - 1)
        return range(block * self.block_size, end)

    def write_block(self, block: int, rows: TopKRows, scores: Sequence[TeacherScore] = ()) -> None:
        """Write the rows of all sentences of ``block``, in order, and record the block as finished.

        The ``scores`` of its teachers are added up over all blocks when the store is finished. If another process has
        finished the store meanwhile, nothing is written.

        :raises StoreError: if another process has removed the unfinished store.
        :raises ConfigurationError: if another process has made a store with other settings instead.
        """
        try:
            self._write_block(block, rows, scores)
        except FileNotFoundError as error:
            if not self._complete():
                raise StoreError(
                    f"{self._work} isn't there any more: another process has removed it, as {_FORCE} does. "
                    "Let only one of them run."
                ) from error
            self._open_complete()

    def _write_block(self, block: int, rows: TopKRows, scores: Sequence[TeacherScore]) -> None:
        where = block_rows(self.offsets, block, self.block_size)
        arrays = []
        for name in ROW_ARRAYS:
            values = getattr(rows, name)
            if values is None or len(values) != where.stop - where.start:
                seen = None if values is None else len(values)
                raise ValueError(must_be(f"rows.{name}", f"{where.stop - where.start} rows", seen))
            array = np.ascontiguousarray(values, dtype=self._layout[name][1])
            # Only these bytes are written. A memory map would write whole pages back, and on a network file system
            # these could overwrite rows of another process.
            with open(self._store / f"{name}.npy", "r+b", buffering=0) as file:
                row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
                file.seek(_data_offset(file) + where.start * row_bytes)
                _write_all(file, array)
                os.fsync(file.fileno())
            arrays.append(array)
        lines = [block_checksum(*arrays)]
        if scores:
            lines.append(json.dumps(to_records(scores)))
        self._write(self._block_file(block), "\n".join(lines))

    def finish(self) -> TopKStore:
        """Give the store its name, and return it opened.

        If several processes find all blocks finished, one of them renames the store and the others open it.

        :raises StoreError: if blocks are missing, if they aren't on the disk as they were written, or if the store
            can't be written.
        :raises ConfigurationError: if another process has made a store with other settings there.
        """
        if not self._complete():
            try:
                with writing(self.path):
                    self._finish()
            except StoreError:
                if not self._complete():
                    raise
            except OutputError as error:
                if not self._complete():
                    kept = f"{error} The blocks in {self.partial} are kept: the same command continues."
                    raise StoreError(kept) from error
        raise_all(store_problems(self.path))
        store = self._open_complete()
        if store.version != FORMAT_VERSION:
            message = (
                "%s is complete, of format %d: without what format %d has more. %s makes it anew"
            )
            log.info(message, self.path, store.version, FORMAT_VERSION, _FORCE)
        return store

    def _open_complete(self) -> TopKStore:
        store = TopKStore.open(self.path)
        self._check_same_plan(self.path, store.meta, complete=True)
        return store

    def _finish(self) -> None:
        missing = self.missing_blocks()
        if missing:
            raise StoreError(
                must_be("missing blocks", 0, len(missing), "Run the same command again.")
            )
        texts = [self._block_file(block).read_text() for block in range(self.num_blocks)]
        blocks, scored = zip(*((text + "\n").split("\n")[:2] for text in texts), strict=True)
        self._check_blocks(blocks)
        meta = {**self._plan, "block_checksums": blocks}
        if all(scored):
            meta[SCORES] = to_records(add_scores(from_records(json.loads(s)) for s in scored))
        meta["signature"] = signature(meta)
        meta_text = json.dumps(meta, indent=1, ensure_ascii=False) + "\n"
        self._write(self._store / META_FILE, meta_text)
        self._write(self._store / CHECKSUM_FILE, "".join(checksum_lines(self._store).values()))
        self._store.rename(self.path)
        self._remove_partial()

    def _remove_partial(self) -> None:
        try:
            remove_own(self.partial, UNFINISHED_FILES, COMMAND)
        except FileNotFoundError:
            pass  # another process has done it
        except BertKDError as error:
            log.warning(
                "%s is complete, but %s can't be removed: %s", self.path, self.partial, error
            )

    def _check_blocks(self, checksums: Sequence[str]) -> None:
        """Read all blocks again. A block that isn't as it was written counts as missing again.

        :raises StoreError: if there is such a block.
        """
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
        raise_all(store_problems(self.path))
        plan_file = self.partial / PLAN_FILE
        if create and not self._complete() and not plan_file.exists():
            self._begin(plan_file)
        wait_until_begun(self.path)
        # The plan is read before this check, because another process may finish the store at any moment.
        begun = read_marker(plan_file)
        self._work = self.partial / begun.pop(WORK, "")
        if self._complete():
            self._open_complete()
        else:
            self._check_same_plan(self.partial, begun)

    def _begin(self, plan_file: Path) -> None:
        """Make the folder, unless another process makes it first."""
        try:
            with writing(self.partial):
                if self.partial.exists():  # a process was killed while it removed this folder
                    remove_own(self.partial, UNFINISHED_FILES, COMMAND)
                self._create()
        except OutputError:
            if not plan_file.exists() and not self._complete():
                raise

    def _create(self) -> None:
        """Make the folder under another name and rename it, so that no process sees it incomplete."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with room_beside(self.partial) as room:
            new = room / "new"
            work = new / f"{WORK}-{uuid.uuid4().hex}"
            store = work / STORE_FOLDER
            store.mkdir(parents=True)
            (work / BLOCKS_FOLDER).mkdir()
            for array, (shape, dtype) in self._layout.items():
                file = store / f"{array}.npy"
                if array in self._arrays:
                    np.save(file, self._arrays[array].astype(dtype))
                else:
                    np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
                    _allocate(file)
            (store / SYMBOLS_FILE).write_text(self._symbols, "utf-8", newline="\n")
            plan = json.dumps({WORK: work.name, **self._plan}, indent=1)
            (new / PLAN_FILE).write_text(plan, "utf-8")
            flush(new)
            new.rename(self.partial)

    def _check_same_plan(
        self, folder: Path, begun: dict[str, Any], *, complete: bool = False
    ) -> None:
        left_out = {"block_checksums", "signature", SCORES}
        if (
            begun.get("format_version") != FORMAT_VERSION
        ):  # which says what both of them follow from
            left_out |= {"dtypes", "bytes_per_token"} | ({"format_version"} if complete else set())
        before, now = (
            {key: value for key, value in plan.items() if key not in left_out}
            for plan in (begun, self._plan)
        )
        if differ := differences(before, now):
            raise ConfigurationError(
                f"{folder} was made with other settings ({differ}). "
                f"Use the same settings, another folder, or {_FORCE} to start over."
            )

    def _write(self, path: Path, text: str) -> None:
        """Write a small file so that it is either whole or absent, even after a power cut."""
        # The temporary file isn't beside `path`, because a killed process would leave it in the store. Its name isn't
        # made from the number of the process, which may be the same in two containers.
        temporary = self._work / f".{path.name}.{uuid.uuid4().hex}.tmp"
        try:
            temporary.write_text(text, "utf-8")
            flush(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @property
    def _store(self) -> Path:
        return self._work / STORE_FOLDER

    def _block_file(self, block: int) -> Path:
        return self._work / BLOCKS_FOLDER / f"{block:06d}"

    def _complete(self) -> bool:
        # The folder gets its name when it is complete. An empty folder counts as none.
        return holds_something(self.path)


def _data_offset(file: Any) -> int:
    """Return the offset at which the numbers of an opened .npy file begin."""
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
    """Reserve room on the disk now, so that a full disk is noticed before anything is computed."""
    if hasattr(os, "posix_fallocate"):
        with open(file, "r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
