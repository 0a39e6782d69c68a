"""Collect what the page shows: sentences, the teacher's entries, and the students' probabilities of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bertkd_fairseq.analysis.explore.config import FIRST, RANDOM, ExploreConfig
from bertkd_fairseq.analysis.inspect.run import chunks, langs_of, open_pairs
from bertkd_fairseq.analysis.inspect.students import Probabilities, Student
from bertkd_fairseq.errors import ConfigurationError, must_be, raise_all
from bertkd_fairseq.settings import named
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.raw import undo_subwords
from bertkd_fairseq.text.segmentation.schemes import BYTE_BPE, detect_scheme, from_byte_alphabet
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.rows import TopKRows


@dataclass(frozen=True)
class Sentence:
    """A sentence pair of the store, with counts and means over its target tokens, EOS included.

    ``index``: its number in the store, from 0. ``source`` and ``target``: its text. ``tokens``: its target tokens.
    ``asked``: how many of these have a teacher. The other fields are about these tokens only:
    ``wrong``: how many there are whose reference isn't the teacher's first entry.
    ``outside``: how many there are whose reference is none of the K entries.
    ``confidence``: the mean probability of the teacher's first entry; None if no token has a teacher.
    ``distances``: for each student the mean of :func:`distances`; None if no token has a teacher.
    """

    index: int
    source: str
    target: str
    tokens: int
    asked: int
    wrong: int
    outside: int
    confidence: float | None
    distances: list[float | None]


@dataclass(frozen=True)
class Exploration:
    """The chosen sentences, in the order of the data-bin. Arrays have all their target tokens, one after the other.

    ``in_store``: the number of sentences in the store.
    ``symbols``: the target dictionary (V,).
    ``gold``: ids of the reference (tokens,).
    ``rows``: the teacher's entries.
    ``students``: by name, the probabilities that each student gives to these entries.
    ``files``: by name, the checkpoint of each student.
    """

    signature: str
    split: str
    langs: tuple[str, str]
    select: str
    in_store: int
    k: int
    symbols: list[str]
    sentences: list[Sentence]
    gold: np.ndarray
    rows: TopKRows
    students: dict[str, Probabilities]
    files: dict[str, str]

    def report(self) -> dict[str, Any]:
        """Return what is reported as JSON (docs/reports.md)."""
        keys = ("signature", "split", "select", "in_store", "k")
        facts = {key: getattr(self, key) for key in keys}
        return {**facts, "students": self.files, "sentences": [asdict(s) for s in self.sentences]}


def explore(config: ExploreConfig) -> Exploration:
    """Choose sentences as ``config`` says, and compute the students' probabilities of the teacher's entries.

    :raises ConfigurationError: with every setting that can't work.
    :raises BertKDError: if the store is damaged, or if a student or the data-bin doesn't belong to it.
    """
    raise_all(config.problems())
    store = TopKStore.open(config.store)
    if store.sampled:
        wanted, seen = "a store of the teacher's top K", f"{store.path}, which has random draws,"
        hint = "Dump one without `--entries sampled`."
        raise ConfigurationError(must_be(named(config, "store"), wanted, seen, hint))
    langs = langs_of(store)
    pairs = open_pairs(store, DataBin.of_any_origin(config.data_bin, *langs))
    option = named(config, "students")
    students = [
        (name, Student(path, config.data_bin, langs, option)) for name, path in config.students
    ]
    chosen = choose(store, pairs, config)
    rows = store.sentences(chosen)
    asked = {
        name: student.probabilities(pairs, name, chosen, rows.ids) for name, student in students
    }
    return Exploration(
        signature=store.meta["signature"],
        split=store.meta["split"],
        langs=langs,
        select=config.select,
        in_store=len(store),
        k=store.k,
        symbols=store.symbols(),
        sentences=_sentences(pairs, chosen, rows, asked),
        gold=_gold(pairs, chosen),
        rows=rows,
        students=asked,
        files={name: student.path for name, student in students},
    )


def choose(store: TopKStore, pairs: Any, config: ExploreConfig) -> np.ndarray:
    """Return the numbers of the sentences to show, in rising order: (n,) int64."""
    count = min(config.max_sentences, len(store))
    if config.select == FIRST:
        return np.arange(count)
    if config.select == RANDOM:
        generator = np.random.default_rng(config.seed)
        return np.sort(generator.choice(len(store), count, replace=False))
    shares = wrong_shares(store, pairs)
    return np.sort(np.argsort(-shares, kind="stable")[:count])


def wrong_shares(store: TopKStore, pairs: Any) -> np.ndarray:
    """Return the share of each sentence's target tokens at which the teacher's first entry is wrong: (sentences,)."""
    shares = []
    for sentences, gold in chunks(pairs):
        rows = store.sentences(sentences)
        wrong = rows.has_teacher & (rows.ids[:, 0] != gold)
        sizes = store.sizes[sentences]
        shares.append(np.add.reduceat(wrong, np.cumsum(sizes) - sizes, dtype=np.int64) / sizes)
    return np.concatenate(shares)


def distances(rows: TopKRows, student: Probabilities) -> np.ndarray:
    """Return the total variation distance of student and teacher at each token: (tokens,) from 0 to 1.

    It is the share of the probability that the two place differently. The symbols outside the teacher's K entries count
    as one symbol.
    """
    teacher = np.exp(rows.logprobs.astype(np.float64))  # (tokens, K)
    own = np.exp(student.entries.astype(np.float64))
    rest = np.exp(rows.log_tail.astype(np.float64)) - np.clip(1 - own.sum(1), 0, None)
    apart: np.ndarray = (np.abs(teacher - own).sum(1) + np.abs(rest)) / 2
    return apart.clip(0, 1)  # the store's float16 is rounded by about 0.0001


def _gold(pairs: Any, sentences: np.ndarray) -> np.ndarray:
    return np.concatenate([pairs.tgt[i].numpy() for i in sentences])


def _sentences(
    pairs: Any, chosen: np.ndarray, rows: TopKRows, students: dict[str, Probabilities]
) -> list[Sentence]:
    hits = rows.ids == _gold(pairs, chosen)[:, None]  # (tokens, K)
    asked = rows.has_teacher
    wrong, outside = asked & ~hits[:, 0], asked & ~hits.any(1)
    confidence = np.exp(rows.logprobs[:, 0].astype(np.float64))
    apart = [distances(rows, student) for student in students.values()]
    ends = np.cumsum(pairs.tgt_sizes[chosen])
    schemes = [detect_scheme(dictionary.symbols) for dictionary in (pairs.src_dict, pairs.tgt_dict)]
    found = []
    for index, end in zip(chosen.tolist(), ends.tolist(), strict=True):
        part = slice(end - int(pairs.tgt_sizes[index]), end)
        known = asked[part]
        found.append(
            Sentence(
                index=index,
                source=text_of(pairs.src[index].tolist(), pairs.src_dict, schemes[0]),
                target=text_of(pairs.tgt[index].tolist(), pairs.tgt_dict, schemes[1]),
                tokens=len(known),
                asked=int(known.sum()),
                wrong=int(wrong[part].sum()),
                outside=int(outside[part].sum()),
                confidence=_mean(confidence[part][known]),
                distances=[_mean(values[part][known]) for values in apart],
            )
        )
    return found


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def text_of(ids: Sequence[int], dictionary: Any, scheme: str) -> str:
    """Return the text of a sentence's ids; ``dictionary`` is fairseq's."""
    specials = (dictionary.bos(), dictionary.pad(), dictionary.eos())
    return readable([dictionary[i] for i in ids if i not in specials], scheme)


def readable(symbols: Sequence[str], scheme: str) -> str:
    """Return the words of a sentence's symbols, or the symbols themselves if words can't be made of their scheme."""
    if scheme == BYTE_BPE:
        text = from_byte_alphabet("".join(symbols)).strip()
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return undo_subwords(" ".join(symbols), scheme)
