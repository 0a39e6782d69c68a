"""Raw text to Moses tokens and back, with sacremoses, and the paper's cleaning of parallel text.

Nothing is escaped (``&apos;`` would become five WordPieces) and therefore nothing is unescaped.
"""

from __future__ import annotations

import logging
import multiprocessing
import re
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import repeat

log = logging.getLogger(__name__)

_CHUNK = 2000
_PROGRESS_SECONDS = 10.0

# Everything that some reader of lines takes for the end of a line or of a word, and the tab, which
# fairseq-interactive takes for the start of constraints. Other control characters go.
_CONTROL_SPACE = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")


def without_control_characters(line: str) -> str:
    """Return ``line`` with tabs and line separators as spaces, other control characters removed."""
    return _CONTROL.sub("", _CONTROL_SPACE.sub(" ", line))


class MosesText:
    """Moses tokens of raw lines in one language, and back.

    :param lang: language code; sacremoses takes English rules for those it doesn't know.
    :param lowercase: lowercase the tokens.
    """

    def __init__(self, lang: str, *, lowercase: bool = False) -> None:
        from sacremoses import MosesDetokenizer, MosesPunctNormalizer, MosesTokenizer

        self.lowercase = lowercase
        self._normalizer = MosesPunctNormalizer(lang)
        self._tokenizer = MosesTokenizer(lang)
        self._detokenizer = MosesDetokenizer(lang)

    def tokenize(self, line: str) -> str:
        """Return the normalised tokens of a raw ``line``, separated by single spaces."""
        text = self._normalizer.normalize(without_control_characters(line))
        text = self._tokenizer.tokenize(text, escape=False, return_str=True)
        return " ".join((text.lower() if self.lowercase else text).split())

    def detokenize(self, tokens: str) -> str:
        """Return the text of ``tokens`` that are separated by spaces."""
        return str(self._detokenizer.detokenize(tokens.split(), unescape=False))


@cache
def _moses_text(lang: str, lowercase: bool) -> MosesText:
    return MosesText(lang, lowercase=lowercase)


def _tokenize_chunk(lines: Sequence[str], lang: str, lowercase: bool) -> list[str]:
    moses = _moses_text(lang, lowercase)
    return [moses.tokenize(line) for line in lines]


def tokenize_lines(
    lines: Sequence[str], lang: str, *, lowercase: bool = False, workers: int = 1
) -> list[str]:
    """Return :meth:`MosesText.tokenize` of each line, in order for any number of ``workers``."""
    chunks = [lines[start : start + _CHUNK] for start in range(0, len(lines), _CHUNK)]
    workers = min(workers, len(chunks))
    if workers <= 1:
        return _tokenize_chunk(lines, lang, lowercase)
    tokenized: list[str] = []
    started = shown = time.monotonic()
    # Spawned, because forking a process whose tokenizers library has started threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for done in pool.map(_tokenize_chunk, chunks, repeat(lang), repeat(lowercase)):
            tokenized += done
            now = time.monotonic()
            if now - shown > _PROGRESS_SECONDS:
                shown, rate = now, len(tokenized) / (now - started)
                left = (len(lines) - len(tokenized)) / rate
                log.info(
                    "%s: %d of %d lines tokenised, %.0f lines/s, %.0f s left",
                    *(lang, len(tokenized), len(lines), rate, left),
                )
    return tokenized


@dataclass(frozen=True)
class CleaningRules:
    """Which training pairs stay, by their number of Moses tokens (appendix A of the paper).

    ``max_ratio`` bounds the longer side over the shorter, whichever it is.
    """

    min_length: int = 1
    max_length: int = 175
    max_ratio: float = 1.5

    def reason_to_drop(self, source: str, target: str) -> str | None:
        """Return why a tokenised pair goes (empty, too_short, too_long, ratio), or None."""
        shorter, longer = sorted((len(source.split()), len(target.split())))
        if not shorter:
            return "empty"
        if shorter < self.min_length:
            return "too_short"
        if longer > self.max_length:
            return "too_long"
        if longer > self.max_ratio * shorter:
            return "ratio"
        return None
