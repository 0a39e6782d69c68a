"""Several processes, and processes that are killed, end in the same store."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bertkd_fairseq.dump import writer as topk_writer
from bertkd_fairseq.errors import ConfigurationError, OutputError, StoreError
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.folder import remove_store
from bertkd_fairseq.topk_store.layout import FILES
from tests.unit.topk_store.test_store import fill, make_rows, make_writer

WORKER = """
import sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])
from tests.unit.topk_store.test_store import make_rows, make_writer
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
    checkout = str(Path(__file__).parents[3])
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
        return len(list(path.with_name("topk.partial").glob("work-*/blocks/??????")))
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


def test_two_processes_of_one_number_share_no_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two containers may run processes of the same number; these two are even one process."""
    first, second = make_writer(tmp_path / "topk"), make_writer(tmp_path / "topk")
    rows = make_rows(8, 2, 300, seed=0)
    replace = Path.replace

    def while_the_other_writes(temporary: Path, target: Path) -> None:
        monkeypatch.setattr(Path, "replace", replace)
        second.write_block(0, rows)
        replace(temporary, target)

    monkeypatch.setattr(Path, "replace", while_the_other_writes)
    first.write_block(0, rows)
    assert first.missing_blocks() == [1, 2]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_process_whose_store_was_removed_leaves_its_successor_alone(tmp_path: Path) -> None:
    """``--force`` with other settings while an earlier dump is still at work: never rows of both."""
    path = tmp_path / "topk"
    before = make_writer(path)
    before.write_block(0, make_rows(8, 2, 300, seed=0))
    remove_store(path)
    with pytest.raises(StoreError) as error:
        before.write_block(1, make_rows(15, 2, 300, seed=1))
    assert str(error.value).endswith(
        " isn't there any more: another process has removed it, as DumpConfig.force does. Let only one of them run."
    )
    after = make_writer(path, settings={"precision": "bf16"})
    with pytest.raises(StoreError):
        before.write_block(1, make_rows(15, 2, 300, seed=1))
    assert after.missing_blocks() == [0, 1, 2]
    fill(after)
    after.finish()
    other = "was made with other settings \\(precision: bf16 before, fp32 now\\)"
    with pytest.raises(ConfigurationError, match=other):
        before.write_block(1, make_rows(15, 2, 300, seed=1))
    with pytest.raises(ConfigurationError, match=other):
        before.finish()
    assert TopKStore.open(path).verify() == []


def test_a_process_beside_one_that_finishes_the_same_store_agrees(tmp_path: Path) -> None:
    slow, quick = make_writer(tmp_path / "topk"), make_writer(tmp_path / "topk")
    fill(quick)
    quick.finish()
    slow.write_block(0, make_rows(8, 2, 300, seed=0))
    assert slow.missing_blocks() == []
    assert slow.finish().verify() == []
    assert os.listdir(tmp_path) == ["topk"]


def test_a_full_disk_at_the_end_keeps_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = make_writer(tmp_path / "topk")
    fill(writer)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(topk_writer, "flush", full)
        with pytest.raises(StoreError) as error:
            writer.finish()
        with pytest.raises(OutputError) as at_start:
            make_writer(tmp_path / "other")
    end = "can't be written: No space left on device. Make room there, or choose another place."
    assert str(at_start.value) == f"`{tmp_path}/other.partial` {end}"
    assert str(error.value) == (
        f"`{tmp_path}/topk` {end} The blocks in {tmp_path}/topk.partial are kept: the same command continues."
    )
    assert os.listdir(tmp_path) == ["topk.partial"] and not list(tmp_path.rglob("*.tmp"))
    assert make_writer(tmp_path / "topk").missing_blocks() == []
    writer.finish()
    assert os.listdir(tmp_path) == ["topk"]


def test_a_foreign_file_in_the_unfinished_store_stays_when_it_is_finished(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = make_writer(tmp_path / "topk")
    (tmp_path / "topk.partial" / "notes.txt").write_text("mine")
    fill(writer)
    assert writer.finish().verify() == []
    assert (tmp_path / "topk.partial" / "notes.txt").read_text() == "mine"
    partial = tmp_path / "topk.partial"
    assert caplog.messages == [
        f"{tmp_path}/topk is complete, but {partial} can't be removed: `{partial}` holds notes.txt, which "
        "`bertkd dump-topk` didn't write. Nothing was removed: move notes.txt away, or choose another folder."
    ]


def test_a_link_stays_and_the_store_it_leads_to_is_made_and_removed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "topk").symlink_to(tmp_path / "disk" / "big")
    for precision in ("fp32", "bf16"):
        remove_store(tmp_path / "topk")
        assert os.listdir(tmp_path / "disk") == []
        writer = make_writer(tmp_path / "topk", settings={"precision": precision})
        assert os.listdir(tmp_path / "disk") == ["big.partial"]
        fill(writer)
        writer.finish()
        assert TopKStore.open(tmp_path / "topk").meta["precision"] == precision
    assert sorted(os.listdir(tmp_path)) == ["disk", "topk"] and (tmp_path / "topk").is_symlink()
