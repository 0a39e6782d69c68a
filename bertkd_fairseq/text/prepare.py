"""Parallel text to a data-bin: the steps behind ``bertkd prepare``.

::

    raw lines ─ MosesText ─► tokens ─ CleaningRules (train) ─► pairs
        ─ WordPieceSegmenter ─► symbols ─ fairseq-preprocess, joined dictionary ─► data-bin
        ─ verify ─► renamed into place
"""

from __future__ import annotations

import json
import logging
import math
import operator
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq import __version__
from bertkd_fairseq.errors import DataError, must_be, raise_all
from bertkd_fairseq.files import dest_problems, hash_file, new_folder
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.teacher_input import MAX_POSITIONS, input_length
from bertkd_fairseq.text.cleaning import CleaningRules
from bertkd_fairseq.text.data_bin import (
    DATA_BIN,
    FORMAT,
    SETTINGS_FILE,
    UNK_INDEX,
    DataBin,
    read_binarized,
)
from bertkd_fairseq.text.lines import read_lines, write_lines
from bertkd_fairseq.text.moses import tokenize_lines, without_control_characters
from bertkd_fairseq.text.outputs import inside_problems
from bertkd_fairseq.text.segmentation.wordpiece import WordPieceSegmenter, load_tokenizer

log = logging.getLogger(__name__)

_RULES = CleaningRules()
_TEXT = "text, as PREFIX.LANG or PREFIX.LANG.gz"
_CLEANING = "cleaning of training pairs, in Moses tokens"
_OUTPUT = "tokenizer and output"
_LINES_A_WORKER = 10_000
_PAIR_EXTRA = input_length(1, 1)  # [CLS], and EOS on either side
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
_PACKAGES = ("fairseq", "fairseq-fixed", "sacremoses", "tokenizers", "transformers", "numpy")


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """The settings of :func:`prepare`; texts are given by their prefix, ``PREFIX.LANG`` or ``PREFIX.LANG.gz``."""

    source_lang: str = setting("source language code", metavar="LANG", group=_TEXT)
    target_lang: str = setting("target language code", metavar="LANG", group=_TEXT)
    train: str = setting("training pairs", metavar="PREFIX", group=_TEXT)
    valid: str = setting("validation pairs", metavar="PREFIX", group=_TEXT)
    test: str | None = setting("test pairs", default=None, metavar="PREFIX", group=_TEXT)
    lowercase: bool = setting("lowercase both languages", default=False, group=_TEXT)
    keep_punctuation: bool = setting(
        "leave quotes, dashes and so on as they are, instead of normalising them before tokenising",
        default=False,
        group=_TEXT,
    )
    min_length: int = setting(
        "shortest side that is kept", default=_RULES.min_length, at_least=1, group=_CLEANING
    )
    max_length: int = setting(
        "longest side that is kept", default=_RULES.max_length, group=_CLEANING
    )
    max_ratio: float = setting(
        "largest ratio of the longer to the shorter side",
        default=_RULES.max_ratio,
        at_least=1,
        group=_CLEANING,
    )
    tokenizer: str = setting(
        "the teacher's fast WordPiece tokenizer", metavar="PATH_OR_HUB_NAME", group=_OUTPUT
    )
    destdir: Path = setting("the new data-bin", metavar="DIR", group=_OUTPUT, old_option="--dest")
    force: bool = setting("replace a data-bin at --destdir", default=False, group=_OUTPUT)
    workers: int = setting(
        "number of processes",
        default=os.cpu_count() or 1,
        at_least=1,
        metavar="N",
        group=_OUTPUT,
    )

    @property
    def langs(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_lang, self.target_lang

    @property
    def prefixes(self) -> dict[str, str]:
        """The prefix of each split's text."""
        named_prefixes = {"train": self.train, "valid": self.valid, "test": self.test}
        return {split: prefix for split, prefix in named_prefixes.items() if prefix}

    @property
    def rules(self) -> CleaningRules:
        """Which training pairs stay."""
        return CleaningRules(self.min_length, self.max_length, self.max_ratio)

    @property
    def dest(self) -> Path:
        """The data-bin's place, wherever the process goes meanwhile."""
        return self.destdir.absolute()

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without reading any text."""
        problems = []
        if self.source_lang == self.target_lang:
            wanted = f"another language than {named(self, 'source_lang')}"
            problems.append(must_be(named(self, "target_lang"), wanted, "the same"))
        for name, lang in zip(("source_lang", "target_lang"), self.langs, strict=True):
            if not lang or set(lang) & set("-./\\ ,:"):
                # fairseq finds the languages of a data-bin by cutting file names at "." and "-".
                wanted = "a language code without - . / , : or space"
                problems.append(must_be(named(self, name), wanted, repr(lang)))
        problems += range_problems(self)
        if self.max_length < self.min_length:
            wanted = f"at least {named(self, 'min_length')}"
            problems.append(must_be(named(self, "max_length"), wanted, self.max_length))
        option = named(self, "destdir")
        problems += dest_problems(self.dest, DATA_BIN, self.force, option)
        return problems + inside_problems(option, self.destdir)


@dataclass(frozen=True)
class Prepared:
    """A new data-bin, and the seconds that each step took."""

    data_bin: DataBin
    seconds: dict[str, float]

    @property
    def report(self) -> dict[str, Any]:
        """The settings that the data-bin keeps, and the seconds."""
        return {**self.data_bin.settings, "seconds": self.seconds}


def prepare(job: PrepareConfig) -> Prepared:
    """Make the data-bin of ``job``.

    :raises ConfigurationError: for settings that can't work.
    :raises DataError: with every fault of files and tokenizer at once, before anything is computed.
    :raises OutputError: if the disk is full or read-only, or another process has made the data-bin meanwhile.
    """
    started = time.monotonic()
    raise_all(job.problems())
    raw, tokenizer = _read_inputs(job)
    seconds = {"read": time.monotonic() - started}
    splits = {}
    counts: dict[str, Counter[str]] = {lang: Counter() for lang in job.langs}
    with new_folder(job.dest, DATA_BIN, force=job.force) as partial:
        tokenizer.save_pretrained(partial / "tokenizer")
        segmenter = WordPieceSegmenter(partial / "tokenizer")
        segmented = partial.with_name("segmented")
        for split in job.prefixes:
            splits[split] = _prepare_split(
                job, split, raw.pop(split), segmenter, partial, segmented, counts
            )
        seconds["tokenise and segment"] = time.monotonic() - started - sum(seconds.values())
        _run_fairseq_preprocess(job, segmented, partial)
        seconds["fairseq-preprocess"] = time.monotonic() - started - sum(seconds.values())
        dictionary = _verify(job, splits, segmented, partial)
        counts["joined"] = counts[job.source_lang] + counts[job.target_lang]
        dictionary["coverage"] = {side: segmenter.coverage(count) for side, count in counts.items()}
        settings = _settings(job, tokenizer, partial, splits, dictionary)
        text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        (partial / SETTINGS_FILE).write_text(text, encoding="utf-8")
    seconds["verify and write"] = time.monotonic() - started - sum(seconds.values())
    rounded = {step: round(s, 1) for step, s in seconds.items()}
    return Prepared(DataBin(job.dest, settings), rounded)


def _input_file(prefix: str, lang: str) -> Path:
    plain, packed = Path(f"{prefix}.{lang}"), Path(f"{prefix}.{lang}.gz")
    if not plain.is_file() and not packed.is_file():
        raise DataError(f"`{plain}` must be a file (or with .gz), but there is none.")
    return plain if plain.is_file() else packed


def _read_inputs(job: PrepareConfig) -> tuple[dict[str, list[list[str]]], Any]:
    """Return the raw lines ``[source, target]`` of each split and the tokenizer."""
    errors, raw = [], {}
    for split, prefix in job.prefixes.items():
        sides: list[list[str]] = []
        for lang in job.langs:
            try:
                sides.append(read_lines(_input_file(prefix, lang)))
                if not sides[-1]:
                    errors.append(f"`{_input_file(prefix, lang)}` must hold text, but is empty.")
            except DataError as error:
                errors.append(str(error))
        if len(sides) == 2 and len(sides[0]) != len(sides[1]):
            (source, target), (first, second) = job.langs, map(len, sides)
            errors.append(
                f"`{prefix}` must have as many lines in {source} as in {target}, "
                f"but has {first} and {second} instead. Pairs are matched by line number."
            )
        raw[split] = sides
    tokenizer = None
    try:
        tokenizer = load_tokenizer(job.tokenizer, named(job, "tokenizer"))
    except DataError as error:
        errors.append(str(error))
    raise_all(errors, DataError)
    return raw, tokenizer


def _prepare_split(
    job: PrepareConfig,
    split: str,
    raw: list[list[str]],
    segmenter: WordPieceSegmenter,
    partial: Path,
    segmented: Path,
    counts: dict[str, Counter[str]],
) -> dict[str, Any]:
    """Write the text files of one split, add to ``counts`` (train) and return its facts."""
    log.info("%s: %d pairs", split, len(raw[0]))
    text = [[without_control_characters(line) for line in side] for side in raw]
    changed = [sum(map(operator.ne, *sides)) for sides in zip(raw, text, strict=True)]
    how = {"lowercase": job.lowercase, "normalize": not job.keep_punctuation}
    tokens = [
        tokenize_lines(side, lang, **how, workers=job.workers)
        for side, lang in zip(text, job.langs, strict=True)
    ]
    kept, dropped = _clean(job, split, tokens)
    lengths = np.zeros(len(kept), np.int64)  # symbols of both sides, (pairs,)
    symbols = {}
    for lang, side, tokenized in zip(job.langs, text, tokens, strict=True):
        lines = segmenter.segment_lines([tokenized[i] for i in kept])
        write_lines(segmented / f"{split}.{lang}", lines)
        sizes = np.fromiter((line.count(" ") + 1 for line in lines), np.int64, len(lines))
        lengths, symbols[lang] = lengths + sizes, int(sizes.sum())
        if split == "train":
            for line in lines:
                counts[lang].update(line.split())
        else:
            write_lines(partial / "references" / f"{split}.{lang}", [side[i] for i in kept])
            write_lines(partial / "tokenized" / f"{split}.{lang}", [tokenized[i] for i in kept])
    return {
        "read": len(text[0]),
        "kept": len(kept),
        "dropped": dropped,
        "lines_with_control_characters": dict(zip(job.langs, changed, strict=True)),
        "symbols": symbols,
        "longest_pair": int(lengths.max()) + _PAIR_EXTRA,
        "pairs_over_512": int((lengths + _PAIR_EXTRA > MAX_POSITIONS).sum()),
    }


def _clean(
    job: PrepareConfig, split: str, tokens: list[list[str]]
) -> tuple[list[int], dict[str, int]]:
    """Return the numbers of the pairs that stay, and how many go for each reason."""
    # Valid and test keep every pair that has two sides, whatever its length.
    rules = job.rules if split == "train" else CleaningRules(1, sys.maxsize, math.inf)
    kept, dropped, lines = rules.clean(tokens)
    if not kept:
        raise DataError(
            f"`{named(job, split)}` must hold a pair to keep, but all {len(lines)} were dropped: "
            + ", ".join(f"{reason} {n}" for reason, n in dropped.items())
            + "."
        )
    if dropped and split != "train":
        numbers = [str(i + 1) for i in lines]
        log.warning(
            "%s: %d pairs with an empty side dropped, from the references as well: line %s",
            *(split, len(numbers), ", ".join(numbers[:10]) + ", ..." * (len(numbers) > 10)),
        )
    return kept, dropped


def _run_fairseq_preprocess(job: PrepareConfig, segmented: Path, partial: Path) -> None:
    """Binarize with ``fairseq-preprocess``, whose log stays in the data-bin."""
    # A worker takes half a second to start, for which it has to have something to do.
    lines = sum(1 for _ in (segmented / f"train.{job.source_lang}").open("rb"))
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--joined-dictionary"]
    command += ["--source-lang", job.source_lang, "--target-lang", job.target_lang]
    command += ["--thresholdsrc", "0", "--thresholdtgt", "0"]
    command += ["--workers", str(max(1, min(job.workers, lines // _LINES_A_WORKER)))]
    for split in job.prefixes:
        command += [f"--{split}pref", str(segmented / split)]
    command += ["--destdir", str(partial)]
    log.info("fairseq-preprocess; its log will be %s", job.dest / "preprocess.log")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        tail = "\n".join(done.stdout.strip().split("\n")[-20:])
        raise DataError(
            f"fairseq-preprocess must end with exit code 0, but ended with {done.returncode}. "
            f"Run `bertkd doctor`. Its last lines:\n{tail}"
        )


def _verify(
    job: PrepareConfig, splits: Mapping[str, Any], segmented: Path, partial: Path
) -> dict[str, Any]:
    """Check each sentence's length against the text, count ``<unk>``; return dictionary facts."""
    made = DataBin(partial, {"source_lang": job.source_lang, "target_lang": job.target_lang})
    errors = []
    for split in job.prefixes:
        splits[split]["unk"] = {}
        for lang in job.langs:
            lines = read_lines(segmented / f"{split}.{lang}")
            wanted = np.fromiter((line.count(" ") + 2 for line in lines), np.int64, len(lines))
            sizes, ids = read_binarized(made.prefix(split, lang))
            if not np.array_equal(sizes, wanted):
                errors.append(f"{split}.{lang} must hold its text's sentences, but doesn't.")
            unk = splits[split]["unk"][lang] = int((ids == UNK_INDEX).sum())
            if split == "train" and unk:
                errors.append(f"train.{lang} must be free of <unk>, but holds {unk}.")
    texts = [(partial / f"dict.{lang}.txt").read_bytes() for lang in job.langs]
    if texts[0] != texts[1]:
        errors.append("both dictionaries must be the same file, but differ.")
    raise_all([f"fairseq-preprocess: {error}" for error in errors], DataError)
    return {"size": texts[0].count(b"\n") + UNK_INDEX + 1}


def _settings(
    job: PrepareConfig, tokenizer: Any, partial: Path, splits: Any, dictionary: dict[str, Any]
) -> dict[str, Any]:
    normalizer = tokenizer.backend_tokenizer.normalizer
    probe = normalizer.normalize_str("Aé") if normalizer is not None else "Aé"
    inputs = []
    for prefix in job.prefixes.values():
        for lang in job.langs:
            file = _input_file(prefix, lang)
            inputs.append({"file": str(file), "sha256": hash_file(file)})
    return {
        "format": FORMAT,
        "source_lang": job.source_lang,
        "target_lang": job.target_lang,
        "lowercase": job.lowercase,
        "normalize_punctuation": not job.keep_punctuation,
        "cleaning": asdict(job.rules),
        "tokenizer": {
            "name": job.tokenizer,
            "sha256": hash_file(partial / "tokenizer" / "tokenizer.json"),
            "lowercases": "A" not in probe,
            "strips_accents": "é" not in probe,
        },
        "inputs": inputs,
        "splits": splits,
        "dictionary": dictionary,
        "versions": {"bertkd-fairseq": __version__, **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
