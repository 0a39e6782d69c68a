"""Write the data-bin of a selection. One split or one part beside it is new, and all the rest is a copy."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertkd_fairseq.files import new_folder
from bertkd_fairseq.selection.config import SELECTED, SELECTION
from bertkd_fairseq.selection.sentences import Ids
from bertkd_fairseq.text.data_bin import (
    SETTINGS_FILE,
    DataBin,
    binarized_splits,
    data_bin_files,
    read_index,
)


@dataclass(frozen=True)
class NewSplit:
    """A split to write: its name, and the sentences of each language as ids without EOS."""

    name: str
    sentences: Mapping[str, Sequence[Ids]]


def splits_of(data_bin: DataBin) -> list[str]:
    """Return the splits of a data-bin: those that were prepared, and parts that were added later."""
    pair = f"{data_bin.source_lang}-{data_bin.target_lang}"
    found = (name.rpartition(".") for name in binarized_splits(data_bin.path))
    there = (name for name, _, langs in found if langs == pair)
    return list(dict.fromkeys([*data_bin.settings.get("splits", {}), *there]))


def next_part(split: str, there: Iterable[str]) -> str:
    """Return the name of the next part of ``split``, as fairseq-train counts parts: train1, train2, ..."""
    base, taken = re.sub(r"\d+$", "", split), {*there}
    return next(name for k in itertools.count(1) if (name := f"{base}{k}") not in taken)


def write_selection(
    data_bin: DataBin, split: str, new: NewSplit, dest: Path, facts: Mapping[str, Any], force: bool
) -> None:
    """Write the data-bin with the split ``new``. Its ids get the integer type of those of ``split``.

    :raises OutputError: if it can't be written.
    """
    langs = (data_bin.source_lang, data_bin.target_lang)
    splits = splits_of(data_bin)
    left_out = {*_files(langs, [new.name])} - {*_files(langs, [])} | {SETTINGS_FILE}
    count = len(new.sentences[langs[0]])
    with new_folder(dest, SELECTED, force=force) as folder:
        made = DataBin(folder, data_bin.settings)
        for name in _files(langs, splits):
            if name not in left_out and (data_bin.path / name).is_file():
                (folder / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(data_bin.path / name, folder / name)
        for lang in langs:
            _, dtype = read_index(data_bin.prefix(split, lang))
            _write_side(
                made.prefix(new.name, lang), new.sentences[lang], dtype, made.dictionary(lang)
            )
        known = data_bin.settings.get("splits", {})
        settings = {
            **data_bin.settings,
            "splits": {name: known.get(name, {}) for name in splits} | {new.name: {"kept": count}},
            SELECTION: facts,
        }
        DataBin(folder, settings).write_settings()


def _files(langs: tuple[str, str], splits: Iterable[str]) -> list[str]:
    return data_bin_files(*langs, splits)


def _write_side(prefix: Path, sentences: Sequence[Ids], dtype: Any, dictionary: Path) -> None:
    import torch
    from fairseq.data import Dictionary
    from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

    eos = Dictionary.load(str(dictionary)).eos()
    builder = MMapIndexedDatasetBuilder(f"{prefix}.bin", dtype.type)
    for ids in sentences:
        builder.add_item(torch.tensor([*ids, eos], dtype=torch.int64))
    builder.finalize(f"{prefix}.idx")
