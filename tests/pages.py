"""The pages of the docs, their links, headings and blocks of code."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tests.conftest import CHECKOUT

PAGES = sorted(
    [
        *CHECKOUT.glob("*.md"),
        *(CHECKOUT / "docs").glob("*.md"),
        *(CHECKOUT / "examples").glob("*/README.md"),
    ]
)
NOTEBOOKS = sorted((CHECKOUT / "examples").glob("*.ipynb"))
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of code: of which page, in which language."""

    page: str
    language: str
    code: str


def name_of(page: Path) -> str:
    """Return a page's path in the repository."""
    return page.relative_to(CHECKOUT).as_posix()


def blocks(language: str) -> list[Block]:
    """Return every block of a language, of all pages."""
    return [
        Block(name_of(page), language, found[2])
        for page in PAGES
        for found in _FENCED.finditer(page.read_text("utf-8"))
        if found[1] == language
    ]


def without_code(text: str) -> str:
    """Return a page's text without its fenced blocks."""
    return _FENCED.sub("", text)


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the site and code hosts make them."""
    counts: Counter[str] = Counter()
    anchors = set()
    for heading in _HEADING.findall(without_code(page.read_text("utf-8"))):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        anchors.add(f"{slug}_{counts[slug]}" if counts[slug] else slug)
        counts[slug] += 1
    return anchors


def site_hooks() -> ModuleType:
    """Return docs/hooks.py, which MkDocs loads by its path."""
    path = CHECKOUT / "docs" / "hooks.py"
    spec = importlib.util.spec_from_file_location("hooks", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield file and heading of every link of a page into the repository; either may be empty."""
    for _, _, target, heading in site_hooks().LINK.findall(without_code(page.read_text("utf-8"))):
        if ":" not in target and (target or heading):
            yield target, heading.removeprefix("#")
