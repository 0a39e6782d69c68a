"""Several processes, and processes that are killed, end in the same store."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bertkd_fairseq.errors import StoreError
from bertkd_fairseq.topk_store import FILES, TopKStore
from tests.unit.test_topk_store import make_writer

WORKER = """
import sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])
from tests.unit.test_topk_store import make_rows, make_writer
sizes = np.arange(60) % 9 + 1
shard, shards = int(sys.argv[3]), int(sys.argv[4])
writer = make_writer(sys.argv[2], sizes, create=shard == 0)
for block in writer.missing_blocks():
    if block % shards == shard:
        where = writer.block_sentences(block)
        time.sleep(0.01)  # as if the teacher were thinking
        writer.write_block(block, make_rows(int(sizes[where].sum()), 2, 300, seed=block))
if not writer.missing_blocks():
    writer.finish()
"""


def start_worker(path: Path, shard: int = 0, shards: int = 1) -> subprocess.Popen[bytes]:
    checkout = str(Path(__file__).parents[2])
    argv = [sys.executable, "-c", WORKER, checkout, str(path), str(shard), str(shards)]
    return subprocess.Popen(argv, stderr=subprocess.DEVNULL)


def assert_same_store(first: Path, second: Path) -> None:
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert TopKStore.open(second).verify() == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "topk"
    assert start_worker(path).wait() == 0
    return path


def count_blocks(path: Path) -> int:
    try:
        return len(list(path.with_name("topk.partial").joinpath("blocks").glob("??????")))
    except FileNotFoundError:  # the last worker has just tidied up
        return 0


def test_killed_at_twenty_random_points_it_ends_in_the_same_store(
    tmp_path: Path, whole: Path
) -> None:
    """kill -9 at any time: nothing half-written is taken for whole, finished blocks stay."""
    generator = np.random.default_rng(0)
    path = tmp_path / "topk"
    finished = kills = 0
    for _ in range(20):
        with start_worker(path) as process:
            # Most of a worker's life is start-up; aim at the time when it writes, a block or two at a go.
            begun = time.monotonic()
            while process.poll() is None and count_blocks(path) <= finished:
                if time.monotonic() - begun > 30:
                    break
            time.sleep(generator.uniform(0, 0.012))
            process.kill()
        if path.exists():
            break
        kills += process.returncode == -9
        now = count_blocks(path)
        assert now >= finished
        finished = now
    else:
        assert start_worker(path).wait() == 0
    assert finished > 0 and kills >= 10
    assert_same_store(whole, path)


@pytest.mark.parametrize("shards", [2, 3])
def test_any_number_of_workers_writes_the_same_bytes(
    tmp_path: Path, whole: Path, shards: int
) -> None:
    workers = [start_worker(tmp_path / "topk", shard, shards) for shard in range(shards)]
    assert [worker.wait() for worker in workers] == [0] * shards
    assert_same_store(whole, tmp_path / "topk")
    assert [path.name for path in tmp_path.iterdir()] == ["topk"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError) as error:
        make_writer(tmp_path / "file" / "topk")
    assert str(error.value).startswith(f"{tmp_path}/file/topk.partial can't be made: ")
