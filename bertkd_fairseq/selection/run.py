"""Make training text from n-best lists by one call, with a :class:`SelectConfig`."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bertkd_fairseq.errors import DataError, raise_all
from bertkd_fairseq.files import hash_file
from bertkd_fairseq.progress import Progress
from bertkd_fairseq.selection.choosing import REFERENCE, STUDENT, TEACHER, Candidate, merged, ranked
from bertkd_fairseq.selection.config import APART, NO, SAME, SelectConfig
from bertkd_fairseq.selection.likeness import Likeness
from bertkd_fairseq.selection.lists import Sides, read_candidates
from bertkd_fairseq.selection.sentences import Ids, Side
from bertkd_fairseq.selection.writing import NewSplit, next_part, splits_of, write_selection
from bertkd_fairseq.settings import named
from bertkd_fairseq.text.data_bin import DataBin, check_split
from bertkd_fairseq.vocabulary import is_text


@dataclass
class Counts:
    """Numbers of sentences and hypotheses.

    Three kinds of hypotheses are left out before any is chosen. ``not_text``: they have ``<unk>`` or another special
    symbol. ``out_of_bounds``: they are too long, too short or too unequal. ``repeated``: they are equal to another
    hypothesis of the sentence.

    ``equal_to_reference``: best hypotheses that were equal to the reference, and therefore not taken. ``without``:
    sentences without any hypothesis taken. ``changed``: sentences on which the best hypothesis isn't the first one of
    the first list.
    """

    sentences: int = 0
    hypotheses: int = 0
    not_text: int = 0
    out_of_bounds: int = 0
    repeated: int = 0
    equal_to_reference: int = 0
    chosen: int = 0
    without: int = 0
    changed: int = 0

    @property
    def left_out(self) -> str:
        """How many hypotheses weren't taken, and why. Only reasons that occurred are named."""
        kinds = {
            "with special symbols": self.not_text,
            "too long, too short or too unequal": self.out_of_bounds,
            "equal to another one": self.repeated,
            "equal to the reference": self.equal_to_reference,
        }
        return ", ".join(f"{count} {why}" for why, count in kinds.items() if count)


@dataclass(frozen=True)
class Mean:
    """Two mean scores over sentences: of the best hypothesis, and of the first one of the first list."""

    best: float
    first: float


@dataclass(frozen=True)
class Selected:
    """A new data-bin: its new split, the number of pairs in it, and how these were chosen.

    ``scores``: the mean scores by their kind. ``signature``: that of the metric, or None if there was no metric.
    """

    data_bin: Path
    split: str
    pairs: int
    counts: Counts
    scores: dict[str, Mean]
    signature: str | None
    settings: dict[str, Any]
    seconds: float

    def report(self) -> dict[str, Any]:
        """Return the facts that are reported."""
        return {"data_bin": str(self.data_bin), **self.settings, "seconds": self.seconds}


@dataclass
class _Chosen:
    """What is taken of all sentences: their numbers and the hypotheses, and what was seen on the way."""

    counts: Counts = field(default_factory=Counts)
    taken: list[tuple[int, Ids]] = field(default_factory=list)
    tops: list[tuple[Candidate, Candidate]] = field(default_factory=list)  # best and first

    def means(self) -> dict[str, Mean]:
        found = {}
        for name in (STUDENT, TEACHER, REFERENCE):
            known = [tuple(getattr(each, name) for each in pair) for pair in self.tops]
            if known and not any(map(math.isnan, (score for pair in known for score in pair))):
                found[name] = Mean(
                    *(round(statistics.fmean(s), 4) for s in zip(*known, strict=True))
                )
        return found


def select(config: SelectConfig) -> Selected:
    """Make a data-bin with hypotheses as targets of its training split, or with ``backward`` as sources.

    :raises ConfigurationError: with every setting that can't work.
    :raises DataError: if lists and data-bin don't belong together.
    :raises OutputError: if the data-bin can't be written.
    """
    raise_all(config.problems())
    start = time.monotonic()
    data_bin = DataBin.open(config.data_bin)
    langs = (data_bin.source_lang, data_bin.target_lang)
    check_split(data_bin.path, config.gen_subset, langs)
    both = {lang: Side.read(data_bin, config.gen_subset, lang) for lang in langs}
    source, target = langs[::-1] if config.backward else langs
    sides = Sides(both[source], both[target])
    names = (named(config, "nbest"), named(config, "rescored"))
    candidates = read_candidates(config.nbest, config.rescored, sides, names)
    likeness = None
    if config.needs_metric:
        likeness = Likeness(config.metric, sides.target, data_bin.was_tokenized)
    chosen = _choose(candidates, sides, likeness, config)
    new = _new_split(chosen, both, target, data_bin, config)
    pairs = len(new.sentences[target])
    if not chosen.taken:
        raise DataError(
            f"No hypothesis of `{', '.join(config.nbest)}` is left to take: {chosen.counts.left_out}. "
            "Allow other lengths, or duplicates."
        )
    signature = likeness.signature if likeness else None
    facts = {
        **_settings(config),
        "split": new.name,
        "pairs": pairs,
        "counts": asdict(chosen.counts),
        "scores": {name: asdict(mean) for name, mean in chosen.means().items()},
        "signature": signature,
    }
    dest = Path(config.destdir)
    write_selection(data_bin, config.gen_subset, new, dest, facts, config.force)
    return Selected(
        data_bin=dest,
        split=new.name,
        pairs=pairs,
        counts=chosen.counts,
        scores=chosen.means(),
        signature=signature,
        settings=facts,
        seconds=round(time.monotonic() - start, 1),
    )


def _settings(config: SelectConfig) -> dict[str, Any]:
    """Return what the data-bin keeps of how it was made. Files are named by path and sha256."""
    kept = ("by", "keep", "keep_duplicates", "with_reference", "backward", "gen_subset")
    files = {name: [*getattr(config, name)] for name in ("nbest", "rescored")}
    return {
        **{name: getattr(config, name) for name in kept},
        **config.bounds._asdict(),
        **{
            name: [{"path": path, "sha256": hash_file(path)} for path in paths]
            for name, paths in files.items()
        },
    }


def _choose(
    candidates: list[list[Candidate]], sides: Sides, likeness: Likeness | None, config: SelectConfig
) -> _Chosen:
    chosen = _Chosen(Counts(sentences=len(candidates)))
    special = {i for i, s in enumerate(sides.target.dictionary.symbols) if not is_text(s)}
    with Progress("select", len(candidates), "sentences") as progress:
        for number, found in enumerate(candidates):
            reference = sides.target.sentences[number]
            if likeness:
                like = {ids: likeness(ids, reference) for ids in {each.ids for each in found}}
                found = [each._replace(reference=like[each.ids]) for each in found]
            length = len(sides.source.sentences[number])
            _choose_one(number, found, reference, length, special, chosen, config)
            progress.add(1)
    return chosen


def _choose_one(
    number: int,
    found: list[Candidate],
    reference: Ids,
    source_length: int,
    special: set[int],
    chosen: _Chosen,
    config: SelectConfig,
) -> None:
    """Take the best hypotheses of one sentence."""
    counts = chosen.counts
    counts.hypotheses += len(found)
    text = [each for each in found if special.isdisjoint(each.ids)]
    allowed = [each for each in text if config.bounds.allow(len(each.ids), source_length)]
    distinct = allowed if config.keep_duplicates else merged(allowed, config.by)
    counts.not_text += len(found) - len(text)
    counts.out_of_bounds += len(text) - len(allowed)
    counts.repeated += len(allowed) - len(distinct)
    best = ranked(distinct, config.by)[: config.keep]
    new = best
    if config.with_reference != NO and not config.keep_duplicates:
        # The next one doesn't replace it: the reference is this sentence's best already.
        new = [each for each in best if each.ids != reference]
    counts.equal_to_reference += len(best) - len(new)
    counts.chosen += len(new)
    counts.without += not new
    chosen.taken += [(number, each.ids) for each in new]
    if best:
        counts.changed += best[0].ids != found[0].ids
        chosen.tops.append((best[0], found[0]))


def _new_split(
    chosen: _Chosen, both: dict[str, Side], target: str, data_bin: DataBin, config: SelectConfig
) -> NewSplit:
    """Return the split to write. ``target`` is the language of the hypotheses."""
    sentences: dict[str, list[Ids]] = {}
    for lang, side in both.items():
        new = [ids if lang == target else side.sentences[i] for i, ids in chosen.taken]
        sentences[lang] = [*side.sentences, *new] if config.with_reference == SAME else new
    name = config.gen_subset
    if config.with_reference == APART:
        name = next_part(name, splits_of(data_bin))
    return NewSplit(name, sentences)
