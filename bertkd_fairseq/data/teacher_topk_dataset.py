"""Sentence pairs with the teacher's soft targets beside them (stage 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from fairseq.data import BaseWrapperDataset, LanguagePairDataset

from bertkd_fairseq.topk_store import TopKStore


class TeacherTopKDataset(BaseWrapperDataset):
    """Add ``teacher_ids`` and ``teacher_logprobs`` (N, T, K) to the batches of a :class:`LanguagePairDataset`.

    The batch's ``id`` is the row of the data-bin, whatever fairseq filtered, shuffled or sorted.
    """

    def __init__(self, pairs: LanguagePairDataset, store: TopKStore, topk: int) -> None:
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
        ids, logprobs = self.store.sentences(batch["id"].numpy())  # (tokens, K)
        shape = (*tokens.shape, self.topk)
        batch["teacher_ids"] = torch.zeros(shape, dtype=torch.long)
        batch["teacher_logprobs"] = torch.full(shape, float("-inf"), dtype=torch.float16)
        batch["teacher_ids"][tokens] = torch.from_numpy(ids[:, : self.topk].astype(np.int64))
        batch["teacher_logprobs"][tokens] = torch.from_numpy(
            np.ascontiguousarray(logprobs[:, : self.topk])
        )
        return batch

    @property
    def sizes(self) -> np.ndarray:
        """The pairs' own sizes."""
        return self.dataset.sizes

    def filter_indices_by_size(
        self, indices: np.ndarray, max_sizes: Any
    ) -> tuple[np.ndarray, list[int]]:
        """Filter as the pairs do: source and target lengths apart."""
        return self.dataset.filter_indices_by_size(indices, max_sizes)
