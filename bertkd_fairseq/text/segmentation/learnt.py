"""Learn subword models from the training text, by subword-nmt or SentencePiece."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from bertkd_fairseq.errors import ConfigurationError, DataError
from bertkd_fairseq.text.segmentation.schemes import BPE, BPE_MARK, SENTENCEPIECE, WORD_MARK

BPE_CODES, SENTENCEPIECE_MODEL = "bpe.codes", "sentencepiece.model"
"""Names of the two models' files in a data-bin, for fairseq's ``--bpe-codes`` and ``--sentencepiece-model``."""

MODEL_FILES = {BPE: BPE_CODES, SENTENCEPIECE: SENTENCEPIECE_MODEL}
UNIGRAM, BY_MERGES = MODEL_TYPES = ("unigram", "bpe")


def undo_bpe(line: str) -> str:
    """Return the words of a line of subword-nmt's symbols, as fairseq's ``--bpe subword_nmt``."""
    return f"{line} ".replace(f"{BPE_MARK} ", "").rstrip()


def undo_sentencepiece(line: str) -> str:
    """Return the text of a line of SentencePiece's symbols, as fairseq's ``--bpe sentencepiece``."""
    return line.replace(" ", "").replace(WORD_MARK, " ").strip()


class Segmenter(Protocol):
    """Cuts lines into symbols."""

    def segment_lines(self, lines: Sequence[str]) -> list[str]:
        """Return each line as symbols, separated by single spaces."""


class SubwordNMT:
    """Merges of subword-nmt, learnt from tokenised lines. A merge never crosses a space."""

    def __init__(self, codes: Path) -> None:
        from subword_nmt.apply_bpe import BPE as Merges

        with codes.open(encoding="utf-8") as file:
            self._merges: Any = Merges(file)

    @classmethod
    def learn(cls, lines: Sequence[str], vocab_size: int, codes: Path) -> SubwordNMT:
        """Learn ``vocab_size`` merges and write them to ``codes``."""
        from subword_nmt.learn_bpe import learn_bpe

        with codes.open("w", encoding="utf-8") as file:
            learn_bpe(io.StringIO("\n".join(lines)), file, vocab_size)
        return cls(codes)

    def segment_lines(self, lines: Sequence[str]) -> list[str]:
        """Return the symbols of each line, such as ``un@@ happy``."""
        return [self._merges.process_line(line) for line in lines]


class SentencePieceModel:
    """A SentencePiece model, learnt from raw lines. Its symbols record where spaces were."""

    def __init__(self, model: Path) -> None:
        self._model: Any = _sentencepiece().SentencePieceProcessor(model_file=str(model))

    @classmethod
    def learn(
        cls, lines: Sequence[str], vocab_size: int, model: Path, model_type: str
    ) -> SentencePieceModel:
        """Learn a model of ``vocab_size`` pieces and write it to ``model``.

        :raises DataError: if the text is too small for that many pieces.
        """
        trainer = _sentencepiece().SentencePieceTrainer
        try:
            trainer.train(
                sentence_iterator=iter(lines),
                model_prefix=str(model.with_suffix("")),
                vocab_size=vocab_size,
                model_type=model_type,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            reason = str(error).rpartition("] ")[2].strip().rstrip(".")
            raise DataError(
                f"SentencePiece can't learn {vocab_size} pieces from this text: {reason}. "
                "Choose another number of pieces."
            ) from error
        model.with_suffix(".vocab").unlink()  # the model file has the vocabulary, too
        return cls(model)

    def segment_lines(self, lines: Sequence[str]) -> list[str]:
        """Return the symbols of each line, such as ``▁un happy``."""
        return [" ".join(pieces) for pieces in self._model.encode(list(lines), out_type=str)]


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise ConfigurationError(
            "SentencePiece isn't installed. Install it: pip install 'bertkd-fairseq[sentencepiece]'."
        ) from error
    return sentencepiece
