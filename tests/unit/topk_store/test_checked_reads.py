"""Nothing is read from a teacher store that isn't as it was written, and nothing is checked twice."""

from __future__ import annotations

import multiprocessing
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertkd_fairseq.errors import StoreError
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store import store as topk_store
from bertkd_fairseq.topk_store.layout import FILES
from tests import changed_bytes
from tests.changed_bytes import MESSAGE, READERS, TRACEBACK, WRONG, changed_byte, read_sentences
from tests.conftest import run_command
from tests.unit.topk_store.test_store import SIZES, fill, make_writer

BLOCK_2 = "block 2 (sentences 6 to 6) of ids.npy, logprobs.npy, log_tail.npy or gold_logprob.npy"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of 7 sentences in blocks of 3."""
    writer = make_writer(tmp_path / "topk")
    fill(writer)
    return writer.finish().path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for tests that leave it as it is."""
    writer = make_writer(tmp_path_factory.mktemp("store") / "topk")
    fill(writer)
    return writer.finish().path


def message(read: Callable[[], Any], store: Path) -> str:
    """Return why reading calls ``store`` damaged."""
    with pytest.raises(StoreError) as error:
        read()
    start, end = (
        f"the teacher store {store} is damaged: ",
        ". Dump it again with `bertkd dump-topk --force`.",
    )
    text = str(error.value)
    assert text.startswith(start) and text.endswith(end)
    return text[len(start) : -len(end)]


@pytest.fixture
def checksums(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every checksum that is made while the test runs: ``block``, or the name of a file."""
    made: list[str] = []
    block_checksum, hash_file = topk_store.block_checksum, topk_store.hash_file
    monkeypatch.setattr(
        topk_store,
        "block_checksum",
        lambda *arrays: made.append("block") or block_checksum(*arrays),
    )
    monkeypatch.setattr(
        topk_store, "hash_file", lambda file: made.append(Path(file).name) or hash_file(file)
    )
    return made


def test_no_reader_takes_a_changed_byte_for_another(tmp_path: Path) -> None:
    """A sample of what ``python -m tests.changed_bytes`` counts."""
    data_bin = changed_bytes.make_data_bin(tmp_path / "data-bin")
    topk = changed_bytes.make_store(tmp_path / "topk", data_bin)
    counts = changed_bytes.count_outcomes(topk, data_bin, changes=12, seed=1)
    assert list(counts) == list(FILES)
    for name, by_reader in counts.items():
        assert list(by_reader) == list(READERS)
        for reader, count in by_reader.items():
            assert (count[WRONG], count[TRACEBACK], count.total()) == (0, 0, 12), (name, reader)
        assert by_reader["`--verify`"][MESSAGE] == 12, name
        if name not in ("crc32.npy", "SHA256SUMS"):  # what training may do without
            assert by_reader["training"][MESSAGE] == 12, name


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255)
)
def test_any_changed_byte_is_found_or_harmless(
    whole: Path, name: str, place: float, change: int
) -> None:
    right = read_sentences(whole, whole)
    file = whole / name
    with changed_byte(file, int(place * file.stat().st_size), change):
        try:
            assert read_sentences(whole, whole) == right
        except StoreError as error:
            assert "\n" not in str(error)
        try:
            assert TopKStore.open(whole).verify()
        except StoreError as error:
            assert "\n" not in str(error)


def test_a_block_is_checked_when_it_is_first_read(path: Path) -> None:
    with changed_byte(
        path / "log_tail.npy", -1, 1
    ):  # of the last sentence, in the last of 3 blocks
        store = TopKStore.open(path)
        for index in range(6):
            assert len(store.sentence(index)[0]) == SIZES[index]
        wanted = f"{BLOCK_2} differs from its checksum in meta.json"
        assert message(lambda: store.sentence(6), path) == wanted
        assert message(lambda: store.sentences(np.array([0, 6])), path) == wanted
        assert message(lambda: store.check(np.arange(7)), path) == wanted
        assert len(store.sentences(np.array([0, 5])).ids) == SIZES[0] + SIZES[5]


@pytest.mark.parametrize("name", ["offsets.npy", "crc32.npy"])
def test_an_index_is_checked_when_it_is_first_needed(path: Path, name: str) -> None:
    with changed_byte(path / name, -1, 1):
        store = TopKStore.open(path)
        read = (lambda: store.sizes) if name == "offsets.npy" else (lambda: store.crc32)
        assert message(read, path) == f"{name} differs from its checksum in SHA256SUMS"


@pytest.mark.parametrize("name", ["meta.json", "symbols.txt"])
def test_small_files_are_checked_when_the_store_is_opened(path: Path, name: str) -> None:
    # A digit of a number or of a symbol: it can be read as before.
    place = re.search(rb"\d\d", (path / name).read_bytes()).end() - 1  # type: ignore[union-attr]
    with changed_byte(path / name, place, 1):
        wanted = f"{name} differs from its checksum in SHA256SUMS"
        assert message(lambda: TopKStore.open(path), path) == wanted


def test_checksums_that_are_missing_are_named(path: Path) -> None:
    lines = (path / "SHA256SUMS").read_text().splitlines(keepends=True)
    (path / "SHA256SUMS").write_text("".join(lines[2:]))
    wanted = "SHA256SUMS has no checksum of ids.npy, logprobs.npy"
    assert message(lambda: TopKStore.open(path), path) == wanted


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        (b"'fortran_order': False", b"'fortran_order': True ", "((25, 2), '<f2', 'F', 100)"),
        (b"'<f2'", b"'>f2'", "((25, 2), '>f2', 'C', 100)"),
    ],
)
def test_numbers_in_another_order_are_refused(
    path: Path, old: bytes, new: bytes, seen: str
) -> None:
    file = path / "logprobs.npy"
    file.write_bytes(file.read_bytes().replace(old, new))
    assert message(lambda: TopKStore.open(path), path) == (
        "shape, type, order and bytes of logprobs.npy must be ((25, 2), '<f2', 'C', 100), "
        f"but are {seen}"
    )


def test_nothing_is_checked_twice_nor_before_it_is_needed(
    whole: Path, checksums: list[str]
) -> None:
    store = TopKStore.open(whole)
    assert checksums == ["meta.json", "symbols.txt"]
    store.sentence(0)
    assert checksums[2:] == ["offsets.npy", "block"]
    for _ in range(2):
        store.sentences(np.array([6, 2, 1, 6]))
    assert checksums[4:] == ["block"]
    store.check(np.arange(7))
    assert checksums[5:] == ["block"]
    store.check(np.arange(7))
    assert not checksums[6:]


def test_what_verify_has_read_is_not_checked_again(whole: Path, checksums: list[str]) -> None:
    store = TopKStore.open(whole)
    assert store.verify() == []
    store.check(np.arange(7))
    assert "block" not in checksums


def test_forked_processes_share_what_they_checked(whole: Path, checksums: list[str]) -> None:
    store = TopKStore.open(whole)
    child = multiprocessing.get_context("fork").Process(target=store.check, args=(np.arange(5),))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    store.check(np.arange(7))
    assert checksums.count("block") == 1


def test_another_process_checks_for_itself(path: Path) -> None:
    store = TopKStore.open(path)
    store.check(np.arange(7))
    data = pickle.dumps(store)
    with changed_byte(path / "ids.npy", -1, 1):
        other = pickle.loads(data)
        wanted = f"{BLOCK_2} differs from its checksum in meta.json"
        assert message(lambda: other.sentence(6), path) == wanted
    shutil.rmtree(path)
    with pytest.raises(StoreError) as error:
        pickle.loads(data).sentence(0)
    assert str(error.value) == (
        f"{path}/offsets.npy of a teacher store can't be read: No such file or directory. "
        "Check that it is there, that its disk works, and that you may read it."
    )


def test_threads_read_at_once(whole: Path) -> None:
    right = TopKStore.open(whole)
    wanted = [right.sentence(index) for index in range(7)]
    with ThreadPoolExecutor(8) as pool:
        store = TopKStore.open(whole)
        for index, rows in enumerate(pool.map(store.sentence, [*range(7)] * 20)):
            for seen, array in zip(rows, wanted[index % 7], strict=True):
                np.testing.assert_array_equal(seen, array)


@pytest.mark.parametrize("name", ["meta.json", "SHA256SUMS", "ids.npy"])
def test_a_file_that_cannot_be_read_is_named(path: Path, name: str) -> None:
    (path / name).unlink()
    (path / name).mkdir()
    with pytest.raises(StoreError) as error:
        TopKStore.open(path)
    assert str(error.value) == (
        f"{path}/{name} of a teacher store can't be read: Is a directory. "
        "Check that it is there, that its disk works, and that you may read it."
    )


def test_checked_reading_needs_numpy_alone(whole: Path) -> None:
    code = (
        "import sys; sys.modules.update(torch=None, fairseq=None)\n"
        "from bertkd_fairseq.topk_store import TopKStore\n"
        f"print(len(TopKStore.open({str(whole)!r}).sentence(4)[0]))"
    )
    assert run_command([sys.executable, "-c", code]).stdout == "5\n"
