"""The IWSLT14 German-English archive as raw text, in the split that published scores share.

The steps are those of fairseq's usual recipe for this data, ``prepare-iwslt14.sh``::

    train.tags.de-en.{de,en}  ─ lines with <url>, <talkid> or <keywords> out; <title> and
        <description> unwrapped ─ CleaningRules ─ every 23rd pair to valid, the others to train
    IWSLT14.TED*.xml          ─ <seg> lines, ’ to ' ─ test, five files one after the other

Cleaning comes before the split, so it is valid's as well as train's; test keeps every pair. Lengths
are of Moses tokens before lowercasing and before any subwords, punctuation as it stands. Entities
(``&amp;``) stay as they stand, too. Of that recipe's cleaning, only the limit of 1,000 characters a
word is left out.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from bertkd_fairseq.errors import DataError, raise_all
from bertkd_fairseq.files import (
    FolderKind,
    dest_problems,
    hash_file,
    new_folder,
    place_problems,
    read_marker,
)
from bertkd_fairseq.installed import versions
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.text.cleaning import Cleaned, CleaningRules
from bertkd_fairseq.text.download import download
from bertkd_fairseq.text.lines import Sides, decode_lines, write_lines
from bertkd_fairseq.text.moses import tokenize_lines
from bertkd_fairseq.text.outputs import inside_problems

FACTS_FILE = "iwslt14.json"
LANGS = ("de", "en")
SPLITS = ("train", "valid", "test")
PAIRS = (160_239, 7_283, 6_750)
"""What the usual recipe gives for train, valid and test."""

_TRAIN = "train.tags.de-en"
_TEST = tuple(
    f"IWSLT14.{name}.de-en"
    for name in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
)
_VALID_EVERY = 23
_DROPPED_LINES = ("<url>", "<talkid>", "<keywords>")
_UNWRAPPED = re.compile("</?(?:title|description)>")
_SEGMENT = re.compile(r'<seg id="[0-9]*">\s*|\s*</seg>\s*')

# Moses' own script takes these control characters for tokens, as any symbol, and drops those. Here
# all of them go before tokenising, so for lengths as counted there a symbol stands in.
_COUNTED = dict.fromkeys([*range(0x7F, 0x85), *range(0x86, 0xA0)], "¤")
_UNCOUNTED = dict.fromkeys(range(0x1C, 0x20), "")


@dataclass(frozen=True)
class Iwslt14:
    """The raw text of each split, and what the data's own training pairs were before cleaning."""

    splits: dict[str, Sides]
    read: int
    dropped: dict[str, int]

    @property
    def pairs(self) -> tuple[int, ...]:
        """Number of pairs in train, valid and test."""
        return tuple(len(self.splits[split][0]) for split in SPLITS)


def read_archive(path: Path) -> dict[str, list[str]]:
    """Return the lines of every file that is needed of ``de-en.tgz``, by the file's name.

    :raises DataError: if the archive is damaged, cut short, or lacks a file.
    """
    try:
        # To the last byte, so that the checksum of the archive itself has been compared.
        data = gzip.decompress(path.read_bytes())
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            members = {PurePosixPath(m.name).name: m for m in archive if m.isfile()}
            missing = [name for name in _files() if name not in members]
            contents = {
                name: archive.extractfile(members[name]).read()  # type: ignore[union-attr]
                for name in _files()
                if name in members
            }
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"`{path}` must be a whole .tgz archive, but reading it gave: {reason}. Get it again."
        ) from None
    raise_all([f"`{path}` must hold {name}, but doesn't." for name in missing], DataError)
    return {name: decode_lines(data, f"{path}:{name}") for name, data in contents.items()}


def _files() -> list[str]:
    tests = [f"{name}.{lang}.xml" for name in _TEST for lang in LANGS]
    return [f"{_TRAIN}.{lang}" for lang in LANGS] + tests


def train_lines(lines: Sequence[str]) -> list[str]:
    """Return the text of one ``train.tags`` file: title, description and sentences of each talk."""
    return [
        _UNWRAPPED.sub("", line) for line in lines if not any(tag in line for tag in _DROPPED_LINES)
    ]


def xml_lines(lines: Sequence[str]) -> list[str]:
    """Return the sentences of one XML file, apostrophes straight."""
    return [_SEGMENT.sub("", line).replace("’", "'") for line in lines if "<seg id" in line]


def make_splits(files: Mapping[str, list[str]], *, workers: int = 1) -> Iwslt14:
    """Return the three splits of the files that :func:`read_archive` gave.

    :raises DataError: if a file has more or fewer sentences in one language than in the other.
    """
    train = Sides(*(train_lines(files[f"{_TRAIN}.{lang}"]) for lang in LANGS))
    tests = [Sides(*(xml_lines(files[f"{name}.{lang}.xml"]) for lang in LANGS)) for name in _TEST]
    errors = [
        f"`{name}` must have as many sentences in de as in en, "
        f"but has {len(sides.source):,} and {len(sides.target):,} instead."
        for name, sides in zip((_TRAIN, *_TEST), (train, *tests), strict=True)
        if len(sides.source) != len(sides.target)
    ]
    raise_all(errors, DataError)
    cleaned = _clean(train, workers)
    numbered = list(enumerate(cleaned.kept, 1))
    valid = [i for number, i in numbered if number % _VALID_EVERY == 0]
    rest = [i for number, i in numbered if number % _VALID_EVERY]
    return Iwslt14(
        splits={
            "train": Sides(*([side[i] for i in rest] for side in train)),
            "valid": Sides(*([side[i] for i in valid] for side in train)),
            "test": Sides(
                [line for sides in tests for line in sides.source],
                [line for sides in tests for line in sides.target],
            ),
        },
        read=len(train.source),
        dropped=cleaned.reasons,
    )


def _clean(train: Sides, workers: int) -> Cleaned:
    tokens = (
        tokenize_lines(
            [line.translate(_COUNTED | _UNCOUNTED) for line in side],
            lang,
            normalize=False,
            workers=workers,
        )
        for side, lang in zip(train, LANGS, strict=True)
    )
    return CleaningRules().clean(Sides(*tokens))


@dataclass(frozen=True)
class Iwslt14Facts:
    """What is known of a folder of text: ``iwslt14.json`` in it holds the same by the same names."""

    archive: str
    bytes: int
    sha256: str
    cleaning: CleaningRules
    read: int
    dropped: dict[str, int]  # number of pairs by reason
    pairs: dict[str, int]  # by split
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Iwslt14Config:
    """The settings of :func:`make_iwslt14`."""

    archive: Path = setting("the archive, de-en.tgz", metavar="FILE")
    url: str | None = setting(
        "address to download the archive from, if there is none at --archive", default=None
    )
    destdir: Path = setting("the new folder of text", metavar="DIR", old_option="--dest")
    force: bool = setting("replace a folder that this command made at --destdir", default=False)
    pairs: Sequence[int] = setting(
        "number of pairs that each split must have; the command ends if one has another",
        default=PAIRS,
        metavar=("TRAIN", "VALID", "TEST"),
    )
    workers: int = setting(
        "number of processes", default=os.cpu_count() or 1, at_least=1, metavar="N"
    )

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without reading the archive."""
        destdir, option, force = (named(self, name) for name in ("destdir", "archive", "force"))
        dest = self.destdir.absolute()
        problems = dest_problems(dest, TEXT, self.force, name=destdir, force_name=force)
        problems += inside_problems(destdir, dest) + range_problems(self)
        archive = self.archive.absolute()
        if not archive.exists() and not self.url:
            wanted = f"a file, or {named(self, 'url')} must name where to download it"
            problems.append(f"`{option}` must be {wanted}, but there is none at {archive}.")
        elif not archive.exists():
            problems += inside_problems(option, archive) + place_problems(option, archive)
        return problems


def make_iwslt14(config: Iwslt14Config) -> Iwslt14Facts:
    """Make the text from the archive, which is downloaded if it isn't there; return what is known of both.

    With more than one of ``workers``, a script calls this under ``if __name__ == "__main__":``, because each of them
    imports the script.

    :raises ConfigurationError: with every setting that can't work.
    :raises DataError: if the archive is damaged or another, or gives other numbers of pairs.
    :raises OutputError: if a file can't be written.
    """
    raise_all(config.problems())
    archive = config.archive.absolute()
    if not archive.exists():
        download(str(config.url), archive, check=read_archive)
    data = make_splits(read_archive(archive), workers=config.workers)
    check_pairs(data, config.pairs, archive)
    return write_splits(data, archive, config.destdir.absolute(), force=config.force)


def check_pairs(data: Iwslt14, wanted: Sequence[int], archive: Path) -> None:
    """Compare the number of pairs in train, valid and test.

    :raises DataError: with what is seen and what is wanted.
    """
    if data.pairs != tuple(wanted):
        numbers, seen = (" / ".join(f"{n:,}" for n in pairs) for pairs in (wanted, data.pairs))
        raise DataError(
            f"`{archive}` must give {numbers} pairs of train / valid / test, but gives {seen} "
            "instead. Is it IWSLT14 German-English as released? To use it as it is, give "
            f"`{named(Iwslt14Config, 'pairs')} {' '.join(map(str, data.pairs))}`."
        )


def _own_files(folder: Path) -> list[str] | None:
    if "archive" not in read_marker(folder / FACTS_FILE):
        return None
    return [FACTS_FILE, *(f"{split}.{lang}" for split in SPLITS for lang in LANGS)]


TEXT = FolderKind("text of IWSLT14", "bertkd iwslt14", _own_files)


def write_splits(data: Iwslt14, archive: Path, dest: Path, *, force: bool = False) -> Iwslt14Facts:
    """Write ``dest/<split>.<lang>`` and what is known of them, all or nothing; return the latter.

    ``force``: replace such a folder.

    :raises OutputError: if ``dest`` can't be written.
    """
    facts = Iwslt14Facts(
        archive=str(archive),
        bytes=archive.stat().st_size,
        sha256=hash_file(archive),
        cleaning=CleaningRules(),
        read=data.read,
        dropped=data.dropped,
        pairs=dict(zip(SPLITS, data.pairs, strict=True)),
        versions=versions("sacremoses"),
    )
    with new_folder(dest, TEXT, force=force) as partial:
        for split, sides in data.splits.items():
            for lang, lines in zip(LANGS, sides, strict=True):
                write_lines(partial / f"{split}.{lang}", lines)
        (partial / FACTS_FILE).write_text(json.dumps(asdict(facts), indent=2) + "\n", "utf-8")
    return facts


def format_report(facts: Iwslt14Facts, dest: Path) -> str:
    """Return the lines that ``bertkd iwslt14`` prints."""
    dropped = ", ".join(f"{reason} {n:,}" for reason, n in facts.dropped.items()) or "none"
    pairs = ", ".join(f"{split} {n:,}" for split, n in facts.pairs.items())
    lines = [
        f"archive: {facts.archive}, {facts.bytes:,} bytes",
        f"sha256: {facts.sha256}",
        f"training pairs read: {facts.read:,}; dropped: {dropped}",
        f"pairs: {pairs}",
        f"text: {dest}",
    ]
    return "\n".join(lines)
