"""Ask the teacher once for every target token (stage 2, paper section 3.2): one pass, straight to top-k rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from bertkd_fairseq.dump.scores import TeacherScore, add_scores
from bertkd_fairseq.errors import DataError
from bertkd_fairseq.masking import rotating_masks
from bertkd_fairseq.precision import dtype_of
from bertkd_fairseq.teacher_input import fit_source, input_length, pack_pairs
from bertkd_fairseq.topk_store.rows import TopKRows

if TYPE_CHECKING:
    from bertkd_fairseq.models.cmlm_teacher import CMLMTeacher

_NO_DRAWS = np.zeros((0, 0))


@dataclass(frozen=True)
class Sampling:
    """Draws of random-sampling distillation: ``num_samples`` a token, by ``seed`` and sentence alone."""

    num_samples: int
    seed: int

    def uniforms(self, sentence: int, length: int) -> np.ndarray:
        """Return numbers in [0, 1) for the tokens of a sentence: (length, num_samples)."""
        return np.random.default_rng([self.seed, sentence]).random((length, self.num_samples))


@dataclass(frozen=True)
class MaskedCopy:
    """One masked copy of a pair: what the teacher reads, and the block's rows that it fills."""

    source: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    rows: np.ndarray
    uniforms: np.ndarray

    @property
    def gold(self) -> np.ndarray:
        """The target tokens that are masked: (M,)."""
        return self.target[self.mask]

    def __len__(self) -> int:
        return input_length(len(self.source), len(self.target))


A = TypeVar("A", bound="Asked")


class Asked(Protocol):
    """What is asked at once, as long as the positions it takes.

    ``rows``: those of a block that it fills; ``gold``: their target tokens; ``uniforms``: their draws.
    """

    @property
    def rows(self) -> np.ndarray: ...

    @property
    def gold(self) -> np.ndarray: ...

    @property
    def uniforms(self) -> np.ndarray: ...

    def __len__(self) -> int: ...


@dataclass(kw_only=True)
class BlockDump(ABC, Generic[A]):
    """Fills blocks of consecutive sentences with what a teacher predicts.

    ``source_of`` and ``target_of`` return the ids of a sentence, EOS included. Batches are made within a
    block, sorted by length, of at most ``max_tokens`` positions with padding: a block's rows depend on nothing
    but the block. With ``sampling``, rows hold what was drawn at random, by seed and sentence alone.
    """

    source_of: Callable[[int], np.ndarray]
    target_of: Callable[[int], np.ndarray]
    topk: int
    max_tokens: int
    device: torch.device
    cut_sources: bool = True
    sampling: Sampling | None = None

    def block(self, sentences: Sequence[int], on_tokens: Callable[[int], object]) -> TopKRows:
        """Return the rows of ``sentences``, one after the other; ``on_tokens`` hears of progress.

        :raises DataError: if the teacher's logits aren't numbers, as may happen in float16.
        """
        return self.scored_block(sentences, on_tokens)[0]

    def scored_block(
        self, sentences: Sequence[int], on_tokens: Callable[[int], object]
    ) -> tuple[TopKRows, list[TeacherScore]]:
        """Return what :meth:`block` does, and the score of each teacher where several are asked.

        :raises DataError: if the teacher's logits aren't numbers, as may happen in float16.
        """
        num_tokens = sum(len(self.target_of(sentence)) for sentence in sentences)
        rows = TopKRows.without_teacher(num_tokens, self.topk)
        scores = [self.no_scores()]
        for batch in token_batches(self.copies(sentences), self.max_tokens):
            predicted, batch_scores = self.ask_and_score(batch)
            if np.isnan(predicted.log_tail).any():
                raise not_finite()
            rows.put(np.concatenate([asked.rows for asked in batch]), predicted)
            scores.append(batch_scores)
            on_tokens(len(predicted.ids))
        return rows, add_scores(scores)

    def copies(self, sentences: Sequence[int]) -> list[A]:
        """Return all that is asked about ``sentences``, whose rows stand one after the other."""
        copies: list[A] = []
        first_row = 0
        for sentence in sentences:
            target = self.target_of(sentence)
            copies += self._copies_of(sentence, target, first_row)
            first_row += len(target)
        return copies

    def ask(self, batch: Sequence[A]) -> TopKRows:
        """Return the predictions for a batch, one after the other."""
        return self.ask_and_score(batch)[0]

    def no_scores(self) -> list[TeacherScore]:
        """Return the scores of all teachers before they are asked; none where they aren't counted."""
        return []

    @abstractmethod
    def ask_and_score(self, batch: Sequence[A]) -> tuple[TopKRows, list[TeacherScore]]:
        """Return the predictions for a batch, and what each teacher's are worth where that is counted."""

    @abstractmethod
    def _copies_of(self, sentence: int, target: np.ndarray, first_row: int) -> Iterable[A]:
        """Return what is asked about one sentence, whose rows begin at ``first_row``; nothing if it has no teacher."""

    def draws(self, sentence: int, length: int) -> np.ndarray:
        """Return the random numbers of a sentence's tokens: (length, num_samples), or none."""
        return self.sampling.uniforms(sentence, length) if self.sampling else _NO_DRAWS

    def rows_of(self, logits: Tensor, batch: Sequence[A]) -> TopKRows:
        """Return the store's rows for the logits (M, V) of a batch."""
        gold = gold_of(batch, self.device)
        if self.sampling is None:
            return top_rows(logits, self.topk, gold)
        uniforms = np.concatenate([asked.uniforms for asked in batch])  # (M, num_samples)
        return sampled_rows(logits, torch.from_numpy(uniforms).to(self.device), gold)


@dataclass(kw_only=True)
class TeacherDump(BlockDump[MaskedCopy]):
    """Asks one C-MLM teacher, which maps tokens, token types and masks to logits at the masked positions."""

    teacher: nn.Module
    bos: int
    pad: int
    num_masks: int
    max_positions: int

    def _copies_of(self, sentence: int, target: np.ndarray, first_row: int) -> Iterator[MaskedCopy]:
        source = self.source_of(sentence)
        fitted = fit_source(source, len(target), self.max_positions, cut_sources=self.cut_sources)
        if fitted is None:
            return
        rows = np.arange(first_row, first_row + len(target))
        yield from masked_copies(
            fitted, target, rows, self.draws(sentence, len(target)), self.num_masks
        )

    @torch.inference_mode()
    def ask_and_score(self, batch: Sequence[MaskedCopy]) -> tuple[TopKRows, list[TeacherScore]]:
        """Return what the teacher predicts at the masked positions of a batch, copy by copy; no scores."""
        logits = masked_logits(self.teacher, batch, self.bos, self.pad, self.device)
        return self.rows_of(logits, batch), []


def masked_copies(
    source: np.ndarray, target: np.ndarray, rows: np.ndarray, draws: np.ndarray, num_masks: int
) -> Iterator[MaskedCopy]:
    """Yield the masked copies of a pair, whose tokens fill ``rows`` (L,) with ``draws`` (L, n) if there are any."""
    for mask in rotating_masks(len(target), num_masks):
        where = np.flatnonzero(mask)
        yield MaskedCopy(source, target, mask, rows[where], draws[where] if len(draws) else draws)


def masked_logits(
    teacher: nn.Module, batch: Sequence[MaskedCopy], bos: int, pad: int, device: torch.device
) -> Tensor:
    """Return a C-MLM teacher's logits at the masked positions of a batch, copy by copy: (M, V)."""
    packed = pack_pairs(
        [copy.source for copy in batch],
        [copy.target for copy in batch],
        [copy.mask for copy in batch],
        bos=bos,
        pad=pad,
    )
    arrays = (packed.tokens, packed.token_types, packed.masked)
    logits: Tensor = teacher(*(torch.from_numpy(array).to(device) for array in arrays))
    return logits


def gold_of(batch: Sequence[Asked], device: torch.device) -> Tensor:
    """Return the target tokens of all that is asked, one after the other: (M,) int64."""
    gold = np.concatenate([asked.gold for asked in batch]).astype(np.int64)
    return torch.from_numpy(gold).to(device)


def top_rows(logits: Tensor, k: int, gold: Tensor) -> TopKRows:
    """Return the ``k`` largest entries of (M, V) logits as log-probabilities, with the log of what is left.

    And the log-probability of the target tokens ``gold`` (M,), from the same numbers.

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
        gold_logprob=(logits.gather(1, gold[:, None]) - log_normalizer)
        .squeeze(1)
        .half()
        .cpu()
        .numpy(),
    )


def sampled_rows(logits: Tensor, uniforms: Tensor, gold: Tensor) -> TopKRows:
    """Return what was drawn from the softmax of (M, V) logits, and how often, as log of its share.

    Random-sampling distillation (Sparse Logit Sampling, arXiv 2503.16870): the expected target is the teacher's whole
    distribution, so that the gradient is unbiased, which the top K's isn't. ``uniforms`` (M, n) in [0, 1) are
    looked up in the cumulated distribution. Symbols drawn twice take one entry; unused entries are ``-inf``. The
    log-probability of the target tokens ``gold`` (M,) is the teacher's own.
    """
    probabilities = logits.double().softmax(1)
    cumulated = probabilities.cumsum(1)
    # Rounding must not leave a gap above the last symbol.
    drawn = torch.searchsorted(cumulated / cumulated[:, -1:], uniforms, right=True)
    drawn = drawn.clamp(max=logits.size(1) - 1).sort(1).values  # (M, n)
    starts = torch.ones_like(drawn, dtype=torch.bool)
    starts[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    entry = starts.cumsum(1) - 1  # (M, n) which distinct symbol each draw is
    counts = torch.zeros_like(uniforms).scatter_add_(1, entry, torch.ones_like(uniforms))
    ids = torch.zeros_like(drawn).scatter_(1, entry, drawn)
    counts, order = torch.sort(counts, dim=1, descending=True, stable=True)
    others = probabilities.scatter(1, drawn, 0.0).sum(1)
    return TopKRows(
        ids=ids.gather(1, order).cpu().numpy(),
        logprobs=(counts / counts.size(1)).log().half().cpu().numpy(),
        log_tail=others.log().half().cpu().numpy(),
        gold_logprob=probabilities.gather(1, gold[:, None]).squeeze(1).log().half().cpu().numpy(),
    )


def token_batches(copies: Sequence[A], max_tokens: int) -> Iterator[list[A]]:
    """Cut ``copies``, longest first, into batches of at most ``max_tokens`` padded positions (one copy at least)."""
    batch: list[A] = []
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


def not_finite() -> DataError:
    """Return what to raise where a teacher's answers aren't numbers, as may happen in float16."""
    return DataError(
        "the teacher's logits must be finite, but some are not. "
        "Use another precision, bf16 or fp32; if that doesn't help, train the teacher anew."
    )


def set_precision(teacher: CMLMTeacher, precision: str) -> None:
    """Turn ``teacher`` to ``precision``; its head and output layer stay in float32, where logits need it."""
    teacher.float()
    for part in teacher.parts_below_head():
        part.to(dtype_of(precision))
