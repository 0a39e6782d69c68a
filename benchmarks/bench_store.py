"""How a large store reads: time to open, what checking costs, random sentences a second, memory over a pass.

    OMP_NUM_THREADS=1 python benchmarks/bench_store.py --gigabytes 10 --disk-gigabytes 1

The large store is made of sparse files in a temporary folder: zeros, but as many as they say, with their checksums.
The one of ``--disk-gigabytes`` holds random numbers and is dropped from the cache, to count what is read of the disk
(Linux). A training of one epoch at ``--training-rate`` target tokens a second is what checking is compared with.
Where other work shares the machine, `--clock cpu` is steadier.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.data import Dictionary, LanguagePairDataset
from measuring import CLOCKS, write_json

from bertkd_fairseq.data.teacher_topk_dataset import TeacherTopKDataset
from bertkd_fairseq.dump.writer import TopKStoreWriter
from bertkd_fairseq.files import hash_file
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.layout import (
    FORMAT,
    FORMAT_VERSION,
    ROW_ARRAYS,
    block_checksum,
    bytes_per_token,
    store_layout,
)
from bertkd_fairseq.topk_store.rows import TopKRows

K = 8
SYMBOLS = 32_000
SENTENCE = 25
BLOCK_SIZE = 2048  # sentences, as `bertkd dump-topk` has it
BATCH = 160


class Unchecked(TopKStore):
    """A store as it would be without checksums."""

    def check(self, sentences: np.ndarray) -> None:
        """Take every block for whole."""


def count_sentences(gigabytes: float) -> int:
    """Return how many sentences a store of this size holds."""
    return int(gigabytes * 1e9 / bytes_per_token(K, SYMBOLS) / SENTENCE)


def make_sparse_store(folder: Path, gigabytes: float) -> Path:
    """Write a store of sparse files, its sentences all of the same length.

    SHA256SUMS leaves the arrays of rows out: hashing them takes a minute, and only ``--verify`` asks for it.
    """
    path = folder / "topk"
    path.mkdir(parents=True)
    sentences = count_sentences(gigabytes)
    layout = store_layout(sentences * SENTENCE, sentences, K, SYMBOLS)
    for name, (shape, dtype) in layout.items():
        array = np.lib.format.open_memmap(path / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
        if name == "offsets":
            array[:] = np.arange(sentences + 1) * SENTENCE
            array.flush()
    full, rest = divmod(sentences, BLOCK_SIZE)
    checksums = {
        size: block_checksum(
            *(
                np.zeros((size * SENTENCE, *layout[name][0][1:]), layout[name][1])
                for name in ROW_ARRAYS
            )
        )
        for size in (BLOCK_SIZE, rest)
    }
    meta = {
        **{"format": FORMAT, "format_version": FORMAT_VERSION, "signature": "benchmark"},
        **{"k": K, "num_sentences": sentences, "num_tokens": sentences * SENTENCE},
        **{"num_symbols": SYMBOLS, "block_size": BLOCK_SIZE},
        "block_checksums": [checksums[BLOCK_SIZE]] * full + [checksums[rest]] * (rest > 0),
    }
    (path / "meta.json").write_text(json.dumps(meta, indent=1))
    (path / "symbols.txt").write_text("".join(f"symbol{i}\n" for i in range(SYMBOLS)))
    digests = {f"{name}.npy": hashlib.sha256().hexdigest() for name in ROW_ARRAYS}
    for name in ("offsets.npy", "crc32.npy", "symbols.txt", "meta.json"):
        digests[name] = hash_file(path / name)
    (path / "SHA256SUMS").write_text("".join(f"{d}  {name}\n" for name, d in digests.items()))
    return path


def make_random_store(folder: Path, gigabytes: float) -> Path:
    """Write a store of random numbers, so that the disk has something to read."""
    sentences = count_sentences(gigabytes)
    writer = TopKStoreWriter(
        folder / "topk",
        k=K,
        sizes=np.full(sentences, SENTENCE),
        crc32=np.zeros(sentences, np.uint32),
        symbols=[f"symbol{i}" for i in range(SYMBOLS)],
        block_size=BLOCK_SIZE,
        settings={},
    )
    generator = np.random.default_rng(0)
    for block in writer.missing_blocks():
        tokens = len(writer.block_sentences(block)) * SENTENCE
        ids = generator.integers(0, SYMBOLS, size=(tokens, K), dtype=np.uint16)
        halves = generator.random((tokens, K + 2), dtype=np.float32).astype(np.float16)
        writer.write_block(block, TopKRows(ids, halves[:, :K], halves[:, K], halves[:, K + 1]))
    return writer.finish().path


class Sentences(torch.utils.data.Dataset):
    """As many equal sentences as the store has, made when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.sentence = torch.full((SENTENCE,), 5)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.sentence


def memory_mib() -> float:
    """Return the memory of this process that isn't file cache."""
    status = Path("/proc/self/status").read_text()
    return (
        next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
        / 1024
    )


class Bench:
    """Measures with one clock, so many times what can be measured again."""

    def __init__(self, clock: str, repeats: int) -> None:
        self.now = CLOCKS[clock]
        self.repeats = repeats

    def seconds(self, work: Callable[[], object]) -> float:
        """Return how long ``work`` takes."""
        start = self.now()
        work()
        return self.now() - start

    def opening(self, path: Path, small: Path) -> dict[str, float]:
        """Return what is spent before the first rows."""

        def open_ms(path: Path) -> float:
            spent = [self.seconds(lambda: TopKStore.open(path)) for _ in range(self.repeats)]
            return 1000 * statistics.median(spent)

        store = TopKStore.open(path)
        return {
            "blocks": len(store.meta["block_checksums"]),
            "open_ms": open_ms(path),
            "open_ms_of_a_thousandth": open_ms(small),
            "check_offsets_ms": 1000 * self.seconds(lambda: store.offsets),
        }

    def checking(self, store: TopKStore, training_rate: float) -> dict[str, float]:
        """Return what it costs to check every block once, and a batch when all are checked."""
        spent = self.seconds(lambda: store.check(np.arange(0, len(store), BLOCK_SIZE)))
        batch = np.random.default_rng(0).integers(0, len(store), size=BATCH)
        again = [self.seconds(lambda: store.check(batch)) for _ in range(999)]
        return {
            "check_seconds": spent,
            "check_percent_of_an_epoch": 100 * spent / (len(store) * SENTENCE / training_rate),
            "check_again_us_a_batch": 1e6 * statistics.median(again),
        }

    def reading(self, store: TopKStore, unchecked: TopKStore) -> dict[str, float]:
        """Return the rates of random sentences, all blocks checked, alone and through the collater."""
        dictionary, sizes = Dictionary(), np.full(len(store), SENTENCE)
        data = Sentences(len(store))
        pairs = LanguagePairDataset(data, sizes, dictionary, data, sizes, dictionary)
        reads: dict[str, Callable[[np.ndarray], object]] = {
            "read": store.sentences,
            "unchecked_read": unchecked.sentences,
            "collated": collated(TeacherTopKDataset(pairs, store, K)),
            "unchecked_collated": collated(TeacherTopKDataset(pairs, unchecked, K)),
            "plain_collated": collated(pairs),
        }
        rates = self.tokens_per_second(reads, len(store))
        values = {f"{name}_tokens_per_second": np.median(rate) for name, rate in rates.items()}
        for name in ("read", "collated"):
            ratio = np.median(rates[name] / rates[f"unchecked_{name}"])
            values[f"{name}_rate_to_unchecked"] = ratio
        return {name: float(value) for name, value in values.items()}

    def tokens_per_second(
        self,
        reads: dict[str, Callable[[np.ndarray], object]],
        sentences: int,
        batches: int = 100,
    ) -> dict[str, np.ndarray]:
        """Return the rates (repeats,) of reading batches of random sentences, the same for all ``reads``, in turn."""
        generator = np.random.default_rng(0)
        rates = {name: np.zeros(self.repeats) for name in reads}
        for repeat in range(self.repeats):
            drawn = generator.integers(0, sentences, size=(batches, BATCH))
            for name in list(reads)[:: -1 if repeat % 2 else 1]:
                spent = self.seconds(partial(read_all, reads[name], drawn))
                rates[name][repeat] = drawn.size * SENTENCE / spent
        return rates


def read_all(read: Callable[[np.ndarray], object], batches: Iterable[np.ndarray]) -> None:
    """Read one batch after the other."""
    for batch in batches:
        read(batch)


def collated(dataset: Any) -> Callable[[np.ndarray], object]:
    """Return what collates a batch of sentences, given their numbers."""
    return lambda batch: dataset.collater([dataset[index] for index in batch])


def disk_reads(path: Path, kind: type[TopKStore]) -> dict[str, float]:
    """Return seconds and bytes read of the disk for a pass over all sentences in random order, nothing in the cache."""
    os.sync()
    for file in path.iterdir():
        with open(file, "rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = storage_bytes()
    store = kind.open(path)
    order = np.random.default_rng(0).permutation(len(store))
    batches = np.array_split(order, len(order) // BATCH)
    spent = Bench("wall", 1).seconds(partial(read_all, store.sentences, batches))
    size = sum(file.stat().st_size for file in path.iterdir())
    name = "unchecked" if kind is Unchecked else "checked"
    return {
        f"disk_reads_to_size_{name}": (storage_bytes() - before) / size,
        f"disk_pass_seconds_{name}": spent,
    }


def storage_bytes() -> int:
    """Return the bytes that this process had the disk read."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def memory_growth(store: TopKStore) -> float:
    """Return by how many MiB memory grows over a pass over all sentences."""
    before = memory_mib()
    for start in range(0, len(store), 10_000):
        store.sentences(np.arange(start, min(start + 10_000, len(store))))
    return memory_mib() - before


def main() -> None:
    """Print the table and, with ``--json``, write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--disk-gigabytes", type=float, default=0)
    parser.add_argument("--training-rate", type=float, default=100_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = make_sparse_store(folder / "large", args.gigabytes)
        small = make_sparse_store(folder / "small", args.gigabytes / 1000)
        size = sum(file.stat().st_size for file in path.iterdir())
        bench, store = Bench(args.clock, args.repeats), TopKStore.open(path)
        values = {"gigabytes": size / 1e9, **bench.opening(path, small)}
        values |= bench.checking(store, args.training_rate)
        values |= bench.reading(store, Unchecked.open(path))
        values["memory_growth_over_a_pass_mib"] = memory_growth(store)
        if args.disk_gigabytes:
            path = make_random_store(folder, args.disk_gigabytes)
            for kind in (TopKStore, Unchecked):
                values |= disk_reads(path, kind)
    values["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print("\n".join(f"{name:<34}{value:>16,.2f}" for name, value in values.items()))
    write_json(args.json, values)


if __name__ == "__main__":
    main()
