"""A data-bin made by ``bertkd prepare``: fairseq's binarized text and what later stages ask of it.

::

    DEST/dict.<lang>.txt, <split>.<src>-<tgt>.<lang>.{bin,idx}   as fairseq-preprocess writes them
    DEST/tokenizer/                 the teacher's fast WordPiece tokenizer, if it cut the text
    DEST/bpe.codes, sentencepiece.model   the subword model that did otherwise
    DEST/references/<split>.<lang>  raw text of valid and test, a line per sentence of the data-bin
    DEST/tokenized/<split>.<lang>   the same, normalised, Moses-tokenised (and lowercased)
    DEST/bertkd.json                every setting, counts, versions
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.files import FolderKind, hash_file, read_marker
from bertkd_fairseq.text.moses import MosesText, TokenizedText, Words
from bertkd_fairseq.text.segmentation.learnt import MODEL_FILES
from bertkd_fairseq.vocabulary import SPECIAL_PIECES

SETTINGS_FILE = "bertkd.json"
LOG_FILE = "preprocess.log"
"""The log of ``fairseq-preprocess``, by the name that it gives to it."""

FORMAT = 1
UNK_INDEX = list(SPECIAL_PIECES).index("<unk>")
"""The id of ``<unk>`` in every fairseq dictionary."""

LAZY, RAW = "lazy", "raw"
"""The ``--dataset-impl`` that reads what ``fairseq-preprocess`` wrote until 2019, and the one that reads text."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "chat_template.jinja",
)
"""All that transformers writes for a fast WordPiece tokenizer."""

TextKind = Literal["references", "tokenized"]
"""The two forms in which a data-bin keeps the text of valid and test, by the folder's name."""

_AGAIN = "Run `bertkd prepare` again."
_REQUIRED = ("source_lang", "target_lang", "lowercase")
_INDEX_MAGIC = b"MMIDIDX\x00\x00"
_CACHED_MAGIC = b"TNTIDX\x00\x00"  # what fairseq-preprocess wrote until 2019
_OTHER_MAGICS = (_CACHED_MAGIC, b"HUFFIDX\x00")
_INDEX_HEADER = struct.Struct("<9sQBQ")  # magic, version, dtype code, number of sentences
_DTYPES: dict[int, type] = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    8: np.uint16,
    9: np.uint32,
    10: np.uint64,
}


@dataclass(frozen=True)
class DataBin:
    """What ``bertkd prepare`` recorded about one data-bin; open one with :meth:`open`."""

    path: Path
    settings: dict[str, Any]

    def write_settings(self) -> None:
        """Write the settings to the folder."""
        text = json.dumps(self.settings, indent=2, ensure_ascii=False) + "\n"
        (self.path / SETTINGS_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def open(cls, path: str | Path) -> DataBin:
        """Read the settings of the data-bin at ``path``.

        :raises DataError: if they are missing, unreadable or of a later format.
        """
        path = Path(path)
        file = path / SETTINGS_FILE
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(
                f"`{path}` must be a data-bin with {SETTINGS_FILE}, but {file} can't be read "
                f"({error.strerror}). Was it made by `bertkd prepare`?"
            ) from error
        except ValueError as error:
            raise DataError(f"`{file}` must be JSON, but reading it gave: {error}.") from error
        if not isinstance(settings, dict) or settings.get("format") != FORMAT:
            seen = settings.get("format") if isinstance(settings, dict) else settings
            raise DataError(
                f"`{file}` must have format {FORMAT}, but has {seen!r} instead. "
                "Make the data-bin again with this version's `bertkd prepare`."
            )
        if lacking := [key for key in _REQUIRED if key not in settings]:
            raise DataError(
                f"`{file}` must have {', '.join(_REQUIRED)}, but lacks {', '.join(lacking)}. "
                "Make the data-bin again with `bertkd prepare`."
            )
        return cls(path, settings)

    @classmethod
    def of_any_origin(
        cls, path: str | Path, source_lang: str | None = None, target_lang: str | None = None
    ) -> DataBin:
        """Open a data-bin, also one that ``fairseq-preprocess`` alone has made.

        Languages that aren't given are those of the file names, as fairseq takes them.

        :raises DataError: if names leave the languages open, or :meth:`open` does.
        """
        path = Path(path)
        if (path / SETTINGS_FILE).exists() or not binarized_splits(path):
            return cls.open(path)
        if source_lang is None or target_lang is None:
            pairs = sorted({name.rpartition(".")[2] for name in binarized_splits(path)})
            if len(pairs) != 1:
                raise DataError(
                    f"`{path}` must hold one pair of languages if none is named, but holds "
                    f"{', '.join(pairs) or 'none'} instead. Name it with --source-lang and --target-lang."
                )
            source, target = pairs[0].split("-")
            source_lang, target_lang = source_lang or source, target_lang or target
        return cls(path, {"source_lang": source_lang, "target_lang": target_lang})

    @property
    def keeps_tokenizer(self) -> bool:
        """Whether the text was cut with the WordPiece tokenizer of a BERT, which the data-bin keeps."""
        return bool(self.settings.get("tokenizer"))

    @property
    def source_lang(self) -> str:
        """Code of the source language."""
        return str(self.settings["source_lang"])

    @property
    def target_lang(self) -> str:
        """Code of the target language."""
        return str(self.settings["target_lang"])

    @property
    def lowercase(self) -> bool:
        """Whether the text was lowercased."""
        return bool(self.settings["lowercase"])

    @property
    def normalize(self) -> bool:
        """Whether punctuation was normalised before tokenising."""
        return bool(self.settings.get("normalize_punctuation", True))

    @property
    def was_tokenized(self) -> bool:
        """Whether the text came tokenised, so that tokens are left alone and not undone either."""
        return bool(self.settings.get("tokenized", False))

    def words(self, lang: str, *, lowercase: bool = False) -> Words:
        """Return what makes tokens of raw text in ``lang`` as here; ``lowercase`` them even if the data-bin doesn't."""
        lowercase = lowercase or self.lowercase
        if self.was_tokenized:
            return TokenizedText(lowercase=lowercase)
        return MosesText(lang, lowercase=lowercase, normalize=self.normalize)

    @property
    def tokenizer_dir(self) -> Path:
        """Folder with the files of the teacher's tokenizer."""
        return self.path / "tokenizer"

    def checked_tokenizer(self) -> Path:
        """Return the tokenizer's file: the very one that the text was cut with.

        :raises DataError: if it is missing, or its content is another.
        """
        file = self.tokenizer_dir / "tokenizer.json"
        if not file.is_file():
            raise DataError(
                f"`{file}` must be the tokenizer of the data-bin, but is missing. "
                "Copy it from where the data-bin was made, or run `bertkd prepare` again."
            )
        wanted, seen = (self.settings.get("tokenizer") or {}).get("sha256"), hash_file(file)
        if wanted not in (None, seen):
            raise DataError(
                f"`{file}` must be the tokenizer that the text was cut with (sha256 {wanted[:8]}), "
                f"but is another (sha256 {seen[:8]}). Put the original back, or run `bertkd prepare` again."
            )
        return file

    def dictionary(self, lang: str) -> Path:
        """Return the path of the dictionary of ``lang``."""
        return self.path / f"dict.{lang}.txt"

    def prefix(self, split: str, lang: str) -> Path:
        """Return the path of a binarized file of ``split`` in ``lang``, less ``.bin``/``.idx``."""
        return self.path / f"{split}.{self.source_lang}-{self.target_lang}.{lang}"

    def text(self, kind: TextKind, split: str, lang: str) -> Path:
        """Return the path of the text of ``split`` in ``lang``, whether it is there or not."""
        return self.path / kind / f"{split}.{lang}"

    def reference(self, split: str, lang: str) -> Path:
        """Return the file with the raw text of ``split`` in ``lang``.

        :raises DataError: if there is none.
        """
        return self._existing(self.text("references", split, lang))

    def tokenized(self, split: str, lang: str) -> Path:
        """Return the file with the Moses-tokenised text of ``split`` in ``lang``.

        :raises DataError: if there is none.
        """
        return self._existing(self.text("tokenized", split, lang))

    def _existing(self, file: Path) -> Path:
        if not file.is_file():
            have = sorted(f.name for f in file.parent.glob("*")) if file.parent.is_dir() else []
            raise DataError(
                f"`{file}` must be a file, but there is none. "
                f"This data-bin keeps {', '.join(have) or 'nothing'} in {file.parent.name}."
            )
        return file


def data_bin_files(source_lang: str, target_lang: str, splits: Iterable[str]) -> list[str]:
    """Return all that ``bertkd prepare`` may write to a data-bin, by relative path."""
    made = DataBin(Path(), {"source_lang": source_lang, "target_lang": target_lang})
    files = [made.path / name for name in (SETTINGS_FILE, LOG_FILE, *MODEL_FILES.values())]
    files += [made.tokenizer_dir / name for name in TOKENIZER_FILES]
    for lang in (source_lang, target_lang):
        files.append(made.dictionary(lang))
        for split in splits:
            files += [Path(f"{made.prefix(split, lang)}.{end}") for end in ("bin", "idx")]
            files += [made.text(kind, split, lang) for kind in get_args(TextKind)]
    return [file.as_posix() for file in files]


def _own_files(folder: Path) -> list[str] | None:
    settings = read_marker(folder / SETTINGS_FILE)
    splits = settings.get("splits")
    if settings.get("format") != FORMAT or not isinstance(splits, dict):
        return None
    return data_bin_files(settings.get("source_lang", ""), settings.get("target_lang", ""), splits)


DATA_BIN = FolderKind("data-bin", "bertkd prepare", _own_files)


def read_binarized(prefix: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return ``sizes (sentences,)`` and all ``tokens (sum of sizes,)`` of one binarized file.

    :raises DataError: if it isn't in fairseq's mmap format or the two files don't fit each other.
    """
    sizes, dtype = read_index(prefix)
    return sizes, np.fromfile(f"{prefix}.bin", dtype)


def read_index(prefix: Path) -> tuple[np.ndarray, np.dtype[Any]]:
    """Return ``sizes (sentences,)`` and the tokens' type of one binarized file, whose tokens aren't read.

    :raises DataError: if it isn't in fairseq's mmap format or the two files don't fit each other.
    """
    index, data = Path(f"{prefix}.idx"), Path(f"{prefix}.bin")
    try:
        with index.open("rb") as file:
            magic, _, code, count = _INDEX_HEADER.unpack(file.read(_INDEX_HEADER.size))
            if magic != _INDEX_MAGIC:
                raise ValueError(magic)
            sizes = np.frombuffer(file.read(4 * count), np.int32, count)
        dtype = np.dtype(_DTYPES[code])
        with data.open("rb") as file:
            num_tokens = os.fstat(file.fileno()).st_size // dtype.itemsize
    except OSError as error:
        raise DataError(f"`{error.filename}` can't be read: {error.strerror}. {_AGAIN}") from error
    except (KeyError, ValueError, struct.error) as error:
        raise DataError(
            f"`{index}` must be an index of fairseq's mmap format, but is damaged or another kind of file. {_AGAIN}"
        ) from error
    if int(sizes.sum()) != num_tokens:
        raise DataError(
            f"`{data}` must hold the {int(sizes.sum())} tokens of its index, "
            f"but holds {num_tokens} instead. {_AGAIN}"
        )
    return sizes, dtype


def binarized_splits(folder: str | Path) -> list[str]:
    """Return what a folder holds of binarized text, or of raw text for ``--dataset-impl raw``, as ``train.de-en``."""
    pattern = re.compile(r"(.+\.([^.-]+)-([^.-]+))\.(?:[^.]+\.idx|\2|\3)")
    names = (pattern.fullmatch(path.name) for path in Path(folder).glob("*"))
    return sorted({match[1] for match in names if match})


def split_prefix(folder: str | Path, split: str, langs: tuple[str, str]) -> str | None:
    """Return the path of a split's files less ``<lang>.bin``, made for either direction; None if there are none."""
    source, target = langs
    for pair in (f"{source}-{target}", f"{target}-{source}"):
        prefix = os.path.join(folder, f"{split}.{pair}.")
        if any(os.path.exists(f"{prefix}{source}{end}") for end in (".idx", "")):
            return prefix
    return None


def split_files(folder: str | Path, split: str, langs: tuple[str, str]) -> list[str]:
    """Return the files of a split, of either language and in any of fairseq's formats.

    :raises FileNotFoundError: if there are none.
    """
    prefix = split_prefix(folder, split, langs)
    if prefix is None:
        raise FileNotFoundError(f"no {split} split of {langs[0]} and {langs[1]} in {folder}")
    ends = (".bin", ".idx") if os.path.exists(f"{prefix}{langs[0]}.idx") else ("",)
    return [f"{prefix}{lang}{end}" for lang in langs for end in ends]


def readable_format(folder: str | Path, split: str, langs: tuple[str, str]) -> str | None:
    """Return the ``--dataset-impl`` that reads a split, where fairseq doesn't find out by itself; None elsewhere.

    It takes text of the format of 2019 for ``cached``, and ends with a KeyError. Raw text it doesn't look for.
    """
    prefix = split_prefix(folder, split, langs)
    if prefix is None:
        return None
    index = f"{prefix}{langs[0]}.idx"
    if not os.path.exists(index):
        return RAW
    return LAZY if _magic(index) == _CACHED_MAGIC else None


def _magic(index: str) -> bytes:
    with open(index, "rb") as file:
        return file.read(len(_CACHED_MAGIC))


def check_split(folder: str | Path, split: str, langs: tuple[str, str]) -> None:
    """Check that fairseq will find a split's binarized text whole, before it tries to read it.

    :raises DataError: if it is missing, damaged, or of unequal sides.
    """
    prefix = split_prefix(folder, split, langs)
    if prefix is None:
        raise DataError(
            f"`{folder}` must hold a split {split!r} of {langs[0]} and {langs[1]}, "
            f"but holds {', '.join(binarized_splits(folder)) or 'none'} instead."
        )
    index = f"{prefix}{langs[0]}.idx"
    if not os.path.exists(index) or _magic(index) in _OTHER_MAGICS:
        return  # nothing that `bertkd prepare` made: left to fairseq
    first, second = (len(read_index(Path(prefix + lang))[0]) for lang in langs)
    if first != second:
        raise DataError(
            f"`{prefix}*` must have as many sentences in {langs[0]} as in {langs[1]}, "
            f"but has {first} and {second} instead. {_AGAIN}"
        )
