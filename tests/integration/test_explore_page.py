"""The page of ``bertkd explore`` with what no miniature has: hostile text, other directions, many sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.analysis.explore.data import Exploration
from tests.integration.browser import PHONE
from tests.integration.explored import listed, opened, set_choice, synthetic, table

HOSTILE = (
    "</script><script>top.pwned = 1</script><img src=x onerror='top.pwned = 2'>\u2028 &amp; \"'`"
)
OVERRIDE = "\u202edeppilf"
HEBREW = "שלום עולם"
MOST_SECONDS = 10.0
"""A bound for a busy machine; docs/explore.md says what was measured."""


def test_hostile_text_is_shown_and_does_nothing(driver: Any, tmp_path: Path) -> None:
    found = synthetic(4, [HOSTILE, OVERRIDE, "\u2028", "\u200b"], tokens=6, k=3)
    found = replace(
        found,
        signature=HOSTILE,
        split=HOSTILE,
        students={HOSTILE: found.students["plain"]},
        files={HOSTILE: HOSTILE},
    )
    window = opened(driver, found, tmp_path)
    for item in range(4):
        window.all("#list [role=option]")[item].click()
        window.run(
            "for (const token of document.querySelectorAll('#tokens [role=option]')) token.focus()"
        )
        assert window.text("#source") == found.sentences[item].source
    assert window.run("return [top.pwned, document.scripts.length, document.images.length]") == [
        None,
        2,
        0,
    ]
    assert window.run(
        "return [...document.querySelectorAll('*')].every((one) => "
        "[...one.attributes].every((attribute) => !attribute.name.startsWith('on')))"
    )
    assert window.text("title") == f"The teacher's view of {HOSTILE}"
    assert HOSTILE in window.text("#entries thead")
    assert window.text("footer").startswith(HOSTILE)
    shown = window.run(
        "return [...document.querySelectorAll('#tokens .symbol')].map((one) => one.textContent)"
    )
    # What can't be seen is named by its code.
    names = [HOSTILE, OVERRIDE, "U+2028", "U+200B"]
    assert shown == [names[symbol] for symbol in found.gold[-6:]]
    assert window.run(
        "return [...document.querySelectorAll('#tokens .symbol, #list .text, #entries .symbol, #summary .symbol')]"
        ".every((one) => getComputedStyle(one).unicodeBidi.includes('isolate'))"
    )
    window.look(PHONE)
    assert window.run("return document.documentElement.scrollWidth") == PHONE[0]
    assert window.complaints() == []


def test_the_policy_refuses_what_the_page_did_not_bring(driver: Any, tmp_path: Path) -> None:
    """So that it would hold if text ever became markup."""
    window = opened(driver, synthetic(1, ["a"], tokens=2, k=1), tmp_path)
    window.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"top.pwned = 1\">');"
        "const script = document.createElement('script'); script.textContent = 'top.pwned = 2';"
        "document.body.append(script);"
    )
    assert window.run("return top.pwned") is None
    assert any("Content Security Policy" in said for said in window.complaints())


def test_right_to_left(driver: Any, tmp_path: Path) -> None:
    found = synthetic(2, HEBREW.split(), tokens=5, k=2)
    window = opened(driver, replace(found, langs=("en", "he")), tmp_path)
    tokens = window.all("#tokens [role=option]")
    assert [window.one(one).get_attribute("lang") for one in ("#source", "#tokens")] == ["en", "he"]
    assert tokens[0].location["x"] > tokens[1].location["x"]
    window.one("#list [role=option]").click()
    window.press("ENTER", "ARROW_LEFT")
    assert window.focused == window.all("#tokens [role=option]")[1]
    window.press("ARROW_RIGHT")
    assert window.focused == window.all("#tokens [role=option]")[0]


def test_tokens_without_a_teacher_say_so(driver: Any, tmp_path: Path) -> None:
    window = opened(driver, synthetic(4, ["a", "b", "c"], tokens=3, k=2), tmp_path)
    set_choice(window, "#sort", "farthest from student plain")
    assert listed(window) == [3, 1, 0, 2]  # nothing known comes last
    set_choice(window, "#filter", "without a teacher")
    assert window.text("#list .facts") == "#2 · wrong 0 of 0 · sure – · plain apart –"
    token = window.one("#tokens [role=option]")
    assert token.text.split("\n")[1] == "–"
    assert token.get_attribute("aria-label").endswith(", the teacher was not asked")
    assert window.text("#summary").endswith(": the teacher was not asked.")
    [row] = table(window)
    assert row[0].endswith("|reference") and row[1:3] == ["–", "–"]


def test_the_legend_has_only_marks_that_can_occur(driver: Any, tmp_path: Path) -> None:
    def shown(found: Exploration) -> dict[str, bool]:
        window = opened(driver, found, tmp_path)
        return {name: window.one(f"#{name}-legend").is_displayed() for name in ("bound", "unasked")}

    some = synthetic(3, ["a"], tokens=2, k=1)  # the third has no teacher
    known = replace(some.rows, gold_logprob=some.rows.log_tail)
    assert shown(some) == {"bound": True, "unasked": True}
    assert shown(replace(some, rows=known)) == {"bound": False, "unasked": True}
    assert shown(synthetic(2, ["a"], tokens=2, k=1)) == {"bound": True, "unasked": False}


def test_numbers_of_half_precision(driver: Any, tmp_path: Path) -> None:
    found = synthetic(1, ["a"], tokens=9, k=1)
    logs = np.array([-0.0, -6e-8, -6e-5, -7e-5, -0.1, -1, -5, -65504, -np.inf], np.float16)
    rows = replace(found.rows, logprobs=logs[:, None], log_tail=logs[::-1].copy())
    window = opened(driver, replace(found, rows=rows), tmp_path)
    shown = []
    for token in window.all("#tokens [role=option]"):
        token.click()
        shown.append([cells[1] for cells in table(window)])
    chances = np.exp(logs.astype(np.float64))
    asked = [[f"{p:.3f}", f"{rest:.3f}"] for p, rest in zip(chances, chances[::-1], strict=True)]
    # -65504 is no probability either, and says as -inf does that the teacher wasn't asked.
    assert shown == [*asked[:7], ["–"], ["–"]]


def test_a_thousand_sentences_are_there_soon(driver: Any, tmp_path: Path) -> None:
    window = opened(driver, synthetic(1000, [f"word{i}" for i in range(8000)]), tmp_path)
    marks = "return performance.getEntriesByName('first-render').map((mark) => mark.startTime)"
    while not (found := window.run(marks)):
        pass
    size = (tmp_path / "page.html").stat().st_size / 1e6
    assert found[0] / 1000 < MOST_SECONDS and size < 3
    assert len(window.all("#list [role=option]")) == 50  # what isn't seen isn't made
    took = window.run(
        "const before = performance.now(); const sort = document.getElementById('sort');"
        "sort.selectedIndex = 2; sort.dispatchEvent(new Event('change'));"
        "document.body.getBoundingClientRect(); return performance.now() - before"
    )
    assert took / 1000 < MOST_SECONDS
    print(f"first render {found[0]:.0f} ms, sorted {took:.0f} ms, {size:.1f} MB")


def test_more_symbols_than_two_bytes_count(driver: Any, tmp_path: Path) -> None:
    found = synthetic(30_000, [f"w{i}" for i in range(1 << 18)], tokens=1, k=2)
    window = opened(driver, found, tmp_path)
    assert window.run("return JSON.parse(document.getElementById('data').textContent).idBytes") == 4
    window.one("#search").send_keys(found.sentences[-1].target)
    row = found.rows.ids[-1]
    assert [cells[0] for cells in table(window)[:2]] == [f"w{symbol}" for symbol in row]
