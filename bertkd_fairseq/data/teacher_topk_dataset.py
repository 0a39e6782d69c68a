"""Sentence pairs with the teacher's soft targets beside them (stage 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from fairseq.data import BaseWrapperDataset, LanguagePairDataset

from bertkd_fairseq.masking import sentence_generator
from bertkd_fairseq.targets.augmentation import Augmentation, likely_tokens
from bertkd_fairseq.teacher_rows import TeacherRows
from bertkd_fairseq.topk_store import TopKRows, TopKStore
from bertkd_fairseq.topk_store.joined import JoinedStores


class TeacherTopKDataset(BaseWrapperDataset):
    """Add :class:`TeacherRows` to the batches of a :class:`LanguagePairDataset`.

    The batch's ``id`` is the row of the data-bin, whatever fairseq filtered, shuffled or sorted. With an
    ``augmentation``, some decoder inputs are what the teacher finds likely in their place; how many were replaced by
    another token is the batch's ``augmented_tokens``. Drawn by seed, epoch and sentence alone, they are the same on any
    number of workers and after a resume.
    """

    def __init__(
        self,
        pairs: LanguagePairDataset,
        store: TopKStore | JoinedStores,
        topk: int,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(pairs)
        self.store = store
        self.topk = topk
        self.augmentation = augmentation
        # In shared memory: fairseq's workers outlive the epoch with a copy of everything else.
        self._epoch = torch.ones(1, dtype=torch.long).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Draw other decoder inputs from now on."""
        super().set_epoch(epoch)
        self._epoch.fill_(epoch)

    def collater(self, samples: list[dict[str, Any]], **kwargs: Any) -> dict[str, Any]:
        """Collate as fairseq does, then place the teacher's rows where the target has tokens.

        Padding gets ``-inf`` log-probabilities: no teacher there.
        """
        batch = self.dataset.collater(samples, **kwargs)
        if not batch:
            return batch
        tokens = batch["target"].ne(self.dataset.tgt_dict.pad())  # (N, T)
        rows = self.store.sentences(batch["id"].numpy()).first(self.topk)
        if self.augmentation is not None:
            self._augment(batch, np.flatnonzero(tokens.numpy()), rows, self.augmentation)
        return TeacherRows.at(tokens, rows).to_sample(batch)

    def _augment(
        self, batch: dict[str, Any], tokens: np.ndarray, rows: TopKRows, augmentation: Augmentation
    ) -> None:
        """Replace decoder inputs of the batch, whose target tokens stand at ``tokens`` (n,) of it flattened."""
        target = batch["target"].numpy().reshape(-1)[tokens]  # (n,)
        sizes = np.asarray(self.dataset.tgt_sizes)[batch["id"].numpy()]  # (N,)
        epoch = int(self._epoch)
        uniforms = np.concatenate(
            [
                sentence_generator(augmentation.seed, epoch, sentence).random((size, 2))
                for sentence, size in zip(batch["id"].tolist(), sizes.tolist(), strict=True)
            ]
        )
        likely = likely_tokens(target, rows.ids, rows.logprobs, uniforms, augmentation)
        # Each token is the next one's input, in the column behind its own; nothing reads a sentence's last.
        inner = np.ones(len(tokens), dtype=bool)
        inner[np.cumsum(sizes) - 1] = False
        inputs = batch["net_input"]["prev_output_tokens"].view(-1)
        inputs[torch.from_numpy(tokens[inner] + 1)] = torch.from_numpy(likely[inner])
        batch["augmented_tokens"] = int((likely != target)[inner].sum())

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
