"""Look into a teacher store: its statistics, single sentences, and what students make of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.analysis.inspect.agreement import StudentAgreement, agreement_table
from bertkd_fairseq.analysis.inspect.plot import plot_statistics
from bertkd_fairseq.analysis.inspect.statistics import StoreStatistics
from bertkd_fairseq.analysis.inspect.students import Student
from bertkd_fairseq.analysis.inspect.teachers import teacher_lines, teacher_summary
from bertkd_fairseq.errors import ConfigurationError, StoreError, must_be, raise_all
from bertkd_fairseq.settings import named, setting
from bertkd_fairseq.text.data_bin import DataBin, check_split
from bertkd_fairseq.topk_store import TopKStore

_SENTENCES_AT_ONCE = 10_000


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """The settings of :func:`inspect_store`; ``students``: name and checkpoint of each."""

    store: str = setting("teacher store made by `bertkd dump-topk`", positional=True)
    data_bin: str | None = setting(
        "the data-bin that the store was made for: adds statistics against the target tokens",
        default=None,
        metavar="DIR",
    )
    verify: bool = setting("read every byte and compare with the checksums", default=False)
    sentence: int | None = setting(
        "show only this sentence, token by token, from 0", default=None, metavar="I"
    )
    students: Sequence[tuple[str, str]] = setting(
        "name and checkpoint of each student", default=(), option="--student", declared=False
    )
    plot: str | None = setting("draw the statistics to this PNG", default=None, metavar="FILE")

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without opening anything."""
        problems = [
            f"there is no checkpoint at {path}. Train a student first."
            for _, path in self.students
            if not Path(path).is_file()
        ]
        students, plot, data_bin = (named(self, name) for name in ("students", "plot", "data_bin"))
        for option, given in ((plot, self.plot), (students, self.students)):
            if self.sentence is not None and given:
                sentence = named(self, "sentence")
                problems.append(f"{sentence} shows one sentence alone: leave out {option}.")
            if given and not self.data_bin:
                problems.append(f"{option} needs {data_bin}, to know the target tokens.")
        return problems


@dataclass(frozen=True)
class Inspection:
    """What was found: ``summary`` for reports, ``lines`` to print."""

    summary: dict[str, Any]
    lines: list[str]


def inspect_store(config: InspectConfig) -> Inspection:
    """Look into a store as ``config`` says, and draw the picture that it asks for.

    :raises ConfigurationError: with every setting that can't work.
    :raises BertKDError: if the store is damaged, or students or data-bin don't belong to it.
    """
    raise_all(config.problems())
    store = TopKStore.open(config.store)
    raise_all(_top_k_problems(config, store))
    if config.verify:  # first: what has changed must not lead the rest astray
        _verify(store)
    pairs = open_pairs(store, DataBin.open(config.data_bin)) if config.data_bin else None
    if config.sentence is not None:
        if not 0 <= config.sentence < len(store):
            wanted = f"from 0 to {len(store) - 1}"
            raise ConfigurationError(must_be(named(config, "sentence"), wanted, config.sentence))
        return Inspection({}, sentence_table(store, config.sentence, pairs))
    students = [
        (name, Student(path, str(config.data_bin), _langs(store))) for name, path in config.students
    ]
    summary = store.summary()
    if config.verify:
        summary["verified"] = "every byte"
    if pairs:
        statistics = store_statistics(store, pairs)
        found = statistics.summary_of_draws() if store.sampled else statistics.summary()
        summary["statistics"] = found
        if config.plot:
            plot_statistics(statistics, config.plot, store.meta["signature"])
    lines = _lines(summary)
    if teachers := teacher_summary(store.meta):
        summary["teachers"] = teachers
        lines += teacher_lines(teachers)
    if students:
        summary["students"] = agreements(store, pairs, students)
        runs = {name: student["runs"] for name, student in summary["students"].items()}
        lines += agreement_table(runs, store.k)
    return Inspection(summary, lines)


def _top_k_problems(config: InspectConfig, store: TopKStore) -> list[str]:
    """Return what draws at random can't show."""
    options = (
        (f"{named(config, 'plot')} draws", config.plot),
        (f"{named(config, 'students')} counts by", config.students),
    )
    return [
        f"{option} the teacher's top K, but the targets of {store.path} are sampled. Leave it out."
        for option, given in options
        if given and store.sampled
    ]


def sentence_table(store: TopKStore, index: int, pairs: Any = None) -> list[str]:
    """Return a line per target token: the gold symbol, if ``pairs`` tell it, and the teacher's, with probabilities."""
    gold = pairs.tgt[index].numpy() if pairs else None
    symbols = store.symbols()
    rows = store.sentences(np.array([index]))
    golds = [""] * len(rows.ids) if gold is None else [symbols[token] for token in gold]
    width = max(map(len, golds))
    lines = []
    columns = (golds, rows.has_teacher, rows.ids, rows.logprobs, rows.log_tail)
    for token, asked, ids, values, tail in zip(*columns, strict=True):
        entries = [
            f"{symbols[i]} {math.exp(value):.3f}" for i, value in zip(ids, values, strict=True)
        ]
        teacher = "  ".join(entries) if asked else "no teacher"
        lines.append(f"{token:<{width}} | {teacher} | rest {math.exp(tail):.3f}")
    return lines


def _verify(store: TopKStore) -> None:
    problems = store.verify()
    if problems:
        raise StoreError(
            f"{store.path} differs from its checksums in {', '.join(problems[:5])}"
            f"{' and more' if len(problems) > 5 else ''}. "
            "Dump it again with `bertkd dump-topk --force`."
        )


def open_pairs(store: TopKStore, data_bin: DataBin) -> Any:
    """Return the split that the store belongs to, or say why it doesn't."""
    from fairseq.data import Dictionary
    from fairseq.tasks.translation import load_langpair_dataset

    from bertkd_fairseq.data.store_match import mismatches

    path, split, langs = str(data_bin.path), store.meta["split"], _langs(store)
    check_split(path, split, langs)
    sides: list[Any] = []
    for lang in langs:
        sides += [lang, Dictionary.load(str(data_bin.dictionary(lang)))]
    how = {"combine": False, "dataset_impl": None, "upsample_primary": 1, "left_pad_source": True}
    how |= {"left_pad_target": False, "max_source_positions": None, "max_target_positions": None}
    pairs = load_langpair_dataset(path, split, *sides, **how)
    raise_all(mismatches(store, path, split, langs, pairs), StoreError)
    return pairs


def _langs(store: TopKStore) -> tuple[str, str]:
    return store.meta["source_lang"], store.meta["target_lang"]


def store_statistics(store: TopKStore, pairs: Any) -> StoreStatistics:
    """Return the statistics of all rows against the target tokens of ``pairs``."""
    statistics = StoreStatistics()
    for sentences, gold in _chunks(pairs):
        statistics.add(store.sentences(sentences), gold, pairs.tgt_dict.eos())
    return statistics


def agreements(
    store: TopKStore, pairs: Any, students: list[tuple[str, Student]]
) -> dict[str, dict[str, list[Any]]]:
    """Return, by name, the students' files and what each makes of the teacher's tokens."""
    by_name: dict[str, dict[str, list[Any]]] = {}
    for name, student in students:
        agreement = StudentAgreement()
        predictions = student.predictions(pairs, name)
        for sentences, gold in _chunks(pairs):
            rows = slice(store.offsets[sentences[0]], store.offsets[sentences[-1] + 1])
            agreement.add(store.sentences(sentences), gold, pairs.tgt_dict.eos(), predictions[rows])
        entry = by_name.setdefault(name, {"files": [], "runs": []})
        entry["files"].append(student.path)
        entry["runs"].append(agreement.summary())
    return by_name


def _chunks(pairs: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the numbers of consecutive sentences and their target tokens, some thousands at once."""
    for start in range(0, len(pairs), _SENTENCES_AT_ONCE):
        sentences = np.arange(start, min(start + _SENTENCES_AT_ONCE, len(pairs)))
        yield sentences, np.concatenate([pairs.tgt[sentence].numpy() for sentence in sentences])


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key:<{24 - len(indent)}} {value}")
    return lines
