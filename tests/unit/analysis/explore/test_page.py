"""The page's data read back, and what the text holds kept from acting."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.analysis.explore.data import Exploration, Sentence
from bertkd_fairseq.analysis.explore.page import format_page, json_block, page_data
from bertkd_fairseq.analysis.inspect.students import Probabilities
from bertkd_fairseq.topk_store import TopKRows

HOSTILE = "</script><script>top.pwned=1</script><!-- {{data}} \u2028\u2029 \u202e\" ' & \\u003c"


def exploration(symbols: list[str], k: int = 3, seed: int = 1, name: str = "plain") -> Exploration:
    """Return four sentences of random entries; one has no teacher."""
    generator = np.random.default_rng(seed)
    sizes = [3, 1, 4, 2]
    tokens = sum(sizes)
    entries = [generator.permutation(len(symbols))[:k] for _ in range(tokens)]
    logs = -np.sort(generator.exponential(2, (tokens, k)), axis=1)
    logs[0, -1] = -np.inf
    logs[3] = -np.inf
    sentences = [
        Sentence(2 * i, f"{symbols[-1]} source", symbols[-1], size, size, 1, 1, 0.5, [0.25])
        for i, size in enumerate(sizes)
    ]
    return Exploration(
        signature=symbols[-1],
        split="train",
        langs=("de", "en"),
        select="first",
        in_store=9,
        k=k,
        symbols=symbols,
        sentences=sentences,
        gold=generator.integers(0, len(symbols), tokens),
        rows=TopKRows(
            np.stack(entries),
            logs.astype(np.float16),
            -np.ones(tokens, np.float16),
            -2 * np.ones(tokens, np.float16),
        ),
        students={
            name: Probabilities(-generator.exponential(9, (tokens, k)), np.full(tokens, -1e6))
        },
        files={name: "plain.pt"},
    )


class Scripts(HTMLParser):
    """Collects what a browser takes for scripts and styles, and the policy."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inside: str | None = None
        self.texts: dict[str, list[str]] = {}
        self.policy = ""
        self.elements = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements += 1
        if tag in ("script", "style"):
            assert "src" not in found
            self.inside = f"{tag} {found.get('type')}"
            self.texts.setdefault(self.inside, []).append("")
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(found["content"])

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[self.inside][-1] += data


@pytest.mark.parametrize("symbols", [10, 1 << 16, (1 << 16) + 1])
def test_arrays_are_read_back(symbols: int) -> None:
    found = exploration([f"w{i}" for i in range(symbols)])
    data = json.loads(json_block(page_data(found)))

    def numbers(text: str, kind: str) -> np.ndarray:
        return np.frombuffer(base64.b64decode(text), f"<{kind}")

    ids = f"u{data['idBytes']}"
    places = numbers(data["ids"], ids).reshape(-1, found.k)
    names = np.array(found.symbols)
    np.testing.assert_array_equal(np.array(data["symbols"])[places], names[found.rows.ids])
    np.testing.assert_array_equal(
        np.array(data["symbols"])[numbers(data["gold"], ids)], names[found.gold]
    )
    assert set(data["symbols"]) == {*names[found.rows.ids].ravel(), *names[found.gold]}
    np.testing.assert_array_equal(numbers(data["logprobs"], "f2"), found.rows.logprobs.ravel())
    np.testing.assert_array_equal(numbers(data["tail"], "f2"), found.rows.log_tail)
    np.testing.assert_array_equal(numbers(data["goldLogprobs"], "f2"), found.rows.gold_logprob)
    first_format = replace(found, rows=replace(found.rows, gold_logprob=None))
    assert page_data(first_format)["goldLogprobs"] is None
    [student] = data["students"]
    plain = found.students["plain"]
    np.testing.assert_allclose(numbers(student["entries"], "f2"), plain.entries.ravel(), rtol=1e-3)
    assert np.isneginf(numbers(student["gold"], "f2")).all()  # below what float16 holds
    assert data["sentences"][2] == [4, f"{names[-1]} source", names[-1], 4, 4, 1, 1, 0.5, [0.25]]


def test_ids_grow_only_where_they_must() -> None:
    found = exploration([f"w{i}" for i in range(1 << 17)])
    assert page_data(found)["idBytes"] == 2  # a few of many symbols
    k = 1 << 14  # most of them
    assert page_data(exploration(found.symbols, k=k))["idBytes"] == 4


@given(st.text() | st.sampled_from([HOSTILE, "]]>", "<!--", "</SCRIPT", "\u2028"]))
def test_no_string_ends_the_block_of_data(text: str) -> None:
    block = json_block([text])
    assert json.loads(block) == [text]
    assert not re.search("[<>&\u2028\u2029]", block)


@pytest.fixture(scope="module")
def page() -> str:
    return format_page(exploration([*(f"w{i}" for i in range(8)), HOSTILE], name=HOSTILE))


def test_hostile_text_adds_no_element(page: str) -> None:
    plain = format_page(exploration([f"w{i}" for i in range(9)]))
    found, wanted = Scripts(page), Scripts(plain)
    assert found.elements == wanted.elements
    assert {kind: len(texts) for kind, texts in found.texts.items()} == {
        "style None": 1,
        "script application/json": 1,
        "script module": 1,
    }
    [data] = found.texts["script application/json"]
    assert HOSTILE in json.loads(data)["symbols"]
    assert found.texts["script module"] == wanted.texts["script module"]


def test_only_the_pages_own_script_and_style_may_act(page: str) -> None:
    found = Scripts(page)

    def hashed(kind: str) -> str:
        [text] = found.texts[kind]
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert unescape(found.policy).split("; ") == [
        "default-src 'none'",
        f"style-src {hashed('style None')}",
        f"script-src {hashed('script module')}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]


@pytest.mark.parametrize("part", ["style None", "script module"])
def test_nothing_comes_from_elsewhere(page: str, part: str) -> None:
    [text] = Scripts(page).texts[part]
    assert not re.search(r"https?:|//[a-z]+\.|url\(|@import|fetch|XMLHttp|WebSocket|import\(", text)


@pytest.mark.parametrize(
    "way", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
)
def test_script_knows_no_way_to_make_markup_or_code_of_text(page: str, way: str) -> None:
    [script] = Scripts(page).texts["script module"]
    assert way not in script
