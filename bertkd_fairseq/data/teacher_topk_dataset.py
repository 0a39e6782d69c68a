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
        # numpy places rows faster than torch with a boolean mask.
        places = np.flatnonzero(target.ne(self.dataset.tgt_dict.pad()).numpy())
        rows = self.store.sentences(batch["id"].numpy()).first(self.topk)
        ids = np.zeros((target.numel(), self.topk), dtype=np.int64)
        logprobs = np.full((target.numel(), self.topk), -np.inf, dtype=np.float16)
        log_tail = np.zeros(target.numel(), dtype=np.float16)
        ids[places], logprobs[places], log_tail[places] = rows.ids, rows.logprobs, rows.log_tail
        batch["teacher_ids"] = torch.from_numpy(ids).view(*target.shape, -1)
        batch["teacher_logprobs"] = torch.from_numpy(logprobs).view(*target.shape, -1)
        batch["teacher_log_tail"] = torch.from_numpy(log_tail).view_as(target)
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
