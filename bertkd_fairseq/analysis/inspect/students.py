"""What a student predicts for every target token, through fairseq."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bertkd_fairseq.analysis.inspect.agreement import Predictions
from bertkd_fairseq.errors import ConfigurationError, DataError, must_be
from bertkd_fairseq.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

_MAX_TOKENS = 4096


@dataclass(frozen=True)
class Probabilities:
    """A student's natural log-probabilities, given the source and the reference before each target token.

    ``entries`` (tokens, K): of the symbols that it was asked for; ``gold`` (tokens,): of the reference. float32.
    """

    entries: np.ndarray
    gold: np.ndarray


class Student:
    """A left-to-right sequence-to-sequence model in a checkpoint, asked with the reference before each token.

    A checkpoint doesn't say which dictionary it was trained with: as in fairseq-generate, the data-bin's is taken.
    """

    def __init__(self, path: str, data_bin: str, langs: tuple[str, str], option: str) -> None:
        """Load it.

        :param langs: the languages to translate from and to.
        :param option: what messages call the setting that names the checkpoint.
        :raises BertKDError: if the file is refused, holds another kind of model, or translates otherwise.
        """
        # Importing the tasks prepares the process for fairseq, which importing this module must not.
        from bertkd_fairseq.tasks.checkpoint import load_left_to_right

        self.path = path
        self.model, task = load_left_to_right(path, data_bin, option)
        trained = (task.cfg.source_lang, task.cfg.target_lang)
        if trained != langs:
            raise ConfigurationError(
                must_be(
                    option,
                    f"a model from {langs[0]} to {langs[1]} like the store",
                    f"one from {trained[0]} to {trained[1]}, {path},",
                    "Name a student of the same task, or the store of its teacher.",
                )
            )

    def predictions(self, pairs: Any, name: str) -> Predictions:
        """Return the predictions for fairseq's ``pairs``, sentence by sentence, with a GPU if there is one.

        :param name: shown with the progress.
        :raises DataError: if a pair is too long for the model.
        """
        tokens = int(np.sum(pairs.tgt_sizes))
        prediction = np.zeros(tokens, np.int64)
        confidence, gold_logprob = np.zeros((2, tokens), np.float32)
        for asked in self._asked(pairs, name, np.arange(len(pairs))):
            best, symbols = asked.logprobs.max(-1)  # (n,)
            prediction[asked.rows] = symbols.cpu().numpy()
            confidence[asked.rows] = best.float().exp().cpu().numpy()
            gold_logprob[asked.rows] = asked.of(asked.gold[:, None])[:, 0]
        return Predictions(prediction, confidence, gold_logprob)

    def probabilities(
        self, pairs: Any, name: str, sentences: np.ndarray, ids: np.ndarray
    ) -> Probabilities:
        """Return what the student says of given symbols, where it would say one of the target tokens.

        :param name: shown with the progress.
        :param sentences: which of fairseq's ``pairs`` (n,), in the order in which ``ids`` has their tokens.
        :param ids: symbols of the target dictionary for each of the target tokens: (tokens, K).
        :raises DataError: if a pair is too long for the model.
        """
        entries = np.zeros(ids.shape, np.float32)
        gold = np.zeros(len(ids), np.float32)
        for asked in self._asked(pairs, name, sentences):
            wanted = asked.gold.new_tensor(ids[asked.rows].astype(np.int64))
            entries[asked.rows] = asked.of(wanted)
            gold[asked.rows] = asked.of(asked.gold[:, None])[:, 0]
        return Probabilities(entries, gold)

    def _asked(self, pairs: Any, name: str, sentences: np.ndarray) -> Iterator[_Asked]:
        """Ask for every target token of ``sentences`` (n,), in batches of about the same length."""
        import torch
        from fairseq import utils

        self._check_lengths(pairs, sentences)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = self.model.to(device).eval()
        ends = np.cumsum(pairs.tgt_sizes[sentences])
        starts = np.zeros(len(pairs), np.int64)  # where the tokens of a sentence begin
        starts[sentences[1:]] = ends[:-1]
        with Progress(f"student {name}", int(ends[-1]), "tokens") as progress, torch.no_grad():
            for batch in _batches(pairs, sentences):
                sample = pairs.collater([pairs[sentence] for sentence in batch])
                if device.type == "cuda":
                    sample = utils.move_to_cuda(sample, device)
                target = sample["target"]  # (N, T), padded on the right
                output = model(**sample["net_input"])
                logprobs = model.get_normalized_probs(output, log_probs=True)  # (N, T, V)
                real = target.ne(pairs.tgt_dict.pad())  # (N, T)
                places = starts[sample["id"].cpu().numpy()][:, None] + np.arange(target.shape[1])
                rows = places[real.cpu().numpy()]
                yield _Asked(rows, target[real], logprobs[real])
                progress.add(len(rows))
        model.cpu()

    def _check_lengths(self, pairs: Any, sentences: np.ndarray) -> None:
        sides = (("source", pairs.src_sizes), ("target", pairs.tgt_sizes))
        for (side, sizes), longest in zip(sides, self.model.max_positions(), strict=True):
            too_long = sentences[np.asarray(sizes)[sentences] > longest]
            if len(too_long):
                first = int(too_long[0])
                raise DataError(
                    must_be(
                        f"{side} sentence {first}",
                        f"at most {longest} tokens for {self.path}",
                        f"{sizes[first]} tokens",
                        f"Ask a student with more --max-{side}-positions.",
                    )
                )


class _Asked(NamedTuple):
    """What a student says of n target tokens of a batch.

    ``rows`` (n,): which of all tokens that were asked for; ``gold`` (n,) int64; ``logprobs`` (n, V) of all symbols.
    """

    rows: np.ndarray
    gold: Tensor
    logprobs: Tensor

    def of(self, symbols: Tensor) -> np.ndarray:
        """Return the log-probabilities of ``symbols`` (n, K): (n, K) float32."""
        return np.asarray(self.logprobs.gather(1, symbols).float().cpu().numpy())


def _batches(pairs: Any, sentences: np.ndarray) -> list[np.ndarray]:
    """Return lists of sentences of about the same length."""
    from fairseq.data import data_utils

    sizes = np.maximum(pairs.src_sizes, pairs.tgt_sizes)[sentences]
    order = sentences[np.argsort(sizes, kind="stable")]
    largest = max(_MAX_TOKENS, int(sizes.max()))
    return data_utils.batch_by_size(order, pairs.num_tokens, max_tokens=largest)
