"""Look into a teacher store: its statistics, single sentences, and what students make of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from bertkd_fairseq.analysis.inspect.agreement import Agreement, StudentAgreement
from bertkd_fairseq.analysis.inspect.config import InspectConfig
from bertkd_fairseq.analysis.inspect.plot import plot_statistics
from bertkd_fairseq.analysis.inspect.statistics import (
    DrawStatistics,
    StoreStatistics,
    TopKStatistics,
)
from bertkd_fairseq.analysis.inspect.students import Student
from bertkd_fairseq.analysis.inspect.teachers import TeacherSummary, teacher_summaries
from bertkd_fairseq.errors import ConfigurationError, StoreError, must_be, raise_all
from bertkd_fairseq.settings import named
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.topk_store import StoreSummary, TopKStore

_SENTENCES_AT_ONCE = 10_000


class Entry(NamedTuple):
    """A symbol and the probability that the teacher gives to it."""

    symbol: str
    probability: float


@dataclass(frozen=True)
class TokenEntries:
    """What the store has for one target token.

    ``gold``: its symbol, empty without a data-bin; ``entries``: the teacher's K symbols, none if it wasn't asked;
    ``rest``: the probability of all other symbols.
    """

    gold: str
    entries: list[Entry]
    rest: float


@dataclass(frozen=True)
class StudentRuns:
    """The checkpoints of a student, one for each seed, and what each makes of the teacher's tokens."""

    files: list[str]
    runs: list[Agreement]


@dataclass(frozen=True)
class Inspection:
    """What was found in a store with K entries a token.

    ``verified``: every byte was compared with its checksum. ``sentence``: its target tokens, if one sentence was asked
    for. If not, ``statistics``: the store against the target tokens, where a data-bin was given; ``students`` by
    name; and ``teachers``, of a mixture alone.
    """

    store: StoreSummary
    k: int
    verified: bool
    sentence: list[TokenEntries] | None = None
    statistics: TopKStatistics | DrawStatistics | None = None
    students: dict[str, StudentRuns] = field(default_factory=dict)
    teachers: list[TeacherSummary] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Return what is reported as JSON of the whole store (docs/reports.md)."""
        content = asdict(self)
        summary = {**content.pop("store"), **content}
        return {key: value for key, value in summary.items() if value not in (None, {}, [])}


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
    pairs = None
    if config.data_bin:
        pairs = open_pairs(store, DataBin.of_any_origin(config.data_bin, *langs_of(store)))
    found = Inspection(store.summary(), store.k, config.verify)
    if config.sentence is not None:
        if not 0 <= config.sentence < len(store):
            wanted = f"from 0 to {len(store) - 1}"
            raise ConfigurationError(must_be(named(config, "sentence"), wanted, config.sentence))
        return replace(found, sentence=sentence_entries(store, config.sentence, pairs))
    students = [
        (name, Student(path, str(config.data_bin), langs_of(store), named(config, "students")))
        for name, path in config.students
    ]
    if pairs:
        statistics = store_statistics(store, pairs)
        drawn = store.sampled
        summary = statistics.summary_of_draws() if drawn else statistics.summary()
        found = replace(found, statistics=summary)
        if config.plot:
            plot_statistics(statistics, config.plot, store.meta["signature"])
    return replace(
        found, teachers=teacher_summaries(store.meta), students=agreements(store, pairs, students)
    )


def _top_k_problems(config: InspectConfig, store: TopKStore) -> list[str]:
    """Return a message for each setting that needs the top K, if the store has random draws instead."""
    options = (
        (f"{named(config, 'plot')} draws", config.plot),
        (f"{named(config, 'students')} counts by", config.students),
    )
    return [
        f"{option} the teacher's top K, but the targets of {store.path} are sampled. Leave it out."
        for option, given in options
        if given and store.sampled
    ]


def sentence_entries(store: TopKStore, index: int, pairs: Any = None) -> list[TokenEntries]:
    """Return what the store has for each target token of a sentence; ``pairs`` tell the gold symbols."""
    symbols = store.symbols()
    rows = store.sentences(np.array([index]))
    golds = [symbols[token] for token in pairs.tgt[index].tolist()] if pairs else None
    found = []
    for token, asked in enumerate(rows.has_teacher):
        probabilities = np.exp(rows.logprobs[token].astype(np.float64)).tolist()
        ids = rows.ids[token].tolist() if asked else []
        entries = [Entry(symbols[i], p) for i, p in zip(ids, probabilities, strict=False)]
        rest = math.exp(rows.log_tail[token])
        found.append(TokenEntries(golds[token] if golds else "", entries, rest))
    return found


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

    from bertkd_fairseq.data.pairs import load_pairs
    from bertkd_fairseq.data.store_match import mismatches

    split, langs = store.meta["split"], langs_of(store)
    source, target = (Dictionary.load(str(data_bin.dictionary(lang))) for lang in langs)
    pairs = load_pairs(data_bin.path, split, langs, (source, target), left_pad_source=True)
    raise_all(mismatches(store, str(data_bin.path), split, langs, pairs), StoreError)
    return pairs


def langs_of(store: TopKStore) -> tuple[str, str]:
    """Return the languages that the teacher translates from and to."""
    return store.meta["source_lang"], store.meta["target_lang"]


def store_statistics(store: TopKStore, pairs: Any) -> StoreStatistics:
    """Return the statistics of all rows against the target tokens of ``pairs``."""
    statistics = StoreStatistics()
    for sentences, gold in chunks(pairs):
        statistics.add(store.sentences(sentences), gold, pairs.tgt_dict.eos())
    return statistics


def agreements(
    store: TopKStore, pairs: Any, students: Sequence[tuple[str, Student]]
) -> dict[str, StudentRuns]:
    """Return, by name, what the students make of the teacher's tokens."""
    by_name: dict[str, StudentRuns] = {}
    for name, student in students:
        agreement = StudentAgreement()
        predictions = student.predictions(pairs, name)
        for sentences, gold in chunks(pairs):
            rows = slice(store.offsets[sentences[0]], store.offsets[sentences[-1] + 1])
            agreement.add(store.sentences(sentences), gold, pairs.tgt_dict.eos(), predictions[rows])
        found = by_name.setdefault(name, StudentRuns([], []))
        found.files.append(student.path)
        found.runs.append(agreement.summary())
    return by_name


def chunks(pairs: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the numbers of consecutive sentences and their target tokens, some thousands at once."""
    for start in range(0, len(pairs), _SENTENCES_AT_ONCE):
        sentences = np.arange(start, min(start + _SENTENCES_AT_ONCE, len(pairs)))
        yield sentences, np.concatenate([pairs.tgt[sentence].numpy() for sentence in sentences])
