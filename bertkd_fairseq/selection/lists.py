"""Join the n-best lists of several files: for each sentence, all its hypotheses with their scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bertkd_fairseq.analysis.compare.generated import Generated, sentence_problems, some
from bertkd_fairseq.analysis.compare.translations import letters
from bertkd_fairseq.errors import DataError, must_be, raise_all
from bertkd_fairseq.rescore.nbest import LN2, NBest, symbols_of
from bertkd_fairseq.selection.choosing import Candidate
from bertkd_fairseq.selection.sentences import Side


@dataclass(frozen=True)
class Sides:
    """The two sides of the translation: what was translated, and into what."""

    source: Side
    target: Side


def read_candidates(
    nbest: Sequence[str], rescored: Sequence[str], sides: Sides, names: tuple[str, str]
) -> list[list[Candidate]]:
    """Return the hypotheses of each sentence, in the order of the files and of their lines.

    :param rescored: a file for each of ``nbest``, or no file.
    :param names: the names of the two settings in messages.
    :raises DataError: with all that is wrong with the lists: sentences are missing or of another split, symbols aren't
        in the dictionary, or rescored lists have other hypotheses.
    """
    problems: list[str] = []
    lists = _read(nbest, names[0], problems)
    again = _read(rescored, names[1], problems)
    raise_all(problems, DataError)
    count = len(sides.target.sentences)
    union: dict[int, Generated] = {}
    for one in (one for each in lists for one in each.sentences):
        known = union.setdefault(one.number, Generated(one.number))
        known.hypotheses += one.hypotheses
        known.again |= one.again
    problems += sentence_problems(", ".join(nbest), union, count)
    if not problems:
        problems += (found for each in lists for found in _other_text(each, sides))
    candidates: list[list[Candidate]] = [[] for _ in range(count)]
    for i, each in enumerate(lists):
        scores = _scores(each, again[i], problems) if again else {}
        unknown: set[str] = set()
        for one in each.sentences:
            for hypothesis in one.hypotheses:
                symbols = symbols_of(hypothesis)
                if new := {s for s in symbols if s not in sides.target.dictionary.indices}:
                    unknown |= new
                elif one.number < count:
                    teacher = scores.get((one.number, hypothesis.symbols), math.nan)
                    candidate = Candidate(
                        sides.target.ids(symbols), float(hypothesis.score) * LN2, teacher
                    )
                    candidates[one.number].append(candidate)
        if unknown:
            problems.append(sides.target.unknown_problem(each.path, [*unknown]))
    raise_all(problems, DataError)
    return candidates


def _read(paths: Sequence[str], name: str, problems: list[str]) -> list[NBest]:
    found = []
    for path in paths:
        try:
            found.append(NBest.read(path, name, to_choose=False))
        except DataError as error:
            problems.append(str(error))
    return found


def _other_text(nbest: NBest, sides: Sides) -> list[str]:
    """Return a message if sentences have S- and T- lines, but neither has the text of the data-bin."""
    unlike = []
    for one in nbest.sentences:
        both = (("S", sides.source), ("T", sides.target))
        said = [(one.head[kind], side) for kind, side in both if kind in one.head]
        # One of the two is enough: the other may write entities and the like in another way.
        if said and not any(
            letters(text) == letters(side.words(side.sentences[one.number])) for text, side in said
        ):
            unlike.append(one.number)
    if not unlike:
        return []
    direction = f"from {sides.source.lang} to {sides.target.lang}"
    wanted = f"translations of the split {direction}"
    seen = f"one whose S- and T- lines have other text in {some(sorted(unlike))}"
    hint = (
        "Name the data-bin and the split that was decoded, and with --backward the other direction."
    )
    return [must_be(str(nbest.path), wanted, seen, hint)]


def _scores(nbest: NBest, rescored: NBest, problems: list[str]) -> dict[tuple[int, str], float]:
    """Return the new scores of the hypotheses of ``nbest``, in nats.

    The keys are the number of the sentence and the symbols of the hypothesis. A difference between the two lists is
    added to ``problems``.
    """
    before, after = (_hypotheses(each) for each in (nbest, rescored))
    if before != after:
        unlike = sorted({number for number, _ in (before - after) + (after - before)})
        wanted = f"the hypotheses of {nbest.path} in another order"
        seen = f"one with other hypotheses for {some(unlike)}"
        hint = "Give the files of both options in the same order."
        problems.append(must_be(str(rescored.path), wanted, seen, hint))
    return {
        (one.number, each.symbols): float(each.score) * LN2
        for one in rescored.sentences
        for each in one.hypotheses
    }


def _hypotheses(nbest: NBest) -> Counter[tuple[int, str]]:
    return Counter((one.number, each.symbols) for one in nbest.sentences for each in one.hypotheses)
