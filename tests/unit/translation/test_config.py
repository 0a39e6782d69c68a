"""Settings of ``bertkd translate`` and ``bertkd export``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertkd_fairseq.translation.config import ExportConfig, TranslateConfig
from bertkd_fairseq.translation.exported import is_export
from tests.conftest import USER_DIR


def exported(folder: Path) -> Path:
    """Make what looks like a folder of ``bertkd export``."""
    folder.mkdir()
    (folder / "bertkd.json").write_text(json.dumps({"format": 1, "export": {}}))
    (folder / "model.bin").touch()
    return folder


def test_the_search_is_that_of_the_options_for_generate() -> None:
    words = (USER_DIR / "options" / "generate.txt").read_text("utf-8").split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    config = TranslateConfig(path=Path("x"))
    for name in ("lenpen", "max_len_a", "max_len_b"):
        assert getattr(config, name) == float(given[f"--{name.replace('_', '-')}"])
    assert config.beam == 5


@pytest.mark.parametrize(
    ("num_source", "positions", "longest"), [(1, 1024, 11), (5, 1024, 16), (9, 12, 11)]
)
def test_longest_translation(num_source: int, positions: int, longest: int) -> None:
    """fairseq: ``min(int(a * source + b), positions - 1)``, which is 1.2 * 5 + 10 for 5 symbols."""
    assert TranslateConfig(path=Path("x")).longest(num_source, positions) == longest


def test_the_engine_goes_by_what_path_is(tmp_path: Path) -> None:
    folder = exported(tmp_path / "export")
    assert is_export(folder)
    assert TranslateConfig(path=folder).chosen_engine == "ctranslate2"
    assert TranslateConfig(path=tmp_path / "student.pt").chosen_engine == "fairseq"
    assert TranslateConfig(path=folder).problems() == []


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    config = TranslateConfig(path=tmp_path / "x.pt", beam=0, engine="marian", max_tokens=0)
    assert config.problems() == [
        "`TranslateConfig.engine` must be one of fairseq, ctranslate2, but is 'marian' instead.",
        "`TranslateConfig.beam` must be at least 1, but is 0 instead.",
        "`TranslateConfig.max_tokens` must be at least 1, but is 0 instead.",
        "`TranslateConfig.data_bin` must be given with a checkpoint: it knows the symbols.",
    ]
    folder = exported(tmp_path / "export")
    assert TranslateConfig(path=folder, engine="fairseq").problems() == [
        f"`TranslateConfig.path` must be a checkpoint, but is the export {folder} instead. "
        "fairseq needs the checkpoint that was exported."
    ]


def test_only_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    folder = exported(tmp_path / "export")
    how = {"path": tmp_path / "x.pt", "data_bin": tmp_path, "destdir": folder}
    assert ExportConfig(**how, force=True).problems() == []
    assert ExportConfig(**how).problems() == [
        f"`ExportConfig.destdir` holds a complete export: {folder}. Use ExportConfig.force to replace it."
    ]
    (folder / "notes.txt").touch()
    assert ExportConfig(**how, force=True).problems() == [
        f"`{folder}` holds notes.txt, which `bertkd export` didn't write. Nothing was removed: "
        "move notes.txt away, or choose another folder."
    ]
