"""Parallel text to a data-bin: the steps behind ``bertkd prepare``.

::

    raw lines ─ MosesText ─► tokens ─ CleaningRules (train) ─► pairs
        ─ WordPieceSegmenter ─► symbols ─ fairseq-preprocess, joined dictionary ─► data-bin
        ─ verify ─► renamed into place
"""

from __future__ import annotations

import logging
import math
import operator
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.errors import DataError, raise_all
from bertkd_fairseq.files import hash_file, new_folder
from bertkd_fairseq.installed import versions
from bertkd_fairseq.settings import named
from bertkd_fairseq.teacher_input import MAX_POSITIONS, input_length
from bertkd_fairseq.text.cleaning import Cleaned, CleaningRules
from bertkd_fairseq.text.data_bin import (
    DATA_BIN,
    FORMAT,
    LOG_FILE,
    UNK_INDEX,
    DataBin,
    read_binarized,
)
from bertkd_fairseq.text.facts import (
    DataBinFacts,
    DictionaryFacts,
    InputFile,
    SplitFacts,
    TokenizerFacts,
)
from bertkd_fairseq.text.lines import Sides, read_lines, write_lines
from bertkd_fairseq.text.moses import (
    TokenizedText,
    tokenize_lines,
    without_control_characters,
)
from bertkd_fairseq.text.prepare_config import VOCAB_SIZE
from bertkd_fairseq.text.prepare_config import PrepareConfig as PrepareConfig
from bertkd_fairseq.text.segmentation.learnt import (
    MODEL_FILES,
    Segmenter,
    SentencePieceModel,
    SubwordNMT,
)
from bertkd_fairseq.text.segmentation.schemes import SENTENCEPIECE
from bertkd_fairseq.text.segmentation.wordpiece import WordPieceSegmenter, load_tokenizer

log = logging.getLogger(__name__)

_LINES_A_WORKER = 10_000
_ALL_BUT_EMPTY = CleaningRules(1, sys.maxsize, math.inf, sys.maxsize)
_PACKAGES = ("fairseq", "fairseq-fixed", "sacremoses", "tokenizers", "transformers", "numpy")


@dataclass(frozen=True)
class Prepared:
    """A new data-bin, what was found in its text, and the seconds that each step took."""

    data_bin: DataBin
    facts: DataBinFacts
    seconds: dict[str, float]

    @property
    def report(self) -> dict[str, Any]:
        """The settings that the data-bin keeps, and the seconds."""
        return {**self.data_bin.settings, "seconds": self.seconds}


def prepare(config: PrepareConfig) -> Prepared:
    """Make a data-bin.

    With more than one of ``workers``, a script calls this under ``if __name__ == "__main__":``, because each of them
    imports the script.

    :raises ConfigurationError: for settings that can't work.
    :raises DataError: with every fault of files and tokenizer at once, before anything is computed.
    :raises OutputError: if the disk is full or read-only, or another process has made the data-bin meanwhile.
    """
    watch = _Stopwatch()
    raise_all(config.problems())
    raw, tokenizer = _read_inputs(config)
    watch.end_of("read")
    with new_folder(config.dest, DATA_BIN, force=config.force) as folder:
        making = _Making(config, tokenizer, folder)
        splits = {split: making.add(split, raw.pop(split)) for split in config.prefixes}
        watch.end_of("tokenise and segment")
        making.binarize()
        watch.end_of("fairseq-preprocess")
        facts = making.check(splits, _tokenizer_facts(config, tokenizer, making.made))
        settings = asdict(facts)
        DataBin(folder, settings).write_settings()
    watch.end_of("verify and write")
    return Prepared(DataBin(config.dest, settings), facts, watch.seconds)


class _Stopwatch:
    """The seconds of steps that follow each other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begin = time.monotonic()

    def end_of(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step], self._begin = round(now - self._begin, 1), now


def _input_file(prefix: str, lang: str) -> Path:
    plain, packed = Path(f"{prefix}.{lang}"), Path(f"{prefix}.{lang}.gz")
    if not plain.is_file() and not packed.is_file():
        raise DataError(f"`{plain}` must be a file, plain or with .gz added, but there is none.")
    return plain if plain.is_file() else packed


def _read_inputs(config: PrepareConfig) -> tuple[dict[str, Sides], Any]:
    """Return the raw lines of each split and the tokenizer."""
    problems: list[str] = []
    raw = {split: _read_sides(config, split, problems) for split in config.prefixes}
    tokenizer = None
    if config.tokenizer is not None:
        try:
            tokenizer = load_tokenizer(config.tokenizer, named(config, "tokenizer"))
        except DataError as error:
            problems.append(str(error))
    raise_all(problems, DataError)
    return raw, tokenizer


def _read_sides(config: PrepareConfig, split: str, problems: list[str]) -> Sides:
    """Return the raw lines of one split, and add to ``problems`` what is wrong with them."""
    prefix, read = config.prefixes[split], []
    for lang in config.langs:
        try:
            read.append(read_lines(_input_file(prefix, lang)))
            if not read[-1]:
                problems.append(f"`{_input_file(prefix, lang)}` must hold text, but is empty.")
        except DataError as error:
            problems.append(str(error))
    if len(read) < len(config.langs):
        return Sides([], [])
    sides = Sides(*read)
    if len(sides.source) != len(sides.target):
        problems.append(
            f"`{prefix}` must have as many lines in {config.source_lang} as in {config.target_lang}, "
            f"but has {len(sides.source)} and {len(sides.target)} instead. Pairs are matched by line number."
        )
    return sides


class _Making:
    """A data-bin in the making, in a folder that gets its name at the end."""

    def __init__(self, config: PrepareConfig, tokenizer: Any, folder: Path) -> None:
        self.config = config
        langs = {"source_lang": config.source_lang, "target_lang": config.target_lang}
        self.made = DataBin(folder, langs)
        self.segmenter: Segmenter | None = None  # learnt from train, or the teacher's
        if tokenizer is not None:
            tokenizer.save_pretrained(self.made.tokenizer_dir)
            self.segmenter = WordPieceSegmenter(self.made.tokenizer_dir)
        self.segmented = folder.with_name("segmented")
        self.counts: dict[str, Counter[str]] = {lang: Counter() for lang in config.langs}

    def add(self, split: str, raw: Sides) -> SplitFacts:
        """Write the text files of one split, and count the symbols of train."""
        config = self.config
        log.info("%s: %d pairs", split, len(raw.source))
        text = Sides(*([without_control_characters(line) for line in side] for side in raw))
        changed = [sum(map(operator.ne, *sides)) for sides in zip(raw, text, strict=True)]
        tokens = Sides(*map(self._tokenize, text, config.langs))
        cleaned = self._clean(split, tokens)
        words = Sides(*([side[i] for i in cleaned.kept] for side in tokens))
        written = words
        if config.subword == SENTENCEPIECE:  # which learns from raw text where spaces are
            written = Sides(*([self._cased(side[i]) for i in cleaned.kept] for side in text))
        if self.segmenter is None:
            self.segmenter = self._learn([*written.source, *written.target])
        sizes = {}  # symbols of each kept pair, by language: (pairs,)
        for lang, side, kept, to_cut in zip(config.langs, text, words, written, strict=True):
            lines = self.segmenter.segment_lines(to_cut)
            write_lines(self.segmented / f"{split}.{lang}", lines)
            sizes[lang] = _symbols_of(lines)
            if split == "train":
                for line in lines:
                    self.counts[lang].update(line.split())
            else:
                write_lines(
                    self.made.text("references", split, lang), [side[i] for i in cleaned.kept]
                )
                write_lines(self.made.text("tokenized", split, lang), kept)
        source, target = (sizes[lang] + 1 for lang in config.langs)  # with EOS
        positions = input_length(source, target)
        return SplitFacts(
            read=len(raw.source),
            kept=len(cleaned.kept),
            dropped=cleaned.reasons,
            lines_with_control_characters=dict(zip(config.langs, changed, strict=True)),
            symbols={lang: int(sizes[lang].sum()) for lang in config.langs},
            longest_pair=int(positions.max()),
            pairs_over_512=int((positions > MAX_POSITIONS).sum()),
        )

    def _tokenize(self, lines: list[str], lang: str) -> list[str]:
        if self.config.tokenized:
            return list(map(TokenizedText(lowercase=self.config.lowercase).tokenize, lines))
        how = {"lowercase": self.config.lowercase, "normalize": not self.config.keep_punctuation}
        return tokenize_lines(lines, lang, **how, workers=self.config.workers)

    def _cased(self, line: str) -> str:
        return line.lower() if self.config.lowercase else line

    def _learn(self, lines: list[str]) -> Segmenter:
        """Learn the subword model from the lines of both languages; the data-bin keeps it."""
        config = self.config
        size = config.vocab_size or VOCAB_SIZE
        file = self.made.path / MODEL_FILES[config.subword]
        self.made.path.mkdir(parents=True, exist_ok=True)
        log.info("learning %s, %d symbols, from both languages", config.subword, size)
        if config.subword == SENTENCEPIECE:
            return SentencePieceModel.learn(lines, size, file, config.sentencepiece_type)
        return SubwordNMT.learn(lines, size, file)

    def _clean(self, split: str, tokens: Sides) -> Cleaned:
        """Return which pairs stay: of valid and test all that have two sides, whatever their length.

        :raises DataError: if none does.
        """
        rules = self.config.rules if split == "train" else _ALL_BUT_EMPTY
        cleaned = rules.clean(tokens)
        if not cleaned.kept:
            reasons = ", ".join(f"{reason} {n}" for reason, n in cleaned.reasons.items())
            raise DataError(
                f"`{named(self.config, split)}` must hold a pair to keep, "
                f"but all {len(cleaned.dropped)} were dropped: {reasons}."
            )
        if cleaned.dropped and split != "train":
            numbers = [str(i + 1) for i in cleaned.dropped]
            log.warning(
                "%s: %d pairs with an empty side dropped, from the references as well: line %s",
                *(split, len(numbers), ", ".join(numbers[:10]) + ", ..." * (len(numbers) > 10)),
            )
        return cleaned

    def binarize(self) -> None:
        """Run ``fairseq-preprocess``, whose log stays in the data-bin.

        :raises DataError: if it fails.
        """
        config = self.config
        # A worker takes half a second to start, for which it has to have something to do.
        lines = sum(1 for _ in (self.segmented / f"train.{config.source_lang}").open("rb"))
        command = [sys.executable, "-m", "fairseq_cli.preprocess", "--joined-dictionary"]
        command += ["--source-lang", config.source_lang, "--target-lang", config.target_lang]
        command += ["--thresholdsrc", "0", "--thresholdtgt", "0"]
        command += ["--workers", str(max(1, min(config.workers, lines // _LINES_A_WORKER)))]
        for split in config.prefixes:
            command += [f"--{split}pref", str(self.segmented / split)]
        command += ["--destdir", str(self.made.path)]
        log.info("fairseq-preprocess; its log will be %s", config.dest / LOG_FILE)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            tail = "\n".join(done.stdout.strip().split("\n")[-20:])
            raise DataError(
                f"fairseq-preprocess must end with exit code 0, but ended with {done.returncode}. "
                f"Run `bertkd doctor`. Its last lines:\n{tail}"
            )

    def check(
        self, splits: dict[str, SplitFacts], tokenizer: TokenizerFacts | None
    ) -> DataBinFacts:
        """Compare what was binarized with the text, and return all facts of the data-bin.

        :raises DataError: if ``fairseq-preprocess`` made something else of the text.
        """
        config = self.config
        problems: list[str] = []
        for split, facts in splits.items():
            unk = {lang: self._count_unk(split, lang, problems) for lang in config.langs}
            splits[split] = replace(facts, unk=unk)
        source, target = (self.made.dictionary(lang).read_bytes() for lang in config.langs)
        if source != target:
            problems.append("both dictionaries must be the same file, but differ.")
        raise_all([f"fairseq-preprocess: {problem}" for problem in problems], DataError)
        joined = self.counts[config.source_lang] + self.counts[config.target_lang]
        counts = {**self.counts, "joined": joined}
        cut = self.segmenter
        coverage = (
            {side: cut.coverage(n) for side, n in counts.items()}
            if isinstance(cut, WordPieceSegmenter)
            else {}
        )
        return DataBinFacts(
            format=FORMAT,
            source_lang=config.source_lang,
            target_lang=config.target_lang,
            lowercase=config.lowercase,
            normalize_punctuation=not config.keep_punctuation,
            cleaning=config.rules,
            tokenized=config.tokenized,
            subword=config.subword,
            tokenizer=tokenizer,
            inputs=_hashed_inputs(config),
            splits=splits,
            dictionary=DictionaryFacts(
                size=source.count(b"\n") + UNK_INDEX + 1,
                coverage=coverage,
            ),
            versions=versions(*_PACKAGES),
        )

    def _count_unk(self, split: str, lang: str, problems: list[str]) -> int:
        """Return the number of ``<unk>`` in a binarized file, and add to ``problems`` what is wrong with it."""
        wanted = _symbols_of(read_lines(self.segmented / f"{split}.{lang}")) + 1  # EOS
        sizes, ids = read_binarized(self.made.prefix(split, lang))
        if not np.array_equal(sizes, wanted):
            problems.append(f"{split}.{lang} must hold its text's sentences, but doesn't.")
        unk = int((ids == UNK_INDEX).sum())
        if split == "train" and unk:
            problems.append(f"train.{lang} must be free of <unk>, but holds {unk}.")
        return unk


def _symbols_of(lines: list[str]) -> np.ndarray:
    """Return the number of symbols in each line: (lines,) int64."""
    return np.fromiter((line.count(" ") + 1 for line in lines), np.int64, len(lines))


def _tokenizer_facts(config: PrepareConfig, tokenizer: Any, made: DataBin) -> TokenizerFacts | None:
    if config.tokenizer is None:
        return None
    normalizer = tokenizer.backend_tokenizer.normalizer
    probe = normalizer.normalize_str("Aé") if normalizer is not None else "Aé"
    return TokenizerFacts(
        name=config.tokenizer,
        sha256=hash_file(made.tokenizer_dir / "tokenizer.json"),
        lowercases="A" not in probe,
        strips_accents="é" not in probe,
    )


def _hashed_inputs(config: PrepareConfig) -> list[InputFile]:
    prefixes = config.prefixes.values()
    files = [_input_file(prefix, lang) for prefix in prefixes for lang in config.langs]
    return [InputFile(str(file), hash_file(file)) for file in files]
