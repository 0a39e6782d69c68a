"""Find the languages of a dump from the settings, the teachers and the data-bin, and check that they agree."""

from __future__ import annotations

from collections.abc import Mapping

from bertkd_fairseq.dump.config import TeacherConfig
from bertkd_fairseq.errors import DataError, must_be, raise_all
from bertkd_fairseq.settings import named
from bertkd_fairseq.text.data_bin import binarized_splits, check_split

Langs = tuple[str, str]
MaybeLangs = tuple[str | None, str | None]
"""None where a language isn't known: a checkpoint of fairseq has only what was given on the command line."""

_OPTIONS = (named(TeacherConfig, "source_lang"), named(TeacherConfig, "target_lang"))


def find_direction(
    asked: MaybeLangs, trained: Mapping[str, MaybeLangs], data_bin: str, split: str
) -> Langs:
    """Return the source and the target language.

    :param asked: the languages of the settings.
    :param trained: the languages of each teacher, by its path.
    :raises BertKDError: if the teachers have different languages, or the data-bin has no such split of these languages.
    """
    from bertkd_fairseq.tasks.checked import data_problems

    raise_all(data_problems(data_bin))
    there = _directions(data_bin, split)
    known = [asked, *trained.values(), *(there if len(there) == 1 else ())]
    source, target = (next(filter(None, side), None) for side in zip(*known, strict=True))
    if source is None or target is None:
        seen = ", ".join("-".join(pair) for pair in there) or "none"
        hint = f"Name the languages with {' and '.join(_OPTIONS)}."
        raise DataError(must_be(f"languages of {split} in {data_bin}", "one pair", seen, hint))
    raise_all(direction_problems((source, target), trained))
    check_split(data_bin, split, (source, target))
    if (source, target) not in there and None in asked:
        options = f"{_OPTIONS[0]} {source} {_OPTIONS[1]} {target}"
        hint = f"Use a data-bin of that direction, or give {options} to turn this one round."
        wanted, seen = f"from {source} to {target} like the teachers", f"from {target} to {source}"
        raise DataError(must_be(f"{split} of {data_bin}", wanted, seen, hint))
    return source, target


def direction_problems(langs: MaybeLangs, trained: Mapping[str, MaybeLangs]) -> list[str]:
    """Return a message for each teacher that is known to translate in another direction."""
    problems = []
    for path, direction in trained.items():
        if any(a and b and a != b for a, b in zip(langs, direction, strict=True)):
            wanted = f"teachers from {langs[0]} to {langs[1]}"
            seen = f"{path}, which goes from {direction[0]} to {direction[1]},"
            problems.append(must_be(named(TeacherConfig, "path"), wanted, seen))
    return problems


def _directions(data_bin: str, split: str) -> list[Langs]:
    """Return the languages of the split, from the names of the data-bin's files."""
    found = (name.rpartition(".") for name in binarized_splits(data_bin))
    pairs = (pair.split("-") for name, _, pair in found if name == split)
    return [(source, target) for source, target in pairs]
