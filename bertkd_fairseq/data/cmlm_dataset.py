"""Sentence pairs with masked targets, as the teacher is trained on them (stage 1)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from fairseq.data import FairseqDataset, LanguagePairDataset

from bertkd_fairseq.masking import TrainingMasks, sentence_generator
from bertkd_fairseq.teacher_input import fit_source, fitted_lengths, pack_pairs


class MaskedPair(NamedTuple):
    """Pair number ``sentence`` of the data-bin, with S source and L target tokens, EOS counted in both.

    ``source`` (S,) and ``target`` (L,) ids; ``mask`` (L,) bool: which target tokens are hidden; ``asked`` (L,) bool:
    which of these to predict.
    """

    sentence: int
    source: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    asked: np.ndarray


class CMLMDataset(FairseqDataset):
    """Mask target tokens of the pairs of a :class:`LanguagePairDataset`, as ``masks`` says.

    Where these hide the future of a token, ``fixed_masks`` ask for that token alone, as the dump does; in training all
    that is hidden is asked for, for one token a sentence would teach little.

    Masks depend on ``seed``, the epoch and the row of the data-bin only; with ``fixed_masks`` not even on
    the epoch. A pair longer than ``max_positions`` loses the end of its source, whose ids begin at ``source_offset``.
    """

    def __init__(
        self,
        pairs: LanguagePairDataset,
        *,
        seed: int,
        masks: TrainingMasks,
        max_positions: int,
        fixed_masks: bool,
        source_offset: int = 0,
    ) -> None:
        super().__init__()
        self.pairs = pairs
        self.seed = seed
        self.masks = masks
        self.max_positions = max_positions
        self.fixed_masks = fixed_masks
        self.source_offset = source_offset
        # In shared memory: fairseq's workers outlive the epoch with a copy of everything else.
        self._epoch = torch.ones(1, dtype=torch.long).share_memory_()
        # What has no room even then stays too long, for fairseq to filter out.
        fitted = fitted_lengths(pairs.src_sizes, pairs.tgt_sizes, max_positions)
        self.sizes = fitted.positions
        self.num_cut = int(np.sum(fitted.source_cut))

    def __getitem__(self, index: int) -> MaskedPair:
        source = self.pairs.src[index].numpy() + self.source_offset
        target = self.pairs.tgt[index].numpy()
        fitted = fit_source(source, len(target), self.max_positions)
        epoch = 0 if self.fixed_masks else int(self._epoch)
        generator = sentence_generator(self.seed, epoch, int(index))
        hidden, asked = self.masks.draw(target, generator)
        return MaskedPair(
            sentence=int(index),
            source=source if fitted is None else fitted,
            target=target,
            mask=hidden,
            asked=asked if self.fixed_masks else hidden,
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def collater(self, samples: list[MaskedPair]) -> dict[str, Any]:
        """Return a batch; ``target`` (M,) holds the gold tokens at the M positions asked for, row by row."""
        if not samples:
            return {}
        dictionary = self.pairs.tgt_dict
        packed = pack_pairs(
            [sample.source for sample in samples],
            [sample.target for sample in samples],
            [sample.mask for sample in samples],
            bos=dictionary.bos(),
            pad=dictionary.pad(),
            asks=[sample.asked for sample in samples],
        )
        return {
            "id": torch.tensor([sample.sentence for sample in samples]),
            "nsentences": len(samples),
            "ntokens": int(packed.token_types.sum()),
            "net_input": {
                "tokens": torch.from_numpy(packed.tokens),
                "token_types": torch.from_numpy(packed.token_types),
                "masked": torch.from_numpy(packed.masked),
                "asked": torch.from_numpy(packed.asked),
            },
            "target": torch.from_numpy(packed.gold),
        }

    def set_epoch(self, epoch: int) -> None:
        """Draw other masks from now on."""
        self._epoch.fill_(epoch)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Yes. Batches do not change between epochs, and long-lived workers see the new epoch number."""
        return True

    def num_tokens(self, index: int) -> int:
        """Return the positions that the pair takes: what ``--max-tokens`` counts."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        """Return :meth:`num_tokens` of many pairs."""
        return self.sizes[indices]

    def size(self, index: int) -> int:
        """Return the positions that the pair takes: what ``max_positions`` filters by."""
        return int(self.sizes[index])

    def ordered_indices(self) -> np.ndarray:
        """Return the pairs sorted by length, so that batches have little padding, and else in random order.

        The same in every epoch, also where training resumes; fairseq shuffles the batches.
        """
        order = np.random.default_rng(self.seed).permutation(len(self))
        return order[np.argsort(self.sizes[order], kind="stable")]
