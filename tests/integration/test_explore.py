"""``bertkd explore`` on the miniature, and its page in a real browser, by mouse, keyboard, finger and screen reader."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertkd_fairseq.topk_store import TopKStore
from tests.conftest import BERTKD, run_command
from tests.integration.browser import PHONE, Window
from tests.integration.conftest import DISTILL, STUDENT, train_command
from tests.integration.explored import listed, set_choice, table


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, data_bin: Path, topk: Path) -> Path:
    save_dir = tmp_path_factory.mktemp("student")
    options = ("--teacher-topk", topk, "--max-update", 10, "--save-dir", save_dir)
    run_command(train_command(data_bin, *DISTILL, *STUDENT, *options))
    return save_dir / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def explored(
    tmp_path_factory: pytest.TempPathFactory, data_bin: Path, topk: Path, student: Path
) -> Path:
    """The page of the miniature's store and a student, and beside it the report."""
    page = tmp_path_factory.mktemp("explored") / "explore.html"
    command = [*BERTKD, "explore", topk, "--data-bin", data_bin, "--student", f"plain={student}"]
    command += ["--max-sentences", 200, "--html", page, "--json", page.with_suffix(".json")]
    said = run_command(command).stdout
    size = page.stat().st_size / 1e6
    assert said == f"{page}: 200 of 600 sentences, {size:.1f} MB\n"
    return page


@pytest.fixture(scope="module")
def report(explored: Path) -> list[dict[str, Any]]:
    content = json.loads(explored.with_suffix(".json").read_text("utf-8"))
    assert (content["report"], content["format"]) == ("bertkd explore", 2)
    return content["sentences"]


@pytest.fixture
def window(driver: Any, explored: Path) -> Iterator[Window]:
    found = Window(driver, explored)
    yield found
    assert found.complaints() == []
    assert found.run("return performance.getEntriesByType('resource').map((one) => one.name)") == []


def test_nothing_is_replaced_unasked(explored: Path, data_bin: Path, topk: Path) -> None:
    before = explored.read_bytes()
    command = [*BERTKD, "explore", topk, "--data-bin", data_bin, "--html", explored]
    done = run_command(command, check=False)
    message = f"error: `{explored}` exists already. Use another name, or --force to replace it.\n"
    assert (done.returncode, done.stderr) == (2, message)
    assert explored.read_bytes() == before


def test_every_token_has_the_stores_entries(window: Window, topk: Path) -> None:
    store = TopKStore.open(topk)
    symbols = store.symbols()
    rows = store.sentences(np.array([0]))
    tokens = window.all("#tokens [role=option]")
    assert len(tokens) == store.sizes[0]
    for place, token in enumerate(tokens):
        token.click()
        found = table(window)
        chances = np.exp(rows.logprobs[place].astype(np.float64))
        soft = chances / chances.sum()
        for row, symbol, chance, weight in zip(
            found[:4], rows.ids[place], chances, soft, strict=True
        ):
            assert row[0].split("|")[0] == symbols[symbol]
            assert row[1:3] == [f"{chance:.3f}", f"{weight:.3f}"]
        gold = token.find_element("css selector", ".symbol").text
        assert [row[0] for row in found if row[0].endswith("|reference")] == [f"{gold}|reference"]
        assert found[-1][:3] == ["all others", f"{math.exp(rows.log_tail[place]):.3f}", "–"]
        assert sum(float(row[3]) for row in [*found[:4], found[-1]]) == pytest.approx(1, abs=3e-3)


def test_filters(window: Window, report: list[dict[str, Any]]) -> None:
    keep = {
        "teacher wrong somewhere": lambda s: s["wrong"] > 0,
        "teacher right throughout": lambda s: s["wrong"] == 0,
        "reference outside the top 4": lambda s: s["outside"] > 0,
        "all sentences": lambda s: True,
    }
    for name, is_kept in keep.items():
        set_choice(window, "#filter", name)
        wanted = [s["index"] for s in report if is_kept(s)]
        assert window.text("#count") == f"{len(wanted)} of 200 sentences, the first of 600"
        assert listed(window) == wanted
        if wanted:
            assert window.text("#sentence-title") == f"Sentence {wanted[0]}"


def test_orders(window: Window, report: list[dict[str, Any]]) -> None:
    keys = {
        "teacher wrong most often": lambda s: -s["wrong"] / s["asked"],
        "teacher least sure": lambda s: s["confidence"],
        "farthest from student plain": lambda s: -s["distances"][0],
        "longest target": lambda s: -s["tokens"],
        "shortest target": lambda s: s["tokens"],
        "number in the data": lambda s: s["index"],
    }
    for name, key in keys.items():
        set_choice(window, "#sort", name)
        assert listed(window) == [s["index"] for s in sorted(report, key=key)]


def test_search(window: Window, report: list[dict[str, Any]]) -> None:
    words = [report[7]["target"].split()[0], report[7]["source"].split()[-1]]
    window.one("#search").send_keys(" ".join(words).upper())
    wanted = [
        s["index"] for s in report if all(word in f"{s['source']}\n{s['target']}" for word in words)
    ]
    assert 7 in wanted and listed(window) == wanted
    window.one("#search").send_keys("nowhere-to-be-found")
    assert window.text("#count").startswith("0 of 200 sentences")
    assert listed(window) == []
    window.press("ENTER")  # nothing is sent anywhere
    assert window.text("#count").startswith("0 of 200 sentences")


def test_a_click_opens_a_sentence_and_the_mouse_shows_a_token(window: Window) -> None:
    from selenium.webdriver import ActionChains

    window.all("#list [role=option]")[2].click()
    assert window.text("#sentence-title") == "Sentence 2"
    for token in window.all("#tokens [role=option]")[:3]:
        ActionChains(window.driver, 0).move_to_element(token).perform()
        assert token.get_attribute("aria-selected") == "true"
        assert window.text("#summary").startswith(f"{token.text.splitlines()[0]}: the teacher says")


def test_temperature(window: Window, topk: Path) -> None:
    logs = TopKStore.open(topk).sentence(0)[1][0].astype(np.float64)
    slider = window.one("#temperature")
    window.run("arguments[0].focus()", slider)
    for key, temperature in (("ARROW_RIGHT", 1.5), ("END", 20), ("HOME", 0.5)):
        window.press(key)
        weights = np.exp((logs - logs.max()) / temperature)
        wanted = [f"{weight:.3f}" for weight in weights / weights.sum()]
        assert [row[2] for row in table(window)[:4]] == wanted
        assert window.text("#temperature-value") == f"T = {temperature:g}"
        spoken = slider.get_attribute("aria-valuetext")
        assert spoken.startswith(f"{temperature:g}, ") and spoken.endswith(wanted[0])


def test_by_keyboard_alone(window: Window) -> None:
    order = []
    for _ in range(8):
        window.press("TAB")
        order.append(window.focused.get_attribute("id") or window.focused.get_attribute("role"))
    # One stop for each list, whatever its length; Previous has nothing to do on the first page.
    wanted = ["search", "filter", "sort", "option", "next", "option", "temperature", "entries"]
    assert order == wanted
    window.run("document.querySelector('#list [tabindex=\"0\"]').focus()")
    window.press("ARROW_DOWN", "ARROW_DOWN", "ARROW_UP")
    assert window.text("#sentence-title") == "Sentence 1"
    window.press("PAGE_DOWN")
    assert window.text("#sentence-title") == "Sentence 50"
    window.press("ARROW_UP")  # over the edge of the page
    assert window.text("#sentence-title") == "Sentence 49"
    window.press("HOME", "ENTER", "ARROW_RIGHT", "END", "ARROW_LEFT")
    tokens = window.all("#tokens [role=option]")
    assert window.focused == tokens[-2] and tokens[-2].get_attribute("aria-selected") == "true"
    window.press("ESCAPE")
    assert window.focused == window.one("#list [aria-selected=true]")
    assert window.text("#sentence-title") == "Sentence 0"


def test_focus_can_be_seen(window: Window) -> None:
    for _ in range(8):
        window.press("TAB")
        outline = window.run(
            "const style = getComputedStyle(document.activeElement);"
            "return [style.outlineStyle, parseFloat(style.outlineWidth)]"
        )
        assert outline == ["solid", 3]


def test_a_screen_reader_has_names_and_roles_for_all(window: Window) -> None:
    tree = window.command("Accessibility.getFullAXTree")["nodes"]
    named: dict[str, list[str]] = {}
    for node in tree:
        if not node.get("ignored"):
            role, name = (node.get(key, {}).get("value", "") for key in ("role", "name"))
            named.setdefault(role, []).append(name)
    assert named["searchbox"] == ["Search"]
    assert named["combobox"] == ["Show", "Sort by"]
    assert named["listbox"] == ["Sentences", "Target tokens"]
    assert named["slider"] == ["Temperature of the soft target"]
    assert {"Sentences", "Sentence 0", "Probabilities"} <= set(named["region"])
    assert len(named["heading"]) == 4 and all(named["heading"])
    assert all(named["option"]) and all(named["button"])
    assert [name.strip() for name in named["columnheader"]] == [
        "symbol",
        "teacher",
        "target, T\u00a0=\u00a01",
        "plain",
    ]
    assert len(named["rowheader"]) >= 5
    first = window.one("#tokens [role=option]").get_attribute("aria-label")
    assert re.search(r", \d+ percent, (the teacher's (first|number \d)|outside the top 4)$", first)


def test_only_what_was_asked_for_is_read_out(window: Window) -> None:
    summary = window.one("#summary")
    assert summary.get_attribute("aria-live") == "off"
    window.all("#tokens [role=option]")[1].click()
    assert summary.get_attribute("aria-live") == "polite"
    window.all("#list [role=option]")[3].click()  # the sentence itself is read out
    assert summary.get_attribute("aria-live") == "off"
    assert window.one("#count").get_attribute("role") == "status"
    # Screen readers click without moving the focus.
    window.run("document.querySelectorAll('#list [role=option]')[5].click()")
    assert window.text("#sentence-title") == "Sentence 5"
    window.run("document.querySelectorAll('#tokens [role=option]')[1].click()")
    assert window.all("#tokens [role=option]")[1].get_attribute("aria-selected") == "true"


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2) of what CSS computes."""
    channels = [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
    if not colour.startswith("color("):
        channels = [channel / 255 for channel in channels]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_light_and_dark_can_be_read(window: Window) -> None:
    # Every token of a sentence that has sure and unsure ones, and what stands in the soft colour.
    script = (
        "const seen = document.querySelectorAll('#tokens [role=option], .hint, .facts, dt, caption, body');"
        "return [...seen].map((one) => {"
        "let ground = one; while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') "
        "ground = ground.parentElement;"
        "return [getComputedStyle(one).color, getComputedStyle(ground).backgroundColor]})"
    )
    grounds = {}
    for scheme in ("light", "dark"):
        window.look(scheme=scheme)
        grounds[scheme] = luminance(
            window.run("return getComputedStyle(document.body).backgroundColor")
        )
        for ink, ground in window.run(script):
            high, low = sorted((luminance(ink), luminance(ground)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, ink, ground)
    assert grounds["light"] > 0.9 and grounds["dark"] < 0.05


def test_colour_is_never_alone(window: Window, topk: Path) -> None:
    store = TopKStore.open(topk)
    for token, row in zip(window.all("#tokens [role=option]"), store.sentence(0)[0], strict=True):
        gold, chance = token.text.split("\n")
        first = store.symbols()[row[0]] == gold
        assert ("≠" in chance) is not first
        assert re.fullmatch(r"<?\d+( ≠)?", chance)


def test_a_phone_shows_all_without_scrolling_sideways(window: Window) -> None:
    window.look(PHONE)
    wide = "return document.documentElement.scrollWidth"
    assert window.run(wide) == PHONE[0]
    window.tap(window.all("#list [role=option]")[1])
    assert window.text("#sentence-title") == "Sentence 1"
    top = window.run("return document.getElementById('sentence').getBoundingClientRect().top")
    assert abs(top) < 2  # a tap on the list goes to the sentence
    token = window.all("#tokens [role=option]")[2]
    window.tap(token)
    assert token.get_attribute("aria-selected") == "true"
    assert window.run(wide) == PHONE[0]
    for element in window.all("button, select, input, #tokens [role=option], #list [role=option]"):
        assert element.size["height"] >= 44 and element.size["width"] >= 44  # a finger's
    window.tap(window.one("#to-list"))
    assert window.focused == window.one("#list [aria-selected=true]")
