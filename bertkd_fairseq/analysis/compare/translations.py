"""Read the translations of a system: every sentence once, in the order of the reference, in two forms."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.errors import DataError, raise_all
from bertkd_fairseq.text.lines import read_lines
from bertkd_fairseq.text.segmentation.wordpiece import undo_segmentation

#: One line of fairseq-generate that holds a hypothesis: H- as generated, D- decoded.
_HYPOTHESIS = re.compile(r"([HD])-(\d+)\t([^\t]*)\t(.*)", re.DOTALL)
#: One that holds the target sentence of the data-bin, in its symbols.
_TARGET = re.compile(r"T-(\d+)\t(.*)", re.DOTALL)
_SHOWN = 5

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
    """Read output of ``fairseq-generate`` (recognised by its H- lines) or plain translations.

    ``tokenize`` turns raw text into Moses words, ``detokenize`` Moses words into raw text.

    :raises DataError: unless there is exactly one translation for each of ``count`` sentences, and the target
        sentences beside them are those of ``reference``, where both are known.
    """
    lines = read_lines(path)
    found = [match.groups() for line in lines if (match := _HYPOTHESIS.fullmatch(line))]
    if not any(kind == "H" for kind, *_ in found):
        if len(lines) != count:
            raise DataError(
                f"`{path}` must have {count} lines, one for each reference, "
                f"but has {len(lines)} instead."
            )
        return Run(Path(path), "text", lines, tokenize(lines))
    generated = _by_sentence(path, "H", found, count)
    if reference is not None:
        _check_targets(path, lines, reference)
    if any(kind == "D" for kind, *_ in found):
        decoded = _by_sentence(path, "D", found, count)
    else:
        decoded = generated
    words = [undo_segmentation(line) for line in generated]
    # Decoded to raw text already? Only if D- is neither H- itself nor the words inside H-.
    text = detokenize(words) if decoded in (generated, words) else decoded
    return Run(Path(path), "fairseq-generate", text, words)


def _by_sentence(
    path: str | Path, kind: str, found: Iterable[Sequence[str]], count: int
) -> list[str]:
    """Return the hypotheses of one kind by sentence id; each id below ``count`` exactly once."""
    pairs = [(int(id_), text) for line_kind, id_, _, text in found if line_kind == kind]
    times = Counter(id_ for id_, _ in pairs)
    missing = [i for i in range(count) if i not in times]
    twice = sorted(i for i, n in times.items() if n > 1)
    surplus = sorted(i for i in times if i >= count)
    problems = []
    if missing:
        problems.append(
            f"`{path}` has no {kind}- line for {_some(missing, count)}. Decode with "
            f"`--required-batch-size-multiple 1`: otherwise fairseq drops the last batch."
        )
    if twice:
        problems.append(
            f"`{path}` has several {kind}- lines for {_some(twice, count)}. It must hold one run "
            f"of fairseq-generate with `--nbest 1`."
        )
    if surplus:
        problems.append(
            f"`{path}` has {kind}- lines for {_some(surplus)} beyond the {count} references. "
            f"Is it the output for another split?"
        )
    raise_all(problems, DataError)
    texts = dict(pairs)
    return [texts[i] for i in range(count)]


def _check_targets(path: str | Path, lines: Sequence[str], reference: Sequence[str]) -> None:
    """Compare the targets that fairseq-generate printed with the reference, by their letters and digits alone.

    Half of them have to agree: unknown symbols and other normalisation may change some, another split changes all.
    """
    targets = {int(m[1]): m[2] for line in lines if (m := _TARGET.fullmatch(line))}
    agree = sum(_letters(text) == _letters(reference[i]) for i, text in targets.items())
    if 2 * agree < len(targets):
        raise DataError(
            f"`{path}` must be translations of this reference, but its T- lines agree with {agree} of "
            f"{len(reference)} sentences. Decode this split (--gen-subset), or compare with the other's reference."
        )


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, html.unescape(text).casefold()))


def _some(ids: list[int], count: int | None = None) -> str:
    shown = ", ".join(map(str, ids[:_SHOWN])) + (", ..." if len(ids) > _SHOWN else "")
    of = "" if count is None else f" of {count}"
    return f"{len(ids)}{of} sentences (ids {shown})"
