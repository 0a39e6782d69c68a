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
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq import __version__
from bertkd_fairseq.errors import DataError, must_be, raise_all
from bertkd_fairseq.files import dest_problems, hash_file, new_folder
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
from bertkd_fairseq.text.segmentation.wordpiece import WordPieceSegmenter, load_tokenizer

log = logging.getLogger(__name__)

BERT_POSITIONS = 512
_LINES_A_WORKER = 10_000
_PAIR_EXTRA = 3  # [CLS] and two [SEP]
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
_PACKAGES = ("fairseq", "fairseq-fixed", "sacremoses", "tokenizers", "transformers", "numpy")


@dataclass(frozen=True)
class Preparation:
    """All that decides what a data-bin holds; ``prefixes`` maps each split to its text's prefix."""

    source_lang: str
    target_lang: str
    prefixes: Mapping[str, str]
    tokenizer: str
    dest: Path
    rules: CleaningRules = field(default_factory=CleaningRules)
    lowercase: bool = False
    normalize: bool = True
    workers: int = 1
    force: bool = False

    @property
    def langs(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_lang, self.target_lang


def prepare(job: Preparation) -> dict[str, Any]:
    """Make the data-bin of ``job``; return the settings that it keeps, and seconds per step.

    :raises ConfigurationError: for options that can't work.
    :raises DataError: with every fault of files and tokenizer at once, before anything is computed.
    :raises OutputError: if the disk is full or read-only, or another process has made the data-bin meanwhile.
    """
    started = time.monotonic()
    raise_all(_wrong_options(job))
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
    return {**settings, "seconds": {step: round(s, 1) for step, s in seconds.items()}}


def _wrong_options(job: Preparation) -> list[str]:
    errors = []
    if job.source_lang == job.target_lang:
        errors.append(must_be("--target-lang", "another language than --source-lang", "the same"))
    for name, lang in zip(("--source-lang", "--target-lang"), job.langs, strict=True):
        if not lang or set(lang) & set("-./\\ ,:"):
            # fairseq finds the languages of a data-bin by cutting file names at "." and "-".
            errors.append(must_be(name, "a language code without - . / , : or space", repr(lang)))
    if job.rules.min_length < 1:
        errors.append(must_be("--min-length", "at least 1", job.rules.min_length))
    if job.rules.max_length < job.rules.min_length:
        errors.append(must_be("--max-length", "at least --min-length", job.rules.max_length))
    if not job.rules.max_ratio >= 1:
        errors.append(must_be("--max-ratio", "at least 1", job.rules.max_ratio))
    if job.workers < 1:
        errors.append(must_be("--workers", "at least 1", job.workers))
    return errors + dest_problems(job.dest, DATA_BIN, job.force)


def _input_file(prefix: str, lang: str) -> Path:
    plain, packed = Path(f"{prefix}.{lang}"), Path(f"{prefix}.{lang}.gz")
    if not plain.is_file() and not packed.is_file():
        raise DataError(f"`{plain}` must be a file (or with .gz), but there is none.")
    return plain if plain.is_file() else packed


def _read_inputs(job: Preparation) -> tuple[dict[str, list[list[str]]], Any]:
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
        tokenizer = load_tokenizer(job.tokenizer)
    except DataError as error:
        errors.append(str(error))
    raise_all(errors, DataError)
    return raw, tokenizer


def _prepare_split(
    job: Preparation,
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
    how = {"lowercase": job.lowercase, "normalize": job.normalize}
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
        "pairs_over_512": int((lengths + _PAIR_EXTRA > BERT_POSITIONS).sum()),
    }


def _clean(
    job: Preparation, split: str, tokens: list[list[str]]
) -> tuple[list[int], dict[str, int]]:
    """Return the numbers of the pairs that stay, and how many go for each reason."""
    # Valid and test keep every pair that has two sides, whatever its length.
    rules = job.rules if split == "train" else CleaningRules(1, sys.maxsize, math.inf)
    kept, dropped, lines = rules.clean(tokens)
    if not kept:
        raise DataError(
            f"`--{split}` must hold a pair to keep, but all {len(lines)} were dropped: "
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


def _run_fairseq_preprocess(job: Preparation, segmented: Path, partial: Path) -> None:
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
    job: Preparation, splits: Mapping[str, Any], segmented: Path, partial: Path
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
    job: Preparation, tokenizer: Any, partial: Path, splits: Any, dictionary: dict[str, Any]
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
        "normalize_punctuation": job.normalize,
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
