"""Read, score and test systems by one call with a :class:`CompareConfig`."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bertkd_fairseq.analysis.compare.comparison import Comparison, Texts, compare_systems
from bertkd_fairseq.analysis.compare.rouge import rouge_problems
from bertkd_fairseq.analysis.compare.scoring import SEED, Trials
from bertkd_fairseq.analysis.compare.target import Target, target_of, tokenizer_problems
from bertkd_fairseq.analysis.compare.text import REFERENCE
from bertkd_fairseq.analysis.compare.translations import System, read_run
from bertkd_fairseq.errors import DataError, must_be, raise_all
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.lines import read_lines
from bertkd_fairseq.text.moses import MosesText, TokenizedText, Words

log = logging.getLogger(__name__)

_REFERENCE = "reference (one of the first two is needed)"
_TESTS = "tests and tables"


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """The settings of :func:`compare`.

    ``systems``: for the name of each system its files, one for each seed. The first system is the baseline.
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
        "split of the data-bin with the reference; test if not given",
        default=None,
        metavar="SPLIT",
        group=_REFERENCE,
        old_option="--split",
    )
    source: str | None = setting(
        "raw source text to show beside translations; that of the data-bin if neither this nor --reference is given",
        default=None,
        metavar="FILE",
        group=_REFERENCE,
    )
    target_lang: str | None = setting(
        "target language, for Moses and BLEU. If not given, it is that of the data-bin or of the reference's name "
        "(ref.en, ref.en.gz)",
        default=None,
        metavar="LANG",
        group=_REFERENCE,
    )
    lowercase: bool = setting(
        "ignore case in all scores; always on if the data-bin is lowercased",
        default=False,
        group=_REFERENCE,
    )
    keep_punctuation: bool = setting(
        "don't normalise quotes, dashes and so on. Use it if the text was prepared with --keep-punctuation. Not "
        "needed with --data-bin, which records it",
        default=False,
        group=_REFERENCE,
    )
    tokenized: bool = setting(
        "reference and plain translations are already tokenised: Moses neither splits nor joins anything, and words "
        "are what stands between spaces",
        default=False,
        group=_REFERENCE,
    )
    tokenize: str | None = setting(
        "sacreBLEU's tokeniser: 13a, zh, ja-mecab, ko-mecab, char, intl, flores200, ... If not given, it is the one "
        "that sacreBLEU chooses for the target language, or char for other languages without spaces",
        default=None,
        metavar="NAME",
        group=_TESTS,
    )
    metric: str | None = setting(
        "further metric. rouge adds the F1 of ROUGE-1, ROUGE-2 and ROUGE-L, and needs the package rouge-score",
        default=None,
        choices=("rouge",),
        group=_TESTS,
    )
    seed: int = setting("seed of all tests", default=SEED, at_least=1, declared=False)
    resamples: int = setting(
        "resamples of the paired bootstrap", default=1000, at_least=1, group=_TESTS
    )
    trials: int = setting(
        "trials of the approximate randomisation", default=10_000, at_least=1, group=_TESTS
    )
    buckets: str = setting(
        "ends of the length buckets: the length of the longest reference in each, in Moses words, or in characters if "
        "the target language has no spaces",
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
        """The length of the longest reference in each bucket but the last; empty if ``buckets`` can't be read."""
        ends = [int(end) for end in self.buckets.split(",") if end.isdecimal()]
        rising = self.buckets == ",".join(map(str, sorted(set(ends) - {0})))
        return ends if rising else []

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without reading a file."""
        problems = []
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
                f"`{target_lang}` must be given, since the name of the reference {self.reference} doesn't end in a "
                f"language code. Detokenising depends on the language. For English, give {target_lang} en."
            )
        if self.keep_punctuation and self.data_bin:
            problems.append(f"`{keep}` can't be given with `{data_bin}`, which records it.")
        if self.keep_punctuation and self.tokenized:
            problems.append(
                f"`{keep}` can't be given with `{named(self, 'tokenized')}`, which keeps the text as it is."
            )
        if self.gen_subset and self.reference:
            problems.append(
                f"`{gen_subset}` can't be given with `{reference}`, which is one split."
            )
        problems += range_problems(self)
        if not self.bucket_ends:
            wanted = "whole numbers in rising order, separated by commas"
            problems.append(must_be(named(self, "buckets"), wanted, repr(self.buckets)))
        problems += tokenizer_problems(named(self, "tokenize"), self.tokenize)
        problems += rouge_problems(named(self, "metric"), self.metric)
        return problems + self._system_problems()

    def _system_problems(self) -> list[str]:
        problems = []
        systems = named(self, "systems")
        for name, files in self.systems.items():
            if name == REFERENCE:
                problems.append(
                    f"`{systems}` can't have the name {REFERENCE}, because a row of the report has it."
                )
            resolved = [Path(file).resolve() for file in files]
            for i, file in enumerate(files):
                if resolved[i] in resolved[:i]:
                    problems.append(
                        f"`{systems}` must give each run only once, but gives {name}={file} again."
                    )
        return problems


@dataclass(frozen=True)
class Compared:
    """A comparison, the path of its reference, and the systems that were read."""

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
    tokenized = config.tokenized or (data_bin is not None and data_bin.was_tokenized)
    moses = _words_of(config, data_bin, lang)
    path, texts = _read_texts(config, data_bin, moses)
    systems = _read_systems(config.systems, texts.reference, moses)
    target = target_of(lang, config.tokenize, tokenized)
    if not target.has_words:
        texts, systems = _cut_as_bleu(target, moses.lowercase, texts, systems)
    comparison = compare_systems(
        systems,
        texts,
        lowercase=moses.lowercase,
        trials=Trials(config.resamples, config.trials, config.seed),
        target=target,
        metric=config.metric,
        bucket_ends=config.bucket_ends,
        num_examples=config.examples,
    )
    return Compared(comparison, str(path), systems)


def _words_of(config: CompareConfig, data_bin: DataBin | None, lang: str) -> Words:
    lowercase = config.lowercase or (data_bin is not None and data_bin.lowercase)
    if config.tokenized:
        return TokenizedText(lowercase=lowercase)
    if data_bin is not None:
        return data_bin.words(lang, lowercase=lowercase)
    return MosesText(lang, lowercase=lowercase, normalize=not config.keep_punctuation)


def _read_texts(
    config: CompareConfig, data_bin: DataBin | None, moses: Words
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


def _cut_as_bleu(
    target: Target, lowercase: bool, texts: Texts, systems: list[System]
) -> tuple[Texts, list[System]]:
    """Return texts and systems with BLEU's tokens in place of Moses words, for a language without spaces."""
    from sacrebleu.metrics import BLEU

    bleu = BLEU(lowercase=lowercase, tokenize=target.tokenizer)

    def tokens(lines: list[str]) -> list[str]:
        return [bleu._preprocess_segment(line) for line in lines]

    runs = [[replace(run, tokenized=tokens(run.text)) for run in s.runs] for s in systems]
    systems = [replace(s, runs=cut) for s, cut in zip(systems, runs, strict=True)]
    return replace(texts, tokenized_reference=tokens(texts.reference)), systems


def language_of(reference: str) -> str:
    """Return the language code at the end of a file's name, before ``.gz``; empty if there is none."""
    suffix = Path(reference.removesuffix(".gz")).suffix
    return suffix[1:] if re.fullmatch(r"\.[a-z]{2}", suffix) else ""


def _read_systems(
    files: Mapping[str, Sequence[str | Path]],
    reference: list[str],
    moses: Words,
) -> list[System]:
    """Read all systems.

    :raises DataError: with the mistakes of all of them at once.
    """
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
