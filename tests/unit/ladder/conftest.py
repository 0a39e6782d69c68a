"""The modules of examples/multi30k_deen/ladder, which is no package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import CHECKOUT

LADDER = CHECKOUT / "examples" / "multi30k_deen" / "ladder"
SETTINGS = (
    "settings: {UPDATES: 20, AVERAGE: 2, VALIDATE_EVERY: 5}\nseeds: [1, 2]\ncorpora: {text: {}}\n"
)


@pytest.fixture
def arms(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(LADDER))
    return importlib.import_module("arms")


@pytest.fixture
def rows(arms: ModuleType) -> ModuleType:
    return importlib.import_module("rows")


@pytest.fixture
def table(arms: ModuleType) -> ModuleType:
    return importlib.import_module("table")


@pytest.fixture
def ladder(table: ModuleType, tmp_path: Path) -> Callable[..., object]:
    """A function from YAML, after the settings that every table needs, to the ladder."""

    def read(text: str, before: str = SETTINGS) -> object:
        path = tmp_path / "table.yaml"
        path.write_text(before + text, "utf-8")
        return table.read(path)

    return read
