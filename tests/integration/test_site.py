"""The site as `make docs` builds it: strictly, and without anything from the network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.conftest import CHECKOUT
from tests.pages import PAGES, name_of, site_hooks

pytest.importorskip("material", reason="needs the extra docs")
pytest.importorskip("mkdocstrings", reason="needs the extra docs")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "site"
    argv = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(folder),
    ]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in PAGES:
        uri = site_hooks().place(name_of(page))
        assert (site / uri).with_suffix(".html").exists(), uri


def test_the_notebook_is_a_page_with_its_pictures(site: Path) -> None:
    pictures = dict(site_hooks().pictures())
    assert len(pictures) >= 5
    shown = re.findall(r"<img\b[^>]*\ssrc=\"?([^\s\">]+)", (site / "tour.html").read_text("utf-8"))
    assert [name for name in shown if name in pictures] == list(pictures)
    assert {name: (site / name).read_bytes() for name in pictures} == pictures


def test_nothing_comes_from_the_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\ssrc=\"?([^\s\">]+)", text)
        loaded += re.findall(
            r"<link\b[^>]*rel=\"?(?:stylesheet|icon|preconnect|preload)[^>]*>", text
        )
        assert [each for each in loaded if "//" in each.replace("data:", "")] == [], page


def test_links_between_pages_lead_somewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        for link in re.findall(r"\shref=\"?([^\s\">]+)", page.read_text("utf-8")):
            target = unquote(link.split("#")[0].split("?")[0])
            if target and not re.match(r"\w+:", target):
                assert (page.parent / target).exists(), f"{page.name}: {link}"


def test_tables_behind_a_comment_are_tables(site: Path) -> None:
    assert (site / "results.html").read_text("utf-8").count("<table>") > 10
    assert "|---" not in (site / "results.html").read_text("utf-8")


def test_the_api_has_every_public_name(site: Path) -> None:
    text = (site / "api.html").read_text("utf-8")
    names = re.findall(
        r"^::: (\S+)$", (CHECKOUT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(names) > 20
    assert [name for name in names if f'id="{name}"' not in text] == []


def test_search_works_from_a_folder(site: Path, driver: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get((site / "store_format.html").as_uri())
    driver.execute_script(
        "const box = document.querySelector('.md-search__input'); box.focus(); box.value = 'temperature';"
        "box.dispatchEvent(new Event('keyup')); box.dispatchEvent(new Event('input', {bubbles: true}));"
    )
    titles = (
        "return [...document.querySelectorAll('.md-search-result__link')].map(link => link.href)"
    )
    found = WebDriverWait(driver, 20).until(lambda browser: browser.execute_script(titles))
    assert any("choosing_settings.html" in link for link in found)
    assert all(link.startswith("file://") for link in found)
