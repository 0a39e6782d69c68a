"""Raw text to the symbols of a data-bin and back, as ``bertkd prepare`` has cut the text that is in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.moses import without_control_characters
from bertkd_fairseq.text.segmentation.learnt import (
    MODEL_FILES,
    Segmenter,
    SentencePieceModel,
    SubwordNMT,
    undo_bpe,
    undo_sentencepiece,
)
from bertkd_fairseq.text.segmentation.schemes import BPE, SENTENCEPIECE, WORDPIECE
from bertkd_fairseq.text.segmentation.wordpiece import WordPieceSegmenter, undo_segmentation

POST_PROCESS: dict[str, Callable[[str], str]] = {
    WORDPIECE: undo_segmentation,
    BPE: undo_bpe,
    SENTENCEPIECE: undo_sentencepiece,
}
"""What makes tokens, or text, of a line of symbols, by the subword scheme."""


def undo_subwords(line: str, scheme: str) -> str:
    """Return the words of a line of symbols. If ``scheme`` has no words to be made of them, the line stays as it is."""
    undo = POST_PROCESS.get(scheme)
    return undo(line) if undo else line


class RawText:
    """Lines of the source language to symbols, symbols of the target language to a line."""

    def __init__(self, data_bin: DataBin) -> None:
        """:raises DataError: if the data-bin lacks the tokenizer or subword model that cut its text."""
        self._scheme = str(data_bin.settings.get("subword", WORDPIECE))
        self._lowercase = data_bin.lowercase
        self._source = data_bin.words(data_bin.source_lang)
        self._target = data_bin.words(data_bin.target_lang)
        self._segmenter = _segmenter(data_bin, self._scheme)

    def symbols(self, lines: Sequence[str]) -> list[list[str]]:
        """Return the symbols of each raw line, without EOS; none for an empty line."""
        return [line.split() for line in self._segmenter.segment_lines(self._words(lines))]

    def text(self, symbols: Sequence[str]) -> str:
        """Return the line that the symbols of a translation write."""
        line = POST_PROCESS[self._scheme](" ".join(symbols))
        return line if self._scheme == SENTENCEPIECE else self._target.detokenize(line)

    def _words(self, lines: Sequence[str]) -> list[str]:
        if self._scheme != SENTENCEPIECE:
            return [self._source.tokenize(line) for line in lines]
        raw = map(without_control_characters, lines)
        return [line.lower() if self._lowercase else line for line in raw]


def _segmenter(data_bin: DataBin, scheme: str) -> Segmenter:
    if scheme == WORDPIECE:
        return WordPieceSegmenter(data_bin.checked_tokenizer())
    kinds: dict[str, Callable[[Path], Segmenter]]
    kinds = {BPE: SubwordNMT, SENTENCEPIECE: SentencePieceModel}
    file = data_bin.path / MODEL_FILES[scheme]
    if not file.is_file():
        raise DataError(
            f"`{file}` must be the subword model of the data-bin, but is missing. "
            "Copy it from where the data-bin was made."
        )
    return kinds[scheme](file)
