"""Several stores as one: every sentence of the whole has the rows of its own store."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fairseq.data import ConcatDataset
from hypothesis import given, settings
from hypothesis import strategies as st

from bertkd_fairseq.topk_store import TopKRows, TopKStore
from bertkd_fairseq.topk_store.joined import JoinedStores
from tests.unit.topk_store.test_store import make_rows, make_writer

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=6)


def make_store(folder: Path, sizes: list[int], k: int, seed: int) -> TopKStore:
    writer = make_writer(folder, np.array(sizes), k=k, num_symbols=50, block_size=100)
    writer.write_block(0, make_rows(sum(sizes), k, 50, seed))
    return writer.finish()


def naive(stores: list[TopKStore], repeats: list[int], k: int) -> list[TopKRows]:
    """Return the rows of each sentence of the whole, written out."""
    whole = []
    for store, times in zip(stores, repeats, strict=True):
        whole += [store.sentences(np.array([i])).first(k) for i in range(len(store))] * times
    return whole


@settings(max_examples=40, deadline=None)
@given(parts=st.lists(SIZES, min_size=1, max_size=4), first=st.integers(0, 3), data=st.data())
def test_sentences_are_those_of_the_stores_one_after_the_other(
    parts: list[list[int]], first: int, data: st.DataObject
) -> None:
    repeats = [first, *(1 for _ in parts[1:])]
    with tempfile.TemporaryDirectory() as folder:
        ks = [data.draw(st.integers(2, 3)) for _ in parts]
        stores = [
            make_store(Path(folder, str(i)), sizes, ks[i], i) for i, sizes in enumerate(parts)
        ]
        joined, wanted = JoinedStores(stores, repeats, 2), naive(stores, repeats, 2)
        assert len(joined) == len(wanted)
        asked = data.draw(
            st.lists(st.sampled_from(range(len(wanted))), max_size=9) if wanted else st.just([])
        )
        rows = joined.sentences(np.array(asked, dtype=np.int64))
        for name in ("ids", "logprobs", "log_tail", "gold_logprob"):
            got = getattr(rows, name)
            if asked:
                np.testing.assert_array_equal(
                    got, np.concatenate([getattr(wanted[i], name) for i in asked])
                )
            else:
                assert len(got) == 0
        # fairseq finds the pairs by this arithmetic.
        concat = ConcatDataset([list(range(len(sizes))) for sizes in parts], repeats)
        found = [concat._get_dataset_and_sample_index(i) for i in range(len(wanted))]
        where = joined.locate(np.arange(len(wanted)))
        assert list(zip(*(x.tolist() for x in where), strict=True)) == found


@pytest.mark.parametrize("outside", [-1, 5])
def test_sentence_outside_of_the_whole(tmp_path: Path, outside: int) -> None:
    stores = [make_store(tmp_path / name, [2, 3], 2, 0) for name in "ab"]
    with pytest.raises(IndexError, match=f"there is no sentence {outside} in 4"):
        JoinedStores(stores, [1, 1], 2).sentences(np.array([0, outside]))


def test_workers_of_a_data_loader_read_the_same(tmp_path: Path) -> None:
    joined = JoinedStores([make_store(tmp_path / x, [2, 3], 2, ord(x)) for x in "ab"], [1, 1], 2)
    copy = pickle.loads(pickle.dumps(joined))
    asked = np.array([3, 0, 2])
    np.testing.assert_array_equal(copy.sentences(asked).ids, joined.sentences(asked).ids)
