"""Raw text to Moses tokens and back, with sacremoses.

Nothing is escaped (``&apos;`` would become five WordPieces) and therefore nothing is unescaped.
Where sacremoses differs from Moses' own ``tokenizer.perl``, its tokens are brought back to that
script's: ``tests/unit/text/moses_lines.jsonl`` has what it gives for hard lines. Known to be left: CJK
beside an English apostrophe, the script's own markers (``DOTMULTI``) as text, and control characters,
which go here. On purpose different, because no detokeniser could undo it: the script cuts words at every
mark that isn't a letter by itself (viramas, tone marks, a decomposed accent), at joiners, at the marks that
Tibetan and Hebrew write inside a word, and emoji between their parts. Tags in front of a sentence are no text.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import repeat

from bertkd_fairseq.progress import Progress
from bertkd_fairseq.text.languages import has_spaces

_CHUNK = 2000

# Everything that some reader of lines takes for the end of a line or of a word, and the tab, which
# fairseq-interactive takes for the start of constraints. Other control characters go.
_CONTROL_SPACE = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")

# Moses splits the period off the last word whatever it is ("u.s.a ."); sacremoses keeps it where it
# would within a sentence. Several dots stay together in both.
_LAST_PERIOD = re.compile(r"(?<=[^.\s])\.$")
# sacremoses has lists of letters, old and without CJK; Moses asks the Unicode properties. What belongs to words besides
# letters and digits: marks, joiners (Persian needs them inside words), Tibetan tsheg, Hebrew maqaf, geresh, gershayim.
_WITHIN_WORDS = r"\p{M}\u200c\u200d\u0f0b\u05be\u05f3\u05f4"
_ZERO_WIDTH_SPACE = (
    r"\u200b"  # stands between words where there are no spaces, in Khmer and Burmese above all
)
# Everything else is a token of its own, a whole grapheme (\X): a flag or a family is one emoji of several characters.
_SEPARATED = r"((?=[^\p{{Alphabetic}}\p{{Nd}}{within_words}\s.'`,\-])\X)"
_ALPHABETIC, _LOWERCASE = r"\p{Alphabetic}", r"\p{Lowercase}"
# What the detokeniser puts to the word before: sacremoses knows ASCII's alone.
_CLOSING = r"^[\p{Terminal_Punctuation}\\%}\])]+$"
# Japanese and Chinese punctuation and letters as wide as theirs have their own space inside.
_SPACE_AT_WIDE = re.compile("(?<=[\u3000-\u303f\uff01-\uff60]) | (?=[\u3000-\u303f\uff01-\uff60])")
# What tells a multilingual model its languages: <2en>, >>fra<<, __de__, with a space behind.
_TAGS = re.compile(r"\s*((?:(?:<[^<>\s]+>|>>[^<>\s]+<<|__\w+__)(?:\s+|$))*)")


def without_control_characters(line: str) -> str:
    """Return ``line`` with tabs and line separators as spaces, other control characters removed."""
    return _CONTROL.sub("", _CONTROL_SPACE.sub(" ", line))


class MosesText:
    """Moses tokens of raw lines in one language, and back.

    :param lang: language code; sacremoses takes English rules for those it doesn't know.
    :param lowercase: lowercase the tokens.
    :param normalize: normalise punctuation first (``„`` to ``"``, ``–`` to ``-`` and so on).
    """

    def __init__(self, lang: str, *, lowercase: bool = False, normalize: bool = True) -> None:
        import regex
        from sacremoses import MosesDetokenizer, MosesPunctNormalizer, MosesTokenizer

        self.lowercase = lowercase
        self._spaces = has_spaces(lang)
        self._normalizer = MosesPunctNormalizer(lang) if normalize else None
        self._tokenizer = MosesTokenizer(lang)
        within_words = _WITHIN_WORDS if self._spaces else _WITHIN_WORDS + _ZERO_WIDTH_SPACE
        separated = _SEPARATED.format(within_words=within_words)
        self._tokenizer.PAD_NOT_ISALNUM = regex.compile(separated), r" \1 "
        self._tokenizer.isanyalpha = regex.compile(_ALPHABETIC).search
        self._tokenizer.islower = regex.compile(_LOWERCASE).match
        self._detokenizer = MosesDetokenizer(lang)
        self._detokenizer.IS_PUNCT = regex.compile(_CLOSING)

    def tokenize(self, line: str) -> str:
        """Return the tokens of a raw ``line``, separated by single spaces; tags in front of it stay as they are."""
        tags, text = _without_tags(without_control_characters(line))
        if self._normalizer is not None:
            text = self._normalizer.normalize(text)
        text = self._tokenizer.tokenize(text, escape=False, return_str=True)
        text = _LAST_PERIOD.sub(" .", " ".join(text.split()))
        return " ".join([*tags, *(text.lower() if self.lowercase else text).split()])

    def detokenize(self, tokens: str) -> str:
        """Return the text of ``tokens`` that are separated by spaces; tags in front of it stay as they are."""
        tags, text = _without_tags(tokens)
        text = str(self._detokenizer.detokenize(text.split(), unescape=False))
        if not self._spaces:
            text = _SPACE_AT_WIDE.sub("", text)
        return " ".join([*tags, text] if text else tags)


class TokenizedText:
    """Text that is tokens already, in the place of :class:`MosesText`: neither way changes them.

    :param lowercase: lowercase the tokens.
    """

    def __init__(self, *, lowercase: bool = False) -> None:
        self.lowercase = lowercase

    def tokenize(self, line: str) -> str:
        """Return the tokens of ``line``, separated by single spaces; tags in front of it stay as they are."""
        tags, text = _without_tags(without_control_characters(line))
        return " ".join([*tags, *(text.lower() if self.lowercase else text).split()])

    def detokenize(self, tokens: str) -> str:
        """Return ``tokens``."""
        return tokens


Words = MosesText | TokenizedText
"""What makes tokens of raw text, and raw text of tokens."""


def _without_tags(line: str) -> tuple[list[str], str]:
    """Return the tags in front of a line and the rest.

    sacremoses could protect them by a pattern, but only as a word like others, which lowercasing and
    the word beside it would touch.
    """
    found = _TAGS.match(line)
    return (found[1].split(), line[found.end() :]) if found else ([], line)


@cache
def _moses_text(lang: str, lowercase: bool, normalize: bool) -> MosesText:
    return MosesText(lang, lowercase=lowercase, normalize=normalize)


def _tokenize_chunk(lines: Sequence[str], lang: str, lowercase: bool, normalize: bool) -> list[str]:
    moses = _moses_text(lang, lowercase, normalize)
    return [moses.tokenize(line) for line in lines]


def tokenize_lines(
    lines: Sequence[str],
    lang: str,
    *,
    lowercase: bool = False,
    normalize: bool = True,
    workers: int = 1,
) -> list[str]:
    """Return :meth:`MosesText.tokenize` of each line, in order for any number of ``workers``."""
    chunks = [lines[start : start + _CHUNK] for start in range(0, len(lines), _CHUNK)]
    how = repeat(lang), repeat(lowercase), repeat(normalize)
    tokenized: list[str] = []
    with (
        _chunk_mapper(min(workers, len(chunks))) as map_chunks,
        Progress(f"tokenising {lang}", len(lines), "lines") as progress,
    ):
        for done in map_chunks(_tokenize_chunk, chunks, *how):
            tokenized += done
            progress.add(len(done))
    return tokenized


@contextmanager
def _chunk_mapper(workers: int) -> Iterator[Callable[..., Iterable[list[str]]]]:
    """Yield ``map`` over so many processes."""
    if workers <= 1:
        yield map
        return
    # Spawned, because forking a process whose tokenizers library has started threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield pool.map
