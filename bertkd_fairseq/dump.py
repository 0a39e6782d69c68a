"""Ask the teacher once for every target token (stage 2, paper section 3.2): one pass, straight to top-k rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bertkd_fairseq.masking import rotating_masks
from bertkd_fairseq.teacher_input import fit_source, input_length, pack_pairs
from bertkd_fairseq.topk_store import TopKRows

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class _Copy:
    """One masked copy of a pair: what the teacher reads, and the block's rows that it fills."""

    source: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return input_length(len(self.source), len(self.target))


class TeacherDump:
    """Fills blocks of consecutive sentences with the teacher's top-k.

    ``teacher`` maps tokens, token types and masks to logits at the masked positions. Batches are made within a
    block, sorted by length, of at most ``max_tokens`` positions with padding: a block's rows depend on nothing
    but the block.
    """

    def __init__(
        self,
        teacher: nn.Module,
        source_of: Callable[[int], np.ndarray],
        target_of: Callable[[int], np.ndarray],
        *,
        bos: int,
        pad: int,
        topk: int,
        num_masks: int,
        max_positions: int,
        max_tokens: int,
        device: torch.device,
        cut_sources: bool = True,
    ) -> None:
        self.teacher, self.source_of, self.target_of = teacher, source_of, target_of
        self.bos, self.pad = bos, pad
        self.topk, self.num_masks = topk, num_masks
        self.max_positions, self.max_tokens = max_positions, max_tokens
        self.device = device
        self.cut_sources = cut_sources

    @torch.inference_mode()
    def block(self, sentences: Sequence[int], on_tokens: Callable[[int], object]) -> TopKRows:
        """Return the rows of ``sentences``, one after the other; ``on_tokens`` hears of progress."""
        targets = [self.target_of(sentence) for sentence in sentences]
        ends = np.cumsum([len(target) for target in targets])
        rows = TopKRows.without_teacher(int(ends[-1]), self.topk)
        copies = [
            copy
            for sentence, target, end in zip(sentences, targets, ends, strict=True)
            for copy in self._copies(self.source_of(sentence), target, int(end) - len(target))
        ]
        for batch in token_batches(copies, self.max_tokens):
            answer = self._ask(batch)
            rows.put(np.concatenate([copy.rows for copy in batch]), answer)
            on_tokens(len(answer.ids))
        return rows

    def _copies(self, source: np.ndarray, target: np.ndarray, first_row: int) -> Iterator[_Copy]:
        fitted = fit_source(source, len(target), self.max_positions, cut_sources=self.cut_sources)
        if fitted is None:
            return
        for mask in rotating_masks(len(target), self.num_masks):
            yield _Copy(fitted, target, mask, first_row + np.flatnonzero(mask))

    def _ask(self, batch: Sequence[_Copy]) -> TopKRows:
        packed = pack_pairs(
            [copy.source for copy in batch],
            [copy.target for copy in batch],
            [copy.mask for copy in batch],
            bos=self.bos,
            pad=self.pad,
        )
        logits = self.teacher(
            *(
                torch.from_numpy(a).to(self.device)
                for a in (packed.tokens, packed.token_types, packed.masked)
            )
        )
        return top_rows(logits, self.topk)


def top_rows(logits: Tensor, k: int) -> TopKRows:
    """Return the ``k`` largest entries of (M, V) logits as log-probabilities, with the log of what is left.

    Worked out in float32: the tail is a sum over the other entries, never 1 minus the sum of the top.
    """
    logits = logits.float()
    values, ids = logits.topk(k, dim=1)  # (M, K), descending
    others = logits.scatter(1, ids, float("-inf")).logsumexp(1, keepdim=True)  # (M, 1)
    log_normalizer = others.logaddexp(values.logsumexp(1, keepdim=True))  # (M, 1)
    return TopKRows(
        ids=ids.cpu().numpy(),
        logprobs=(values - log_normalizer).half().cpu().numpy(),
        log_tail=(others - log_normalizer).squeeze(1).half().cpu().numpy(),
    )


def token_batches(copies: Sequence[_Copy], max_tokens: int) -> Iterator[list[_Copy]]:
    """Cut ``copies``, longest first, into batches of at most ``max_tokens`` padded positions (one copy at least)."""
    batch: list[_Copy] = []
    longest = 0
    for copy in sorted(copies, key=len, reverse=True):
        if batch and longest * (len(batch) + 1) > max_tokens:
            yield batch
            batch = []
        if not batch:
            longest = len(copy)
        batch.append(copy)
    if batch:
        yield batch


def set_precision(teacher: nn.Module, precision: str) -> None:
    """Turn the BERT inside ``teacher`` to ``precision``; the output layer stays in float32, where logits need it."""
    teacher.float()
    for body in (teacher.bert, teacher.last_layer):
        body.to(PRECISIONS[precision])  # type: ignore[union-attr]
