"""Sentence pairs with the teacher's soft targets beside them (stage 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
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
        target = batch["target"]  # (N, T)
        # Rows are looked up, which numpy does faster than placing them; padding finds one row more, the last.
        tokens = np.flatnonzero(target.ne(self.dataset.tgt_dict.pad()).numpy())
        rows = self.store.sentences(batch["id"].numpy()).first(self.topk)
        where = np.full(target.numel(), len(tokens))
        where[tokens] = np.arange(len(tokens))
        no_teacher = ((0, 1), (0, 0))
        ids = np.pad(rows.ids, no_teacher).take(where, axis=0).astype(np.int64)
        logprobs = np.pad(rows.logprobs, no_teacher, constant_values=-np.inf).take(where, axis=0)
        log_tail = np.pad(rows.log_tail.astype(np.float16), (0, 1)).take(where)
        gold = None
        if rows.gold_logprob is not None:
            padded = np.pad(rows.gold_logprob, (0, 1), constant_values=-np.inf)
            gold = torch.from_numpy(padded.take(where)).view_as(target)
        return TeacherRows(
            ids=torch.from_numpy(ids).view(*target.shape, -1),
            logprobs=torch.from_numpy(logprobs).view(*target.shape, -1),
            log_tail=torch.from_numpy(log_tail).view_as(target),
            gold_logprob=gold,
        ).to_sample(batch)

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
