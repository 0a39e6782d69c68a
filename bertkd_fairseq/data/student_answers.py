"""What a student answers to every target token, through fairseq."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bertkd_fairseq.data.load_checkpoint import load_checkpoint
from bertkd_fairseq.errors import ConfigurationError, DataError, must_be
from bertkd_fairseq.progress import Progress
from bertkd_fairseq.student_agreement import Answers

_MAX_TOKENS = 4096


class Student:
    """A sequence-to-sequence model in a checkpoint, asked one token after the reference before it."""

    def __init__(self, path: str, data_bin: str, symbols: Sequence[str]) -> None:
        """Load it, on the GPU if there is one.

        :raises BertKDError: if the file is refused, no sequence-to-sequence model, or has another target
            dictionary than ``symbols``.
        """
        # No scorer of BLEU: it isn't needed, and its tokenizer might be another's.
        self.model, task = load_checkpoint(path, data_bin, eval_bleu=False)
        import torch
        from fairseq.models import FairseqEncoderDecoderModel

        if not isinstance(self.model, FairseqEncoderDecoderModel):
            kind = type(self.model).__name__
            wanted = "checkpoints of sequence-to-sequence students"
            raise ConfigurationError(must_be("--student", wanted, f"a {kind} in {path}"))
        if list(task.target_dictionary.symbols) != list(symbols):
            raise DataError(
                f"{path} was trained with another target dictionary than the store's. "
                "Name a student that was trained on this data-bin."
            )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval()

    def answers(self, pairs: Any, name: str) -> Answers:
        """Return the answers to fairseq's ``pairs``, sentence by sentence; ``name`` is shown with the progress."""
        import torch
        from fairseq import utils

        offsets = np.concatenate([[0], np.cumsum(pairs.tgt_sizes)])
        guess = np.zeros(offsets[-1], np.int64)
        confidence, gold_logprob = np.zeros((2, offsets[-1]), np.float32)
        with Progress(f"student {name}", int(offsets[-1]), "tokens") as progress, torch.no_grad():
            for batch in _batches(pairs):
                sample = pairs.collater([pairs[sentence] for sentence in batch])
                if self.device.type == "cuda":
                    sample = utils.move_to_cuda(sample, self.device)
                target = sample["target"]  # (N, T), padded on the right
                output = self.model(**sample["net_input"])
                logprobs = self.model.get_normalized_probs(output, log_probs=True)  # (N, T, V)
                best, symbols = logprobs.max(-1)  # (N, T)
                gold = logprobs.gather(2, target[:, :, None]).squeeze(2)  # (N, T)
                real = target.ne(pairs.tgt_dict.pad()).cpu().numpy()  # (N, T)
                starts = offsets[sample["id"].cpu().numpy()]  # (N,)
                rows = (starts[:, None] + np.arange(target.shape[1]))[real]
                guess[rows] = symbols.cpu().numpy()[real]
                confidence[rows] = best.float().exp().cpu().numpy()[real]
                gold_logprob[rows] = gold.float().cpu().numpy()[real]
                progress.add(len(rows))
        return Answers(guess, confidence, gold_logprob)


def _batches(pairs: Any) -> list[np.ndarray]:
    """Return lists of sentences of about the same length."""
    from fairseq.data import data_utils

    order = np.argsort(np.asarray(pairs.tgt_sizes), kind="stable")
    return data_utils.batch_by_size(order, pairs.num_tokens, max_tokens=_MAX_TOKENS)
