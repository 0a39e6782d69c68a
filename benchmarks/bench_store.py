"""How a large store reads: time to open, random sentences a second, memory over a pass.

    python benchmarks/bench_store.py --gigabytes 10

The store is made of sparse files in a temporary folder: nothing is in them, but they are as large as they say.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from fairseq.data import Dictionary, LanguagePairDataset

from bertkd_fairseq.data.teacher_topk_dataset import TeacherTopKDataset
from bertkd_fairseq.topk_store import (
    FILES,
    FORMAT,
    FORMAT_VERSION,
    TopKStore,
    bytes_per_token,
    store_layout,
)

K = 8
SYMBOLS = 10_000
SENTENCE = 25
BATCH = 160


def make_store(folder: Path, gigabytes: float) -> Path:
    """Write a store of sparse files, its sentences all of the same length."""
    path = folder / "topk"
    path.mkdir()
    sentences = int(gigabytes * 1e9 / bytes_per_token(K, SYMBOLS) / SENTENCE)
    for name, (shape, dtype) in store_layout(sentences * SENTENCE, sentences, K, SYMBOLS).items():
        array = np.lib.format.open_memmap(path / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
        if name == "offsets":
            array[:] = np.arange(sentences + 1) * SENTENCE
            array.flush()
    counts = {
        "k": K,
        "num_sentences": sentences,
        "num_tokens": sentences * SENTENCE,
        "num_symbols": SYMBOLS,
    }
    blocks = {"block_size": sentences, "block_checksums": [], "signature": "benchmark"}
    meta = {"format": FORMAT, "format_version": FORMAT_VERSION, **counts, **blocks}
    (path / "meta.json").write_text(json.dumps(meta))
    for name in FILES:
        (path / name).touch()
    return path


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


def open_seconds(path: Path, repeats: int = 9) -> float:
    """Return the median time to open the store."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        TopKStore.open(path)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def tokens_per_second(read, sentences: int, repeats: int = 5, batches: int = 200) -> float:
    """Return the median rate of reading batches of random sentences."""
    generator = np.random.default_rng(0)
    rates = []
    for _ in range(repeats):
        drawn = generator.integers(0, sentences, size=(batches, BATCH))
        start = time.perf_counter()
        for batch in drawn:
            read(batch)
        rates.append(batches * BATCH * SENTENCE / (time.perf_counter() - start))
    return statistics.median(rates)


def main() -> None:
    """Print the table and, with ``--json``, write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = make_store(Path(folder), args.gigabytes)
        small = make_store(Path(tempfile.mkdtemp(dir=folder)), args.gigabytes / 1000)
        store = TopKStore.open(path)
        dictionary, sizes = Dictionary(), np.full(len(store), SENTENCE)
        data = Sentences(len(store))
        pairs = LanguagePairDataset(data, sizes, dictionary, data, sizes, dictionary)
        dataset = TeacherTopKDataset(pairs, store, K)
        values = {
            "gigabytes": sum(file.stat().st_size for file in path.iterdir()) / 1e9,
            "open_ms": 1000 * open_seconds(path),
            "open_ms_of_a_thousandth": 1000 * open_seconds(small),
            "tokens_per_second": tokens_per_second(store.sentences, len(store)),
            "collated_tokens_per_second": tokens_per_second(
                lambda batch: dataset.collater([dataset[i] for i in batch]), len(store)
            ),
            "plain_collated_tokens_per_second": tokens_per_second(
                lambda batch: pairs.collater([pairs[i] for i in batch]), len(store)
            ),
        }
        before = memory_mib()
        for start in range(0, len(store), 10_000):
            store.sentences(np.arange(start, min(start + 10_000, len(store))))
        values["memory_growth_over_a_pass_mib"] = memory_mib() - before
    values["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print("\n".join(f"{name:<34}{value:>14,.2f}" for name, value in values.items()))
    if args.json:
        args.json.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
