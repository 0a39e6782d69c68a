"""Read several teacher stores as one, for training data that fairseq joins from several splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertkd_fairseq.topk_store.rows import TopKRows
from bertkd_fairseq.topk_store.store import TopKStore


@dataclass(frozen=True)
class JoinedStores:
    """The sentences of several stores, one store after the other.

    :param repeats: how often the sentences of each store are repeated, as fairseq's ``--upsample-primary`` does it.
    :param k: number of entries in a row; no store may have fewer.
    """

    stores: Sequence[TopKStore]
    repeats: Sequence[int]
    k: int

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(s) * n for s, n in zip(self.stores, self.repeats, strict=True)])

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return for sentences (N,) of the joined data their store and their number in that store, each (N,).

        :raises IndexError: if there is no such sentence.
        """
        indices = np.asarray(indices, dtype=np.int64)
        outside = (indices < 0) | (indices >= len(self))
        if outside.any():
            raise IndexError(f"there is no sentence {indices[outside][0]} in {len(self)}")
        store = np.searchsorted(self._ends, indices, side="right")
        lengths = np.array([len(s) for s in self.stores])
        starts = np.concatenate(([0], self._ends[:-1]))
        return store, (indices - starts[store]) % lengths[store]

    def sentences(self, indices: np.ndarray) -> TopKRows:
        """Return the rows of sentences (N,) of the joined data, in that order, as :meth:`TopKStore.sentences` does.

        :raises IndexError: if there is no such sentence.
        :raises StoreError: if the rows on disk are damaged.
        """
        which, sentence = self.locate(indices)
        by_store = np.argsort(which, kind="stable")
        rows, lengths = [], []
        for number, store in enumerate(self.stores):
            mine = sentence[by_store[which[by_store] == number]]
            rows.append(store.sentences(mine).first(self.k))
            lengths.append(store.offsets[mine + 1] - store.offsets[mine])
        # `rows` has all tokens of the first store, then those of the second. This brings them into the order asked for.
        tokens = np.argsort(np.repeat(by_store, np.concatenate(lengths)), kind="stable")
        return TopKRows.concatenated(rows)[tokens]
