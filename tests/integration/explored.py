"""What the page of ``bertkd explore`` shows, and pages of generated sentences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.analysis.explore.data import Exploration, Sentence
from bertkd_fairseq.analysis.explore.page import format_page
from bertkd_fairseq.analysis.inspect.students import Probabilities
from bertkd_fairseq.topk_store import TopKRows
from tests.integration.browser import Window


def table(window: Window) -> list[list[str]]:
    """Return the rows of the table, their marks after a bar."""
    return window.run(
        "return [...document.querySelectorAll('#entries tbody tr')].map((row) => [...row.children].map("
        "(cell) => [...cell.childNodes].map((node) => node.textContent).filter(Boolean).join('|')))"
    )


def listed(window: Window) -> list[int]:
    """Return the numbers of the sentences that the list shows, on all pages."""
    found: list[int] = []
    while True:
        facts = window.run(
            "return [...document.querySelectorAll('#list .facts')].map((one) => one.textContent)"
        )
        found += [int(re.match(r"#(\d+) ", text)[1]) for text in facts]  # type: ignore[index]
        if not window.one("#next").is_enabled():
            return found
        window.one("#next").click()


def set_choice(window: Window, control: str, text: str) -> None:
    """Choose in a ``<select>``."""
    from selenium.webdriver.support.select import Select

    Select(window.one(control)).select_by_visible_text(text)


def synthetic(num_sentences: int, symbols: list[str], tokens: int = 25, k: int = 8) -> Exploration:
    """Return sentences of random symbols; the third has no teacher."""
    generator = np.random.default_rng(1)
    total = num_sentences * tokens
    gold = generator.integers(0, len(symbols), total)
    logprobs = np.log(generator.dirichlet(np.full(k + 1, 0.3), total))
    logprobs = -np.sort(-logprobs, axis=1)
    logprobs[2 * tokens : 3 * tokens, :k] = -np.inf
    ids = generator.integers(0, len(symbols), (total, k))
    sentences = [
        Sentence(
            index=i,
            source=" ".join(symbols[s] for s in reversed(gold[tokens * i : tokens * (i + 1)])),
            target=" ".join(symbols[s] for s in gold[tokens * i : tokens * (i + 1)]),
            tokens=tokens,
            asked=0 if i == 2 else tokens,
            wrong=0 if i == 2 else 1,
            outside=0,
            confidence=None if i == 2 else 0.5,
            distances=[None if i == 2 else i / num_sentences],
        )
        for i in range(num_sentences)
    ]
    return Exploration(
        signature="synthetic",
        split="train",
        langs=("de", "en"),
        select="first",
        in_store=num_sentences,
        k=k,
        symbols=symbols,
        sentences=sentences,
        gold=gold,
        rows=TopKRows(ids, logprobs[:, :k].astype(np.float16), logprobs[:, k].astype(np.float16)),
        students={"plain": Probabilities(logprobs[:, :k], logprobs[:, 0])},
        files={"plain": "plain.pt"},
    )


def opened(driver: Any, found: Exploration, folder: Path) -> Window:
    """Return a window with the page, a file in ``folder``."""
    page = folder / "page.html"
    page.write_text(format_page(found), "utf-8")
    return Window(driver, page)
