"""Read the output of ``fairseq-generate``: S- and T- lines of sentences, and H-, D- and P- lines of hypotheses."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

#: Such a line has a letter for its kind, the number of its sentence (in E- lines also that of a step), and its content.
_LINE = re.compile(r"([A-Z])-(\d+)(?:_\d+)?\t(.*)", re.DOTALL)
_HEAD, _SCORED = ("S", "T"), ("H", "D")
_SHOWN = 5


@dataclass
class Hypothesis:
    """One translation as it is printed.

    ``score``: the sum of the log-probabilities in base 2, divided by a power of the length.
    ``symbols``: the generated symbols, from the H- line.
    ``decoded``: the text of the D- line; None without that line.
    ``positional``: from the P- line, the log-probabilities of each symbol and of EOS, in base 2; None without that
    line.
    ``further``: other lines of this hypothesis, unchanged.
    """

    score: str
    symbols: str
    decoded: str | None = None
    positional: str | None = None
    further: list[str] = field(default_factory=list)

    def lines(self, number: int) -> list[str]:
        """Return the lines of this hypothesis of sentence ``number``."""
        lines = [f"H-{number}\t{self.score}\t{self.symbols}"]
        if self.decoded is not None:
            lines.append(f"D-{number}\t{self.score}\t{self.decoded}")
        if self.positional is not None:
            lines.append(f"P-{number}\t{self.positional}")
        return lines + self.further


@dataclass
class Generated:
    """What is printed for one sentence.

    ``head``: the text of the S- and the T- line, by their letter. ``hypotheses``: in the order of the file.
    ``again``: True if the sentence is printed in several places, as in the output of several runs.
    ``in_order``: True if the lines of each hypothesis follow its H- line; False, for example, if all lines were sorted.
    """

    number: int
    head: dict[str, str] = field(default_factory=dict)
    hypotheses: list[Hypothesis] = field(default_factory=list)
    again: bool = False
    in_order: bool = True

    def lines(self) -> list[str]:
        """Return the lines of this sentence in fairseq's order."""
        head = [f"{kind}-{self.number}\t{text}" for kind, text in self.head.items()]
        return head + [line for each in self.hypotheses for line in each.lines(self.number)]


def parse_generated(lines: Iterable[str]) -> dict[int, Generated]:
    """Return the sentences in ``lines`` by their number, in the order of the file. Other lines are ignored.

    The first D- line of a sentence belongs to its first hypothesis, the second to its second, and so on, wherever
    the lines stand. The same holds for P- lines.
    """
    found: dict[int, Generated] = {}
    told: dict[tuple[int, str], list[str]] = {}
    last = None
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or (match[1] in _SCORED and "\t" not in match[3]):
            continue
        kind, number, rest = match[1], int(match[2]), match[3]
        one = found.setdefault(number, Generated(number))
        if kind in _HEAD:
            one.again |= kind in one.head
            one.head[kind] = rest
        elif kind == "H":
            one.again |= bool(one.hypotheses) and last != number
            one.in_order &= len(told.get((number, "P"), ())) == len(one.hypotheses)
            one.hypotheses.append(Hypothesis(*rest.split("\t", 1)))
            last = number
        elif kind in ("D", "P"):
            text = rest.split("\t", 1)[1] if kind == "D" else rest
            told.setdefault((number, kind), []).append(text)
        elif one.hypotheses:
            one.hypotheses[-1].further.append(line)
    for number, one in found.items():
        for kind, name in (("D", "decoded"), ("P", "positional")):
            texts = told.get((number, kind), [])
            for hypothesis, text in zip(one.hypotheses, texts, strict=False):
                setattr(hypothesis, name, text)
            one.in_order &= len(texts) in (0, len(one.hypotheses))
    return found


def sentence_problems(path: object, found: dict[int, Generated], count: int) -> list[str]:
    """Return what is wrong unless exactly the sentences 0 to ``count - 1`` have hypotheses, all from one run."""
    have = {number: one for number, one in found.items() if one.hypotheses}
    problems = missing_lines(path, "H", have, count)
    if again := sorted(number for number, one in have.items() if one.again):
        problems.append(
            f"`{path}` has H- lines in several places for {some(again, count)}. It must hold the output of one "
            f"run of fairseq-generate."
        )
    if surplus := sorted(number for number in have if number >= count):
        problems.append(
            f"`{path}` has H- lines for {some(surplus)} beyond the {count} references. "
            f"Is it the output for another split?"
        )
    return problems


def missing_lines(path: object, kind: str, have: Container[int], count: int) -> list[str]:
    """Return a message if some of ``count`` sentences don't ``have`` a line of this kind."""
    missing = [number for number in range(count) if number not in have]
    if not missing:
        return []
    return [
        f"`{path}` has no {kind}- line for {some(missing, count)}. Decode with "
        f"`--required-batch-size-multiple 1`: otherwise fairseq drops the last batch."
    ]


def some(numbers: Sequence[int], count: int | None = None) -> str:
    """Return for messages how many sentences these are, out of ``count`` if given, and the first of their numbers."""
    shown = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")
    of = "" if count is None else f" of {count}"
    return f"{len(numbers)}{of} sentences (ids {shown})"
