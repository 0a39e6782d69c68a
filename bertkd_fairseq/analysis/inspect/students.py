"""What a student predicts for every target token, through fairseq."""

from __future__ import annotations

from typing import Any

import numpy as np

from bertkd_fairseq.analysis.inspect.agreement import Predictions
from bertkd_fairseq.analysis.inspect.config import InspectConfig
from bertkd_fairseq.errors import ConfigurationError, DataError, must_be
from bertkd_fairseq.progress import Progress
from bertkd_fairseq.settings import named

_MAX_TOKENS = 4096


class Student:
    """A left-to-right sequence-to-sequence model in a checkpoint, asked with the reference before each token.

    A checkpoint doesn't say which dictionary it was trained with: as in fairseq-generate, the data-bin's is taken.
    """

    def __init__(self, path: str, data_bin: str, langs: tuple[str, str]) -> None:
        """Load it.

        :param langs: the languages to translate from and to.
        :raises BertKDError: if the file is refused, holds another kind of model, or translates otherwise.
        """
        # Importing the tasks prepares the process for fairseq, which importing this module must not.
        from bertkd_fairseq.tasks.checkpoint import load_checkpoint

        self.path = path
        # No scorer of BLEU: it isn't needed, and its tokenizer might be another's.
        self.model, task = load_checkpoint(path, data_bin, eval_bleu=False)
        from fairseq.models import FairseqEncoderDecoderModel
        from fairseq.models.nat import FairseqNATModel

        option, kind = named(InspectConfig, "students"), type(self.model).__name__
        if not isinstance(self.model, FairseqEncoderDecoderModel) or isinstance(
            self.model, FairseqNATModel
        ):
            wanted = "a left-to-right sequence-to-sequence student"
            hint = "Name the checkpoint of a student."
            raise ConfigurationError(must_be(option, wanted, f"the {kind} in {path}", hint))
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
        import torch
        from fairseq import utils

        self._check_lengths(pairs)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = self.model.to(device).eval()
        offsets = np.concatenate([[0], np.cumsum(pairs.tgt_sizes)])
        prediction = np.zeros(offsets[-1], np.int64)
        confidence, gold_logprob = np.zeros((2, offsets[-1]), np.float32)
        with Progress(f"student {name}", int(offsets[-1]), "tokens") as progress, torch.no_grad():
            for batch in _batches(pairs):
                sample = pairs.collater([pairs[sentence] for sentence in batch])
                if device.type == "cuda":
                    sample = utils.move_to_cuda(sample, device)
                target = sample["target"]  # (N, T), padded on the right
                output = model(**sample["net_input"])
                logprobs = model.get_normalized_probs(output, log_probs=True)  # (N, T, V)
                best, symbols = logprobs.max(-1)  # (N, T)
                gold = logprobs.gather(2, target[:, :, None]).squeeze(2)  # (N, T)
                real = target.ne(pairs.tgt_dict.pad()).cpu().numpy()  # (N, T)
                starts = offsets[sample["id"].cpu().numpy()]  # (N,)
                rows = (starts[:, None] + np.arange(target.shape[1]))[real]
                prediction[rows] = symbols.cpu().numpy()[real]
                confidence[rows] = best.float().exp().cpu().numpy()[real]
                gold_logprob[rows] = gold.float().cpu().numpy()[real]
                progress.add(len(rows))
        model.cpu()
        return Predictions(prediction, confidence, gold_logprob)

    def _check_lengths(self, pairs: Any) -> None:
        sides = (("source", pairs.src_sizes), ("target", pairs.tgt_sizes))
        for (side, sizes), longest in zip(sides, self.model.max_positions(), strict=True):
            too_long = np.flatnonzero(np.asarray(sizes) > longest)
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


def _batches(pairs: Any) -> list[np.ndarray]:
    """Return lists of sentences of about the same length."""
    from fairseq.data import data_utils

    sizes = np.maximum(pairs.src_sizes, pairs.tgt_sizes)
    order = np.argsort(sizes, kind="stable")
    largest = max(_MAX_TOKENS, int(sizes.max()))
    return data_utils.batch_by_size(order, pairs.num_tokens, max_tokens=largest)
