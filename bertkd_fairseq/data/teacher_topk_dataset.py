"""Sentence pairs with the teacher's soft targets beside them (stage 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from fairseq.data import BaseWrapperDataset, LanguagePairDataset

from bertkd_fairseq.teacher_rows import TeacherRows
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.joined import JoinedStores


class TeacherTopKDataset(BaseWrapperDataset):
    """Add :class:`TeacherRows` to the batches of a :class:`LanguagePairDataset`.

    The batch's ``id`` is the row of the data-bin, whatever fairseq filtered, shuffled or sorted.
    """

    def __init__(
        self, pairs: LanguagePairDataset, store: TopKStore | JoinedStores, topk: int
    ) -> None:
        super().__init__(pairs)
        self.store = store
        self.topk = topk

    def collater(self, samples: list[dict[str, Any]], **kwargs: Any) -> dict[str, Any]:
        """Collate as fairseq does, then place the teacher's rows where the target has tokens.

        Padding gets ``-inf`` log-probabilities: no teacher there.
        """
        batch = self.dataset.collater(samples, **kwargs)
        if not batch:
            return batch
        tokens = batch["target"].ne(self.dataset.tgt_dict.pad())  # (N, T)
        rows = self.store.sentences(batch["id"].numpy()).first(self.topk)
        return TeacherRows.at(tokens, rows.ids, rows.logprobs, rows.log_tail).to_sample(batch)

    @property
    def sizes(self) -> np.ndarray:
        """The pairs' own sizes."""
        return self.dataset.sizes

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        """Return the longer side of many pairs: what ``--max-tokens`` counts."""
        tokens: np.ndarray = self.dataset.num_tokens_vec(indices)
        return tokens

    def filter_indices_by_size(
        self, indices: np.ndarray, max_sizes: Any
    ) -> tuple[np.ndarray, list[int]]:
        """Filter as the pairs do: source and target lengths apart."""
        return self.dataset.filter_indices_by_size(indices, max_sizes)
