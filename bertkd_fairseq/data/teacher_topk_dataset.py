"""Sentence pairs with the teacher's soft targets beside them (stage 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from fairseq.data import BaseWrapperDataset, LanguagePairDataset

from bertkd_fairseq.topk_store import TopKStore


def add_no_teacher(sample: dict[str, Any]) -> None:
    """Add rows to a batch that say: no teacher for any token."""
    target = sample["target"]  # (N, T)
    sample["teacher_ids"] = target.new_zeros((*target.shape, 1))
    sample["teacher_logprobs"] = torch.full(
        (*target.shape, 1), float("-inf"), dtype=torch.float16, device=target.device
    )
    sample["teacher_log_tail"] = torch.zeros_like(target, dtype=torch.float16)


class TeacherTopKDataset(BaseWrapperDataset):
    """Add the teacher's rows to the batches of a :class:`LanguagePairDataset`.

    ``teacher_ids`` and ``teacher_logprobs`` (N, T, K), ``teacher_log_tail`` (N, T).

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
        batch["teacher_ids"] = torch.from_numpy(ids).view(*target.shape, -1)
        batch["teacher_logprobs"] = torch.from_numpy(logprobs).view(*target.shape, -1)
        batch["teacher_log_tail"] = torch.from_numpy(log_tail).view_as(target)
        return batch

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
