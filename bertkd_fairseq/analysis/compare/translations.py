"""Read the translations of a system: every sentence once, in the order of the reference, in two forms."""

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

_OF_OTHERS = (BPE, SENTENCEPIECE, GPT2, BYTE_BPE)  # which fairseq's own --bpe undoes
_ENTITY = re.compile("&(amp|lt|gt|quot|apos|#91|#93|#124);")
Decode = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Run:
    """The translations of one trained model in the order of the reference, in both forms."""

    path: Path
    format: str  # "fairseq-generate" or "text"
    text: list[str]  # detokenised, for sacreBLEU and chrF
    tokenized: list[
        str
    ]  # Moses words, for the tokenised BLEU of the paper, or what the target's n-grams are of


@dataclass(frozen=True)
class System:
    """One way to train, and what it gave each time it was done: a run for each seed."""

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
    """Read output of ``fairseq-generate`` (recognised by its H- lines), the first of each n-best list, or plain text.

    ``tokenize`` turns raw text into Moses words, ``detokenize`` Moses words into raw text.

    :raises DataError: unless there is exactly one translation for each of ``count`` sentences, and the target
        sentences beside them are those of ``reference``, where both are known.
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
    """Return the raw text and the Moses words of what H- and D- lines hold, however fairseq-generate decoded it."""
    if _scheme(generated) in _OF_OTHERS:
        return decoded, tokenize(decoded)
    words = [undo_segmentation(line) for line in generated]
    # Decoded to raw text already? Only if D- is neither H- itself nor the words inside H-.
    return detokenize(words) if decoded in (generated, words) else decoded, words


def _scheme(lines: Sequence[str]) -> str:
    return detect_scheme(sorted({symbol for line in lines for symbol in line.split()}))


def _escaped(lines: Sequence[str]) -> bool:
    """Tell whether ``lines`` have signs as Moses' own script escapes them, which sacremoses does too."""
    return any(_ENTITY.search(line) for line in lines)


def _check_decoded(path: str | Path, generated: list[str], decoded: list[str]) -> None:
    """:raises DataError: if subwords of other tools are still apart."""
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

    Half of them have to agree: unknown symbols and other normalisation may change some, another split changes all.
    """
    targets = {i: found[i].head["T"] for i in range(len(reference)) if "T" in found[i].head}
    agree = sum(letters(text) == letters(reference[i]) for i, text in targets.items())
    if 2 * agree < len(targets):
        raise DataError(
            f"`{path}` must be translations of this reference, but its T- lines agree with {agree} of "
            f"{len(reference)} sentences. Decode this split (--gen-subset), or compare with the other's reference."
        )


def letters(text: str) -> str:
    """Return the letters and digits of ``text``, in which two ways of writing the same sentence agree."""
    return "".join(filter(str.isalnum, html.unescape(text).casefold()))
