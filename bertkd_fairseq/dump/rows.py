"""Ask the teacher once about every target token (stage 2, paper section 3.2), in one pass that gives top-k rows."""

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
from bertkd_fairseq.masking import Question, Questions
from bertkd_fairseq.precision import dtype_of
from bertkd_fairseq.teacher_input import fit_source, input_length, pack_pairs
from bertkd_fairseq.topk_store.rows import TopKRows

if TYPE_CHECKING:
    from bertkd_fairseq.models.cmlm_teacher import CMLMTeacher

_NO_DRAWS = np.zeros((0, 0))


@dataclass(frozen=True)
class Sampling:
    """The draws of sampled entries: ``num_samples`` for each token. They depend only on ``seed`` and sentence."""

    num_samples: int
    seed: int

    def uniforms(self, sentence: int, length: int) -> np.ndarray:
        """Return random numbers in [0, 1) for the tokens of a sentence: (length, num_samples)."""
        return np.random.default_rng([self.seed, sentence]).random((length, self.num_samples))


@dataclass(frozen=True)
class MaskedCopy:
    """One masked copy of a pair, which the teacher reads.

    ``source`` (S,) and ``target`` (L,): ids. ``question``: which target tokens are hidden, and which are asked for.
    ``rows``: the rows of the block that the latter fill. ``uniforms``: their random numbers.
    """

    source: np.ndarray
    target: np.ndarray
    question: Question
    rows: np.ndarray
    uniforms: np.ndarray

    @property
    def gold(self) -> np.ndarray:
        """The target tokens that are asked for: (M,)."""
        return self.target[self.question.asked]

    def __len__(self) -> int:
        return input_length(len(self.source), len(self.target))


A = TypeVar("A", bound="Asked")


class Asked(Protocol):
    """Something that a teacher is asked about. Its length is the number of positions that it takes in a batch.

    ``rows``: the rows of a block that it fills. ``gold``: their target tokens. ``uniforms``: their random numbers.
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

    ``source_of`` and ``target_of`` return the ids of a sentence, EOS included. Each block is sorted by length and
    divided into batches of at most ``max_tokens`` positions, padding included. So the rows of a block depend on nothing
    outside it. With ``sampling``, the rows have random draws, which depend only on the seed and the sentence.
    """

    source_of: Callable[[int], np.ndarray]
    target_of: Callable[[int], np.ndarray]
    topk: int
    max_tokens: int
    device: torch.device
    cut_sources: bool = True
    sampling: Sampling | None = None

    def block(self, sentences: Sequence[int], on_tokens: Callable[[int], object]) -> TopKRows:
        """Return the rows of ``sentences``, one after the other. ``on_tokens`` is called with the tokens of each batch.

        :raises DataError: if the teacher's logits aren't numbers, as may happen in float16.
        """
        return self.scored_block(sentences, on_tokens)[0]

    def scored_block(
        self, sentences: Sequence[int], on_tokens: Callable[[int], object]
    ) -> tuple[TopKRows, list[TeacherScore]]:
        """Return the rows as :meth:`block` does, and the score of each teacher if several are asked.

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
        """Return everything that is asked about ``sentences``. Their rows follow each other in the block."""
        copies: list[A] = []
        first_row = 0
        for sentence in sentences:
            target = self.target_of(sentence)
            copies += self._copies_of(sentence, target, first_row)
            first_row += len(target)
        return copies

    def ask(self, batch: Sequence[A]) -> TopKRows:
        """Return the rows that a batch fills, one after the other."""
        return self.ask_and_score(batch)[0]

    def no_scores(self) -> list[TeacherScore]:
        """Return the scores of all teachers before they are asked; an empty list if scores aren't counted."""
        return []

    @abstractmethod
    def ask_and_score(self, batch: Sequence[A]) -> tuple[TopKRows, list[TeacherScore]]:
        """Return the rows that a batch fills, and the score of each teacher if scores are counted."""

    @abstractmethod
    def _copies_of(self, sentence: int, target: np.ndarray, first_row: int) -> Iterable[A]:
        """Return what is asked about a sentence, whose rows begin at ``first_row``; nothing if it gets no entries."""

    def draws(self, sentence: int, length: int) -> np.ndarray:
        """Return the random numbers of a sentence's tokens: (length, num_samples), or (0, 0) without sampling."""
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
    """Asks one C-MLM teacher, a module that maps tokens, token types, masks and positions asked for to logits there."""

    teacher: nn.Module
    bos: int
    pad: int
    questions: Questions
    max_positions: int

    def _copies_of(self, sentence: int, target: np.ndarray, first_row: int) -> Iterator[MaskedCopy]:
        source = self.source_of(sentence)
        fitted = fit_source(source, len(target), self.max_positions, cut_sources=self.cut_sources)
        if fitted is None:
            return
        rows = np.arange(first_row, first_row + len(target))
        questions = self.questions.of(target, sentence)
        draws = self.draws(sentence, len(target))
        yield from masked_copies(fitted, target, rows, draws, questions)

    @torch.inference_mode()
    def ask_and_score(self, batch: Sequence[MaskedCopy]) -> tuple[TopKRows, list[TeacherScore]]:
        """Return the rows for the positions asked for in a batch, copy by copy. There are no scores."""
        logits = masked_logits(self.teacher, batch, self.bos, self.pad, self.device)
        return self.rows_of(logits, batch), []


def masked_copies(
    source: np.ndarray,
    target: np.ndarray,
    rows: np.ndarray,
    draws: np.ndarray,
    questions: Iterable[Question],
) -> Iterator[MaskedCopy]:
    """Yield the masked copies of a pair. Its tokens fill ``rows`` (L,); ``draws`` are their random numbers (L, n)."""
    for question in questions:
        where = np.flatnonzero(question.asked)
        own = draws[where] if len(draws) else draws
        yield MaskedCopy(source, target, question, rows[where], own)


def masked_logits(
    teacher: nn.Module, batch: Sequence[MaskedCopy], bos: int, pad: int, device: torch.device
) -> Tensor:
    """Return a C-MLM teacher's logits at the positions that a batch asks for, copy by copy: (M, V)."""
    packed = pack_pairs(
        [copy.source for copy in batch],
        [copy.target for copy in batch],
        [copy.question.hidden for copy in batch],
        bos=bos,
        pad=pad,
        asks=[copy.question.asked for copy in batch],
    )
    arrays = (packed.tokens, packed.token_types, packed.masked, packed.asked)
    logits: Tensor = teacher(*(torch.from_numpy(array).to(device) for array in arrays))
    return logits


def gold_of(batch: Sequence[Asked], device: torch.device) -> Tensor:
    """Return the target tokens of all that is asked, one after the other: (M,) int64."""
    gold = np.concatenate([asked.gold for asked in batch]).astype(np.int64)
    return torch.from_numpy(gold).to(device)


def top_rows(logits: Tensor, k: int, gold: Tensor) -> TopKRows:
    """Return the ``k`` largest entries of logits (M, V) as log-probabilities, and the log of the remaining probability.

    The log-probability of the target tokens ``gold`` (M,) is that of the same softmax. All is computed in float32. The
    tail is a sum over the other entries, not 1 minus the sum of the top, which would be less exact.
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
    """Return symbols drawn from the softmax of logits (M, V), each with the log of its share of the draws.

    This is random-sampling distillation (Sparse Logit Sampling, arXiv 2503.16870). The expected target is the teacher's
    whole distribution, so the gradient is unbiased; with the top K it isn't. ``uniforms`` (M, n) in [0, 1) are looked
    up in the cumulative distribution. A symbol that is drawn several times takes one entry. Unused entries are
    ``-inf``. The log-probability of the target tokens ``gold`` (M,) is the teacher's own.
    """
    probabilities = logits.double().softmax(1)
    cumulated = probabilities.cumsum(1)
    # Divided by the last value, because rounding may leave it below 1 and a draw above it.
    drawn = torch.searchsorted(cumulated / cumulated[:, -1:], uniforms, right=True)
    drawn = drawn.clamp(max=logits.size(1) - 1).sort(1).values  # (M, n)
    starts = torch.ones_like(drawn, dtype=torch.bool)
    starts[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    entry = starts.cumsum(1) - 1  # (M, n) for each draw the number of its distinct symbol
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
    """Divide ``copies``, longest first, into batches of at most ``max_tokens`` padded positions, or of one copy."""
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
    """Return the error for a teacher whose logits aren't numbers, as may happen in float16."""
    return DataError(
        "the teacher's logits must be finite, but some are not. "
        "Use another precision, bf16 or fp32. If that doesn't help, train the teacher again."
    )


def set_precision(teacher: CMLMTeacher, precision: str) -> None:
    """Turn ``teacher`` to ``precision``. Its head and output layer stay in float32, which logits need."""
    teacher.float()
    for part in teacher.parts_below_head():
        part.to(dtype_of(precision))
