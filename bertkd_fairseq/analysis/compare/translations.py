"""Read the translations of a system in the order of the reference, as raw text and as Moses words."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.analysis.compare.generated import (
    Generated,
    missing_lines,
    parse_generated,
    sentence_problems,
)
from bertkd_fairseq.errors import DataError, raise_all
from bertkd_fairseq.text.lines import read_lines
from bertkd_fairseq.text.segmentation.schemes import (
    BPE,
    BYTE_BPE,
    GPT2,
    SENTENCEPIECE,
    detect_scheme,
)
from bertkd_fairseq.text.segmentation.wordpiece import undo_segmentation

_OF_OTHERS = (BPE, SENTENCEPIECE, GPT2, BYTE_BPE)  # schemes that fairseq's own --bpe undoes
_ENTITY = re.compile("&(amp|lt|gt|quot|apos|#91|#93|#124);")
Decode = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Run:
    """The translations of one trained model in the order of the reference, in both forms."""

    path: Path
    format: str  # "fairseq-generate" or "text"
    text: list[str]  # detokenised, for sacreBLEU and chrF
    #: In Moses words, for the tokenised BLEU of the paper, or in the tokens that ``Target.ngrams`` names.
    tokenized: list[str]


@dataclass(frozen=True)
class System:
    """A way to train, with one run for each seed."""

    name: str
    runs: list[Run]


def read_run(
    path: str | Path,
    count: int,
    *,
    tokenize: Decode,
    detokenize: Decode,
    reference: Sequence[str] | None = None,
) -> Run:
    """Read output of ``fairseq-generate``, which is recognised by its H- lines, or plain text.

    The first hypothesis of each n-best list is read. ``tokenize`` turns raw text into Moses words, and ``detokenize``
    turns Moses words into raw text.

    :raises DataError: unless there is exactly one translation for each of ``count`` sentences. If there are T- lines
        and a ``reference``, also if at least half of them differ from it.
    """
    lines = read_lines(path)
    found = parse_generated(lines)
    if not any(one.hypotheses for one in found.values()):
        if len(lines) != count:
            raise DataError(
                f"`{path}` must have {count} lines, one for each reference, "
                f"but has {len(lines)} instead."
            )
        return Run(Path(path), "text", lines, tokenize(lines))
    raise_all(sentence_problems(path, found, count), DataError)
    if reference is not None:
        _check_targets(path, found, reference)
    first = [found[number].hypotheses[0] for number in range(count)]
    decoded = {i: each.decoded for i, each in enumerate(first) if each.decoded is not None}
    if decoded:
        raise_all(missing_lines(path, "D", decoded, count), DataError)
    generated = [each.symbols for each in first]
    shown = list(decoded.values()) or generated
    if reference is not None and _escaped(generated) and not _escaped(reference):
        generated, shown = ([html.unescape(line) for line in lines] for lines in (generated, shown))
    _check_decoded(path, generated, shown)
    text, words = both_forms(generated, shown, tokenize, detokenize)
    return Run(Path(path), "fairseq-generate", text, words)


def both_forms(
    generated: list[str], decoded: list[str], tokenize: Decode, detokenize: Decode
) -> tuple[list[str], list[str]]:
    """Return the raw text and the Moses words of translations, from their H- and D- lines."""
    if _scheme(generated) in _OF_OTHERS:
        return decoded, tokenize(decoded)
    words = [undo_segmentation(line) for line in generated]
    # D- lines are raw text already, unless they equal the H- lines or the words inside these.
    return detokenize(words) if decoded in (generated, words) else decoded, words


def _scheme(lines: Sequence[str]) -> str:
    return detect_scheme(sorted({symbol for line in lines for symbol in line.split()}))


def _escaped(lines: Sequence[str]) -> bool:
    """Return whether ``lines`` have characters that are escaped as Moses' own script and sacremoses do it."""
    return any(_ENTITY.search(line) for line in lines)


def _check_decoded(path: str | Path, generated: list[str], decoded: list[str]) -> None:
    """:raises DataError: if the translations are still symbols of another tool's subword scheme."""
    scheme = _scheme(generated)
    if scheme in _OF_OTHERS and decoded == generated:
        raise DataError(
            f"`{path}` must hold words or text, but holds symbols of {scheme}. "
            "Decode again with --bpe, or with --post-process."
        )


def _check_targets(
    path: str | Path, found: Mapping[int, Generated], reference: Sequence[str]
) -> None:
    """Compare the targets that fairseq-generate printed with the reference.

    At least half of them have to agree. Unknown symbols and normalisation may change some of them. In the output of
    another split nearly all differ.

    :raises DataError: if fewer agree.
    """
    targets = {i: found[i].head["T"] for i in range(len(reference)) if "T" in found[i].head}
    agree = sum(letters(text) == letters(reference[i]) for i, text in targets.items())
    if 2 * agree < len(targets):
        raise DataError(
            f"`{path}` must be translations of this reference, but its T- lines agree with only {agree} of "
            f"{len(reference)} sentences. Decode this split (--gen-subset), or name the reference of the other split."
        )


def letters(text: str) -> str:
    """Return only the letters and digits of ``text``, since tokenised and raw text of a sentence agree in these."""
    return "".join(filter(str.isalnum, html.unescape(text).casefold()))
