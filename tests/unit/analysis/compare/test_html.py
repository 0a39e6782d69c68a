"""The HTML report: whole by itself, well-formed, and what others wrote stays text."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bertkd_fairseq.analysis.compare.comparison import Texts, compare_systems
from bertkd_fairseq.analysis.compare.html import format_html
from bertkd_fairseq.analysis.compare.scoring import Trials
from bertkd_fairseq.analysis.compare.target import Target
from bertkd_fairseq.analysis.compare.translations import Run, System

EVIL = "</dd><script>alert(\"1\")</script> & 'x' $a$ שלום"
NAME = 'a"><img src=x onerror=alert(2)>$'
REFERENCE = ["one two three four five", f"{EVIL} one two three", "six seven eight"]
PLAIN = ["one two three", "one two", "six seven"]
OTHER = ["one two three four", f"{EVIL} one two", ""]
ENGLISH = Target("en", "13a")
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects elements, attributes and text, and fails where tags don't nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    systems = [
        System("plain", [Run(Path("<p>.out"), "text", PLAIN, PLAIN)]),
        System(NAME, [Run(Path(f"{i}.out"), "text", OTHER, OTHER) for i in range(2)]),
    ]
    texts = Texts(REFERENCE, REFERENCE, source=[EVIL, "b", "c"])
    comparison = compare_systems(
        systems, texts, lowercase=False, trials=Trials(9, 9), target=ENGLISH
    )
    return format_html(comparison, "data & <ref>.en", systems)


def test_what_others_wrote_stays_text(text: str) -> None:
    page = Page(text)
    assert page.all("script") == []
    assert all(set(image) == {"src", "alt"} for image in page.all("img"))
    assert not any(key.startswith("on") for _, attrs in page.elements for key in attrs)
    assert page.words.count(EVIL) == 1  # as a source
    assert page.words.count(f"{EVIL} one two") == 2  # as a translation, by each run
    assert {f"{EVIL} one two three", "<p>.out", "data & <ref>.en", f"{NAME} 2"} <= set(page.words)
    columns = {cell.get("data-column") for cell in page.all("td")}
    assert {NAME, f"{NAME} - plain"} <= columns


def test_empty_translation_is_said_to_be_so(text: str) -> None:
    assert '<dd dir="auto"><i>(empty)</i></dd>' in text


def test_page_needs_nothing_else(text: str) -> None:
    page = Page(text)
    for tag in ("link", "script", "iframe", "object", "video"):
        assert page.all(tag) == []
    sources = [image["src"] for image in page.all("img")]
    assert len(sources) == 4 and all(s and s.startswith("data:image/svg+xml;") for s in sources)
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style and "@import" not in style
    assert "http" not in re.sub(r'"data:[^"]*"', "", text)  # base64 may spell anything


def test_page_is_made_for_phones_paper_and_readers_of_the_screen(text: str) -> None:
    page = Page(text)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    assert "@media print" in text and "@media screen and (max-width" in text
    assert page.all("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in page.all("img"))
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == 5


def test_plots_are_whole_pictures_without_ids_of_the_page(text: str) -> None:
    for image in Page(text).all("img"):
        data = str(image["src"]).partition("base64,")[2]
        root = ElementTree.fromstring(base64.b64decode(data))
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("viewBox")
    ids = [attributes["id"] for _, attributes in Page(text).elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_single_system_has_scores_but_no_differences() -> None:
    systems = [System("plain", [Run(Path("x"), "text", PLAIN, PLAIN)])]
    comparison = compare_systems(
        systems, Texts(REFERENCE, REFERENCE), lowercase=False, trials=Trials(9, 9), target=ENGLISH
    )
    page = Page(format_html(comparison, "ref", systems))
    assert [image["alt"] for image in page.all("img")] == [
        "BLEU",
        "BLEU by length of the reference",
        "Repeated n-grams",
    ]
    assert "Against the first system" not in page.words
