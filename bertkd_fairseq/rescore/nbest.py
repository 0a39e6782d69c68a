"""Read the n-best lists of ``fairseq-generate``, check them, and write them in another order."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from bertkd_fairseq.analysis.compare.generated import (
    Generated,
    Hypothesis,
    parse_generated,
    sentence_problems,
    some,
)
from bertkd_fairseq.analysis.compare.translations import letters
from bertkd_fairseq.errors import DataError, must_be, raise_all
from bertkd_fairseq.text.lines import read_lines, write_lines

LN2 = math.log(2)
"""What turns the scores that fairseq prints, which are in base 2, into nats."""


@dataclass(frozen=True)
class NBest:
    """The lists of all sentences in the order of the file, which is by length.

    ``setting``: the name in messages of the setting that gave ``path``.
    """

    path: Path
    setting: str
    sentences: list[Generated]

    @classmethod
    def read(cls, path: str | Path, setting: str, *, to_choose: bool = True) -> NBest:
        """Read the output of ``fairseq-generate --nbest N``.

        :param to_choose: lists of one hypothesis each are refused.
        :raises DataError: if lines or scores are missing, or there is nothing to choose from.
        """
        found = parse_generated(read_lines(path))
        nbest = cls(Path(path), setting, [one for one in found.values() if one.hypotheses])
        raise_all(nbest._problems(to_choose), DataError)
        return nbest

    def _problems(self, to_choose: bool) -> list[str]:
        if not self.sentences:
            wanted, hint = "output of fairseq-generate", "Keep all that it prints."
            seen = f"{self.path}, which has no H- lines,"
            return [must_be(self.setting, wanted, seen, hint)]
        without = [one.number for one in self.sentences if not _complete(one)]
        if without:
            return [
                f"`{self.path}` must have a P- line after each H- line, but lacks some in {some(sorted(without))}. "
                f"Keep "
                f"all that fairseq-generate prints, unsorted: a P- line has the student's log-probabilities."
            ]
        unlike = [
            one.number
            for one in self.sentences
            if any(_positional(each) is None for each in one.hypotheses)
        ]
        if unlike:
            return [
                f"`{self.path}` must have a number in P- for every symbol of H- and one for EOS, but hasn't in "
                f"{some(sorted(unlike))}. Decode without --post-process (--remove-bpe), which joins symbols. --bpe "
                f"may stay: it changes only D- lines."
            ]
        if to_choose and all(len(one.hypotheses) == 1 for one in self.sentences):
            return [
                f"`{self.path}` must have several hypotheses for each sentence, but has one. "
                "There is nothing to choose from: decode with --nbest 10 --beam 10."
            ]
        return []

    def sentence_problems(self, count: int) -> list[str]:
        """Return what is wrong unless these are exactly the sentences 0 to ``count - 1``, each once."""
        return sentence_problems(self.path, {one.number: one for one in self.sentences}, count)

    def split_problems(self, split: str, targets: Sequence[Sequence[str]]) -> list[str]:
        """Return what is wrong unless these are exactly the sentences of a split.

        :param targets: the target sentences of the split, in one form or several (such as symbols and raw text).
        """
        count = len(targets[0])
        if problems := self.sentence_problems(count):
            return problems
        known = {one.number: letters(one.head["T"]) for one in self.sentences if "T" in one.head}
        written = {i: {letters(text[i]) for text in targets} for i in known}
        # Symbols that are numbers, such as GPT-2's, can't be compared with text.
        known = {
            i: text
            for i, text in known.items()
            if text.isdecimal() or not all(map(str.isdecimal, written[i]))
        }
        agree = sum(text in written[i] for i, text in known.items())
        if 2 * agree >= len(known):
            return []
        return [
            f"`{self.path}` must be the output for {split}, but its T- lines agree with only {agree} of "
            f"{count} sentences. Name the split that was decoded."
        ]

    def __iter__(self) -> Iterator[Hypothesis]:
        """Go through all hypotheses, one list after the other."""
        return (each for one in self.sentences for each in one.hypotheses)

    @property
    def sizes(self) -> np.ndarray:
        """How many hypotheses each list has: (sentences,)."""
        return np.array([len(one.hypotheses) for one in self.sentences])

    @property
    def numbers(self) -> np.ndarray:
        """For each hypothesis the number of its sentence: (hypotheses,)."""
        return np.repeat([one.number for one in self.sentences], self.sizes)

    def student(self) -> np.ndarray:
        """Return the student's log-probability of each hypothesis in nats, the sum of P-: (hypotheses,) float64.

        The score in H- can't be used, because it was divided by a power of the length that the output doesn't name.
        """
        return np.array([math.fsum(_positional(each) or ()) * LN2 for each in self])

    def lengths(self) -> np.ndarray:
        """Return the number of symbols of each hypothesis, EOS included: (hypotheses,)."""
        return np.array([len(symbols_of(each)) + 1 for each in self])

    def ids(self, index: Callable[[str], int], eos: int) -> list[np.ndarray]:
        """Return the ids of each hypothesis, EOS included; ``index`` returns the id of a symbol."""
        return [np.array([*map(index, symbols_of(each)), eos], dtype=np.int64) for each in self]

    def digest(self) -> str:
        """Return the sha256 of the hypotheses and their sentences' numbers, in their order, without the scores."""
        lines = (
            f"{number}\t{each.symbols}\n" for number, each in zip(self.numbers, self, strict=True)
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def reordered(self, order: np.ndarray, scores: np.ndarray) -> NBest:
        """Return the lists in a new ``order``, with new ``scores`` in nats; both are (sentences, longest list)."""
        sentences = []
        for one, places, values in zip(self.sentences, order, scores, strict=True):
            hypotheses = [
                replace(one.hypotheses[place], score=str(float(values[place] / LN2)))
                for place in islice(places, len(one.hypotheses))
            ]
            sentences.append(replace(one, hypotheses=hypotheses))
        return replace(self, sentences=sentences)

    def write(self, path: Path) -> None:
        """Write the lists as fairseq-generate prints them, without its log and without its last line, a score."""
        write_lines(path, [line for one in self.sentences for line in one.lines()])


def symbols_of(hypothesis: Hypothesis) -> list[str]:
    """Return the symbols of a hypothesis, without EOS as in H-."""
    return hypothesis.symbols.split(" ") if hypothesis.symbols else []


def _complete(one: Generated) -> bool:
    return one.in_order and all(each.positional is not None for each in one.hypotheses)


def _positional(hypothesis: Hypothesis) -> list[float] | None:
    """Return the numbers of P-; None unless there is one for each symbol and one for EOS."""
    try:
        numbers = [float(word) for word in (hypothesis.positional or "").split()]
    except ValueError:
        return None
    whole = len(numbers) == len(symbols_of(hypothesis)) + 1
    return numbers if whole and not any(map(math.isnan, numbers)) else None
