"""Spread the training split of a data-bin over several: usage: shards.py DATA_BIN DEST NUMBER.

Pair i goes to the data-bin ``DEST/(i modulo NUMBER)``, so that corpora that follow each other are in all of them. Each
has all the rest of the data-bin as well. fairseq-train goes through ``DEST/0:DEST/1:...`` one an epoch.
"""

import shutil
import sys
from pathlib import Path

from fairseq.data.indexed_dataset import MMapIndexedDataset, MMapIndexedDatasetBuilder


def main(data_bin: str, dest: str, number: int) -> None:
    """Write the data-bins, over what an interrupted run has left."""
    shards = [Path(dest, str(shard)) for shard in range(number)]
    for shard in shards:
        rest = shutil.ignore_patterns("train.*")
        shutil.copytree(data_bin, shard, ignore=rest, dirs_exist_ok=True)
    for index in sorted(Path(data_bin).glob("train.*.idx")):
        whole = MMapIndexedDataset(str(index.with_suffix("")))
        prefixes = [shard / index.stem for shard in shards]
        builders = [MMapIndexedDatasetBuilder(f"{p}.bin", whole._index.dtype) for p in prefixes]
        for pair in range(len(whole)):
            builders[pair % number].add_item(whole[pair])
        for prefix, builder in zip(prefixes, builders, strict=True):
            builder.finalize(f"{prefix}.idx")
        print(f"{index.stem}: {len(whole)} sentences over {number} data-bins")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
