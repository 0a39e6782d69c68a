"""The store on disk: what goes in comes out, and nothing half-written is taken for whole."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertkd_fairseq.dump.writer import TopKStoreWriter
from bertkd_fairseq.errors import ConfigurationError, StoreError
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.joined import JoinedStores
from bertkd_fairseq.topk_store.layout import (
    ARRAYS_OF_FORMAT,
    block_checksum,
    block_rows,
    bytes_per_token,
    checksum_lines,
    files_of_format,
)
from bertkd_fairseq.topk_store.rows import TopKRows

SIZES = np.array([3, 1, 4, 1, 5, 9, 2])


def make_rows(num_tokens: int, k: int, num_symbols: int, seed: int) -> TopKRows:
    generator = np.random.default_rng(seed)
    logprobs = -np.sort(generator.exponential(size=(num_tokens, k)), axis=1)
    return TopKRows(
        ids=generator.integers(0, num_symbols, size=(num_tokens, k)),
        logprobs=logprobs.astype(np.float16),
        log_tail=(-generator.exponential(size=num_tokens)).astype(np.float16),
        gold_logprob=(-generator.exponential(size=num_tokens)).astype(np.float16),
    )


def make_writer(path: Path, sizes: np.ndarray = SIZES, **changes: Any) -> TopKStoreWriter:
    options = {"k": 2, "block_size": 3, "settings": {"precision": "fp32"}}
    symbols = [f"w{symbol}" for symbol in range(changes.pop("num_symbols", 300))]
    crc32 = np.arange(len(sizes), dtype=np.uint32) + 2**31
    return TopKStoreWriter(
        path, sizes=sizes, crc32=crc32, symbols=symbols, **{**options, **changes}
    )


def fill(writer: TopKStoreWriter, num_symbols: int = 300, k: int = 2) -> list[TopKRows]:
    written = []
    for block in range(writer.num_blocks):
        sentences = writer.block_sentences(block)
        tokens = int(writer.offsets[sentences[-1] + 1] - writer.offsets[sentences[0]])
        written.append(make_rows(tokens, k, num_symbols, seed=block))
    for block in writer.missing_blocks()[::-1]:  # any order
        writer.write_block(block, written[block])
    return written


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    k=st.integers(1, 4),
    num_symbols=st.sampled_from([5, 256, 257, 65_536, 65_537]),
    block_size=st.integers(1, 14),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    k: int,
    num_symbols: int,
    block_size: int,
) -> None:
    path = tmp_path_factory.mktemp("store") / "topk"
    writer = make_writer(path, np.array(sizes), k=k, num_symbols=num_symbols, block_size=block_size)
    written = fill(writer, num_symbols, k)
    store = writer.finish()
    ids = np.concatenate([rows.ids for rows in written])
    logprobs = np.concatenate([rows.logprobs for rows in written])
    start = 0
    for sentence, length in enumerate(sizes):
        got = store.sentence(sentence)
        np.testing.assert_array_equal(got[0], ids[start : start + length])
        np.testing.assert_array_equal(got[1], logprobs[start : start + length])
        start += length
    rows = store.sentences(np.arange(len(sizes)))
    for name in ("log_tail", "gold_logprob"):
        wanted = np.concatenate([getattr(each, name) for each in written])
        np.testing.assert_array_equal(getattr(rows, name), wanted)
    np.testing.assert_array_equal(store.sizes, sizes)
    np.testing.assert_array_equal(store.crc32, np.arange(len(sizes)) + 2**31)
    assert store.symbols() == [f"w{symbol}" for symbol in range(num_symbols)]
    assert store.verify() == []


@pytest.mark.parametrize(
    ("num_symbols", "dtype", "size"),
    [(256, "uint8", 28), (257, "uint16", 36), (65_536, "uint16", 36), (65_537, "uint32", 52)],
)
def test_ids_take_the_smallest_type(
    tmp_path: Path, num_symbols: int, dtype: str, size: int
) -> None:
    writer = make_writer(tmp_path / "topk", k=8, num_symbols=num_symbols)
    fill(writer, num_symbols, k=8)
    assert writer.finish().sentence(0)[0].dtype == np.dtype(dtype)
    assert bytes_per_token(8, num_symbols) == size


def test_many_sentences_at_once_in_any_order(tmp_path: Path) -> None:
    writer = make_writer(tmp_path / "topk")
    log_tail = np.concatenate([rows.log_tail for rows in fill(writer)])
    store = writer.finish()
    wanted = np.array([5, 0, 6, 5])
    rows = store.sentences(wanted)
    np.testing.assert_array_equal(rows.ids, np.concatenate([store.sentence(i)[0] for i in wanted]))
    np.testing.assert_array_equal(
        rows.logprobs, np.concatenate([store.sentence(i)[1] for i in wanted])
    )
    tails = [log_tail[store.offsets[i] : store.offsets[i + 1]] for i in wanted]
    np.testing.assert_array_equal(rows.log_tail, np.concatenate(tails))
    assert store.sentences(np.array([], dtype=np.int64)).ids.shape == (0, 2)


def test_fewer_entries_leave_their_mass_to_the_tail() -> None:
    mass = np.array([[0.5, 0.2, 0.1, 0.2], [1.0, 0.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        logs = np.log(mass).astype(np.float16)
    gold = np.array([-3, -4], np.float16)
    rows = TopKRows(np.arange(6).reshape(2, 3), logs[:, :3], logs[:, 3], gold)
    np.testing.assert_array_equal(rows.first(1).gold_logprob, gold)
    assert rows.first(3) is rows
    np.testing.assert_array_equal(rows.first(1).ids, [[0], [3]])
    np.testing.assert_allclose(np.exp(rows.first(1).log_tail), [0.5, 0.0], rtol=2e-3)
    no_teacher = TopKRows.without_teacher(1, 3).first(2)
    np.testing.assert_array_equal(no_teacher.log_tail, [0.0])


def test_a_store_is_pickled_as_a_path(tmp_path: Path) -> None:
    writer = make_writer(tmp_path / "topk", np.full(5_000, 7), block_size=1_000)
    fill(writer)
    store = writer.finish()
    data = pickle.dumps(store)
    meta_size = (store.path / "meta.json").stat().st_size
    assert len(data) < meta_size + 1_000
    np.testing.assert_array_equal(pickle.loads(data).sentence(3)[0], store.sentence(3)[0])


def test_an_interrupted_dump_continues_with_the_missing_blocks(tmp_path: Path) -> None:
    whole = make_writer(tmp_path / "whole")
    written = fill(whole)
    whole.finish()
    first = make_writer(tmp_path / "topk")
    first.write_block(1, written[1])
    with pytest.raises(StoreError) as error:
        first.finish()
    assert (
        str(error.value)
        == "`missing blocks` must be 0, but is 2 instead. Run the same command again."
    )
    with pytest.raises(StoreError, match="is an unfinished one: run the same"):
        TopKStore.open(tmp_path / "topk")
    again = make_writer(tmp_path / "topk")
    assert again.missing_blocks() == [0, 2]
    fill(again)
    again.finish()
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "topk" / file.name).read_bytes(), file.name
    assert not (tmp_path / "topk.partial").exists()


def test_a_dump_does_not_continue_with_other_settings(tmp_path: Path) -> None:
    make_writer(tmp_path / "topk")
    with pytest.raises(ConfigurationError) as error:
        make_writer(tmp_path / "topk", settings={"precision": "bf16"})
    assert str(error.value) == (
        f"{tmp_path}/topk.partial was made with other settings (precision: fp32 before, bf16 now). "
        "Use the same settings, another folder, or DumpConfig.force to start over."
    )


def test_a_complete_store_is_never_overwritten(tmp_path: Path) -> None:
    path = damaged(tmp_path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(ConfigurationError) as error:
        make_writer(path, block_size=4)
    assert str(error.value) == (
        f"{path} was made with other settings (block_size: 3 before, 4 now). "
        "Use the same settings, another folder, or DumpConfig.force to start over."
    )
    again = make_writer(path)  # the same command once more finds nothing to do
    assert again.missing_blocks() == []
    assert again.finish().path == path
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_a_block_that_changed_on_the_disk_is_written_anew(tmp_path: Path) -> None:
    writer = make_writer(tmp_path / "topk")
    fill(writer)
    [file] = (tmp_path / "topk.partial").glob("work-*/store/ids.npy")
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1
    file.write_bytes(whole)
    with pytest.raises(StoreError) as error:
        writer.finish()
    assert str(error.value) == (
        f"block 2 of {tmp_path}/topk.partial isn't on the disk as it was written. "
        "Check the disk and run the same command again."
    )
    assert writer.missing_blocks() == [2]
    fill(writer)
    assert writer.finish().verify() == []


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as error:
        TopKStore.open(tmp_path / "topk")
    assert str(error.value) == (
        f"there is no teacher store at {tmp_path}/topk (no meta.json). Make one with `bertkd dump-topk`."
    )


def damaged(tmp_path: Path) -> Path:
    writer = make_writer(tmp_path / "topk")
    fill(writer)
    return writer.finish().path


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    meta_file = damaged(tmp_path) / "meta.json"
    meta_file.write_text(json.dumps({**json.loads(meta_file.read_text()), "format_version": 3}))
    with pytest.raises(StoreError) as error:
        TopKStore.open(tmp_path / "topk")
    assert str(error.value) == (
        f"`format of {tmp_path}/topk` must be bertkd-topk version 1 or 2, but is bertkd-topk version 3 instead. "
        "Dump it again with this version of bertkd-fairseq."
    )


def refused(path: Path) -> str:
    with pytest.raises(StoreError) as error:
        TopKStore.open(path)
    text = str(error.value)
    start = f"the teacher store {path} is damaged: "
    end = ". Dump it again with `bertkd dump-topk --force`."
    assert text.startswith(start) and text.endswith(end)
    return text[len(start) : -len(end)]


@pytest.mark.parametrize(
    "name",
    ["ids.npy", "logprobs.npy", "log_tail.npy", "gold_logprob.npy", "offsets.npy", "crc32.npy"],
)
def test_truncated_lengthened_and_missing_files_are_refused(tmp_path: Path, name: str) -> None:
    file = damaged(tmp_path) / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert refused(file.parent).startswith(f"{name}: ")
    file.write_bytes(whole + b"x")
    assert refused(file.parent).startswith(f"shape, type, order and bytes of {name} must be ")
    file.unlink()
    assert refused(file.parent) == f"{name} is missing"


def test_foreign_files_are_named_and_the_store_is_whole_without_them(tmp_path: Path) -> None:
    path = damaged(tmp_path)
    for name in ("topk.png", "notes.txt"):
        (path / name).write_text("mine")
    with pytest.raises(StoreError) as error:
        TopKStore.open(path)
    assert str(error.value) == (
        f"the teacher store {path} holds notes.txt, topk.png, which doesn't belong there. Move it away."
    )
    for name in ("topk.png", "notes.txt"):
        (path / name).rename(tmp_path / name)
    assert TopKStore.open(path).verify() == []


def test_arrays_of_another_store_are_refused(tmp_path: Path) -> None:
    path = damaged(tmp_path)
    np.save(path / "log_tail.npy", np.zeros(3, dtype=np.float16))
    assert refused(path) == (
        "shape, type, order and bytes of log_tail.npy must be ((25,), '<f2', 'C', 50), "
        "but are ((3,), '<f2', 'C', 6)"
    )


def test_verify_names_the_blocks_that_changed(tmp_path: Path) -> None:
    path = damaged(tmp_path)
    logprobs = np.load(path / "logprobs.npy", mmap_mode="r+")
    logprobs[-1, -1] = 1.0  # the last token is in the last of three blocks
    logprobs.flush()
    assert TopKStore.open(path).verify() == ["logprobs.npy", "block 2"]


def test_the_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    path = damaged(tmp_path)
    for line in (path / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest


def test_rows_without_a_teacher_have_all_their_mass_outside() -> None:
    rows = TopKRows.without_teacher(2, 3)
    assert np.isneginf(rows.logprobs).all()
    assert (rows.log_tail == 0).all()
    assert np.isneginf(rows.gold_logprob).all()


def test_a_sentence_that_is_not_there(tmp_path: Path) -> None:
    store = TopKStore.open(damaged(tmp_path))
    for index in (-1, 7):
        with pytest.raises(IndexError) as error:
            store.sentence(index)
        assert str(error.value) == f"`index` must be from 0 to 6, but is {index} instead."


def to_format_1(path: Path) -> Path:
    """Turn the store at ``path`` into what earlier versions wrote."""
    (path / "gold_logprob.npy").unlink()
    meta = json.loads((path / "meta.json").read_text())
    offsets, size = np.load(path / "offsets.npy"), meta["block_size"]
    arrays = [np.load(path / f"{name}.npy") for name in ARRAYS_OF_FORMAT[1]]
    blocks = (block_rows(offsets, block, size) for block in range(len(meta["block_checksums"])))
    meta["block_checksums"] = [block_checksum(*(array[b] for array in arrays)) for b in blocks]
    meta["format_version"] = 1
    meta["bytes_per_token"] -= 2
    del meta["dtypes"]["gold_logprob"]
    (path / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    lines = checksum_lines(path, files_of_format(1)).values()
    (path / "SHA256SUMS").write_text("".join(lines))
    return path


def test_a_store_of_format_1_is_read_without_what_it_lacks(tmp_path: Path) -> None:
    new = TopKStore.open(damaged(tmp_path))
    everything = new.sentences(np.arange(7))
    (tmp_path / "old").mkdir()
    old = TopKStore.open(to_format_1(damaged(tmp_path / "old")))
    assert (new.version, old.version) == (2, 1)
    assert old.verify() == []
    rows = old.sentences(np.arange(7))
    assert rows.gold_logprob is None and rows.first(1).gold_logprob is None
    assert rows[:3].gold_logprob is None
    for name in ARRAYS_OF_FORMAT[1]:
        np.testing.assert_array_equal(getattr(rows, name), getattr(everything, name))
    assert JoinedStores([new, old], [1, 1], 2).sentences(np.array([0, 8])).gold_logprob is None
    (old.path / "gold_logprob.npy").write_bytes(b"")
    with pytest.raises(StoreError, match=r"holds gold_logprob\.npy, which doesn't belong there"):
        TopKStore.open(old.path)


def test_a_complete_store_of_format_1_is_done_and_an_unfinished_one_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = to_format_1(damaged(tmp_path))
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    again = make_writer(path)
    assert again.missing_blocks() == []
    with caplog.at_level("INFO"):
        assert again.finish().version == 1
    assert caplog.messages == [
        f"{path} is complete, of format 1: without what format 2 has more. DumpConfig.force makes it anew"
    ]
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    with pytest.raises(ConfigurationError, match=r"\(block_size: 3 before, 4 now\)"):
        make_writer(path, block_size=4)
    make_writer(tmp_path / "begun")
    plan_file = tmp_path / "begun.partial" / "plan.json"
    plan = json.loads(plan_file.read_text())
    del plan["dtypes"]["gold_logprob"]
    plan_file.write_text(json.dumps({**plan, "format_version": 1, "bytes_per_token": 10}))
    with pytest.raises(ConfigurationError) as error:
        make_writer(tmp_path / "begun")
    assert str(error.value) == (
        f"{tmp_path}/begun.partial was made with other settings (format_version: 1 before, 2 now). "
        "Use the same settings, another folder, or DumpConfig.force to start over."
    )


@pytest.mark.parametrize("gold", [None, np.zeros(3, np.float16)])
def test_rows_without_what_the_format_has_are_not_written(
    tmp_path: Path, gold: np.ndarray | None
) -> None:
    writer = make_writer(tmp_path / "topk")
    rows = make_rows(8, 2, 300, seed=0)
    with pytest.raises(ValueError) as error:
        writer.write_block(0, TopKRows(rows.ids, rows.logprobs, rows.log_tail, gold))
    seen = None if gold is None else 3
    assert str(error.value) == f"`rows.gold_logprob` must be 8 rows, but is {seen} instead."
    assert writer.missing_blocks() == [0, 1, 2]
