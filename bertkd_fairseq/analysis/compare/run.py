"""Read, score and test systems: one call, with a :class:`CompareConfig`."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.analysis.compare.comparison import Comparison, Texts, compare_systems
from bertkd_fairseq.analysis.compare.scoring import Trials, seed_problems
from bertkd_fairseq.analysis.compare.text import REFERENCE
from bertkd_fairseq.analysis.compare.translations import System, read_run
from bertkd_fairseq.errors import DataError, must_be, raise_all
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.lines import read_lines
from bertkd_fairseq.text.moses import MosesText

log = logging.getLogger(__name__)

_REFERENCE = "reference (one of the first two is needed)"
_TESTS = "tests and tables"


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """The settings of :func:`compare`.

    ``systems``: the files of each system by its name, one for each seed; the first system is the baseline.
    """

    systems: Mapping[str, Sequence[str | Path]] = setting(
        "outputs of fairseq-generate, or plain text, by system", option="--system", declared=False
    )
    data_bin: str | None = setting(
        "data-bin made by `bertkd prepare`", default=None, metavar="DIR", group=_REFERENCE
    )
    reference: str | None = setting(
        "raw text, one line per sentence", default=None, metavar="FILE", group=_REFERENCE
    )
    gen_subset: str | None = setting(
        "split of the data-bin whose reference is taken; test if not given",
        default=None,
        metavar="SPLIT",
        group=_REFERENCE,
        old_option="--split",
    )
    source: str | None = setting(
        "raw text to show beside translations; the data-bin's if neither this nor --reference is given",
        default=None,
        metavar="FILE",
        group=_REFERENCE,
    )
    target_lang: str | None = setting(
        "language for Moses; the data-bin's, else the reference's suffix (ref.en, ref.en.gz)",
        default=None,
        metavar="LANG",
        group=_REFERENCE,
    )
    lowercase: bool = setting(
        "ignore case in all scores; set by itself where the data-bin is lowercased",
        default=False,
        group=_REFERENCE,
    )
    keep_punctuation: bool = setting(
        "don't normalise quotes, dashes and so on. Use it if the text was prepared with --keep-punctuation. Not "
        "needed with --data-bin, which records it",
        default=False,
        group=_REFERENCE,
    )
    resamples: int = setting(
        "resamples of the paired bootstrap", default=1000, at_least=1, group=_TESTS
    )
    trials: int = setting(
        "trials of the approximate randomisation", default=10_000, at_least=1, group=_TESTS
    )
    buckets: str = setting(
        "longest reference, in Moses words, of each length bucket but the last",
        default="10,20,30,40,50",
        metavar="N,N,...",
        group=_TESTS,
    )
    examples: int = setting(
        "number of sentences to show that a system translates better than the baseline, and as many that it "
        "translates worse",
        default=3,
        at_least=0,
        metavar="N",
        group=_TESTS,
    )

    @property
    def bucket_ends(self) -> list[int]:
        """The longest reference of each length bucket but the last; empty if ``buckets`` can't be read."""
        ends = [int(end) for end in self.buckets.split(",") if end.isdecimal()]
        rising = self.buckets == ",".join(map(str, sorted(set(ends) - {0})))
        return ends if rising else []

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without reading a file."""
        problems = seed_problems()
        data_bin, reference, target_lang, keep, gen_subset = (
            named(self, name)
            for name in ("data_bin", "reference", "target_lang", "keep_punctuation", "gen_subset")
        )
        if not self.data_bin and not self.reference:
            problems.append(f"One of `{data_bin}` and `{reference}` must be given.")
        if self.reference and not (
            self.data_bin or self.target_lang or language_of(self.reference)
        ):
            problems.append(
                f"`{target_lang}` must be given where the reference's name doesn't end in a language code, "
                f"but {self.reference} doesn't. Detokenising depends on it. For English, say {target_lang} en."
            )
        if self.keep_punctuation and self.data_bin:
            problems.append(f"`{keep}` can't be given with `{data_bin}`, which tells it.")
        if self.gen_subset and self.reference:
            problems.append(
                f"`{gen_subset}` can't be given with `{reference}`, which is one split."
            )
        problems += range_problems(self)
        if not self.bucket_ends:
            wanted = "rising whole numbers with commas between"
            problems.append(must_be(named(self, "buckets"), wanted, repr(self.buckets)))
        return problems + self._system_problems()

    def _system_problems(self) -> list[str]:
        problems = []
        systems = named(self, "systems")
        for name, files in self.systems.items():
            if name == REFERENCE:
                problems.append(
                    f"`{systems}` must have another name than {REFERENCE}, a row of the report."
                )
            resolved = [Path(file).resolve() for file in files]
            for i, file in enumerate(files):
                if resolved[i] in resolved[:i]:
                    problems.append(
                        f"`{systems}` must give each run once, but gives {name}={file} again."
                    )
        return problems


@dataclass(frozen=True)
class Compared:
    """A comparison and what was read for it."""

    comparison: Comparison
    reference: str
    systems: list[System]


def compare(config: CompareConfig) -> Compared:
    """Read everything, score every system and test each against the first.

    :raises ConfigurationError: with every setting that can't work.
    :raises DataError: with everything that is wrong with the files.
    """
    raise_all(config.problems())
    data_bin = DataBin.open(config.data_bin) if config.data_bin else None
    lang = config.target_lang
    if not lang:
        lang = data_bin.target_lang if data_bin else language_of(str(config.reference))
    if data_bin:
        moses = data_bin.moses(lang, lowercase=config.lowercase)
    else:
        normalize = not config.keep_punctuation
        moses = MosesText(lang, lowercase=config.lowercase, normalize=normalize)
    path, texts = _read_texts(config, data_bin, moses)
    systems = _read_systems(config.systems, texts.reference, moses)
    comparison = compare_systems(
        systems,
        texts,
        lowercase=moses.lowercase,
        trials=Trials(config.resamples, config.trials),
        bucket_ends=config.bucket_ends,
        num_examples=config.examples,
    )
    return Compared(comparison, str(path), systems)


def _read_texts(
    config: CompareConfig, data_bin: DataBin | None, moses: MosesText
) -> tuple[str | Path, Texts]:
    """Return the path of the reference, and what is in it and in the source."""
    path: str | Path
    source_path: str | Path | None = config.source
    if data_bin is not None and config.reference is None:
        split = config.gen_subset or "test"
        path = data_bin.reference(split, data_bin.target_lang)
        reference = read_lines(path)
        tokenized = read_lines(data_bin.tokenized(split, data_bin.target_lang))
        source_path = source_path or data_bin.reference(split, data_bin.source_lang)
    else:
        path = str(config.reference)
        reference = read_lines(path)
        tokenized = [moses.tokenize(line) for line in reference]
    if not reference:
        raise DataError(f"`{path}` must hold a reference, but is empty.")
    source = read_lines(source_path) if source_path else None
    if source is not None and len(source) != len(reference):
        raise DataError(
            f"`{source_path}` must have {len(reference)} lines, one for each reference, "
            f"but has {len(source)} instead."
        )
    return path, Texts(reference, tokenized, source)


def language_of(reference: str) -> str:
    """Return the language code that a file's name ends in, .gz apart; nothing if it ends in something else."""
    suffix = Path(reference.removesuffix(".gz")).suffix
    return suffix[1:] if re.fullmatch(r"\.[a-z]{2}", suffix) else ""


def _read_systems(
    files: Mapping[str, Sequence[str | Path]], reference: list[str], moses: MosesText
) -> list[System]:
    """Read all systems; what is wrong with any of them is told at once."""
    systems, errors = [], []
    for name, paths in files.items():
        runs = []
        for path in paths:
            try:
                read = read_run(
                    path,
                    len(reference),
                    reference=reference,
                    tokenize=lambda lines: [moses.tokenize(line) for line in lines],
                    detokenize=lambda lines: [moses.detokenize(line) for line in lines],
                )
            except DataError as error:
                errors.append(str(error))
            else:
                runs.append(read)
                log.info("%s: %d sentences from %s (%s)", name, len(reference), path, read.format)
        systems.append(System(name, runs))
    raise_all(errors, DataError)
    return systems
