"""What a folder of ``bertkd export`` holds: a model of CTranslate2, and what makes symbols of raw text.

::

    DEST/model.bin, config.json, *_vocabulary.json   as CTranslate2 has them
    DEST/bertkd.json                 the data-bin's settings, and what was exported, under ``export``
    DEST/tokenizer/tokenizer.json    or bpe.codes or sentencepiece.model: what cuts the text, from the data-bin
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from bertkd_fairseq.files import FolderKind, read_marker
from bertkd_fairseq.text.data_bin import SETTINGS_FILE, DataBin
from bertkd_fairseq.text.segmentation.learnt import MODEL_FILES

KEY = "export"
MODEL = "model.bin"
_VOCABULARIES = ("shared", "source", "target")
_OF_TRAINING = ("splits", "inputs")
"""What a data-bin's settings say of its text, which doesn't go along."""


def _own_files(folder: Path) -> list[str] | None:
    if not is_export(folder):
        return None
    vocabularies = [f"{name}_vocabulary.json" for name in _VOCABULARIES]
    text = [*MODEL_FILES.values(), "tokenizer/tokenizer.json"]
    return [SETTINGS_FILE, MODEL, "config.json", *vocabularies, *text]


EXPORT = FolderKind("export", "bertkd export", _own_files)


def is_export(folder: Path) -> bool:
    """Tell whether ``bertkd export`` made a folder."""
    return isinstance(read_marker(folder / SETTINGS_FILE).get(KEY), dict)


def write_text_settings(data_bin: DataBin, folder: Path, facts: dict[str, Any]) -> None:
    """Put into ``folder`` what makes symbols of raw text as in ``data_bin``, and ``facts`` about the export."""
    settings = {k: v for k, v in data_bin.settings.items() if k not in _OF_TRAINING}
    DataBin(folder, {**settings, KEY: facts}).write_settings()
    if data_bin.keeps_tokenizer:
        (folder / "tokenizer").mkdir()
        shutil.copy(data_bin.checked_tokenizer(), folder / "tokenizer")
    for name in MODEL_FILES.values():
        if (data_bin.path / name).is_file():
            shutil.copy(data_bin.path / name, folder)
