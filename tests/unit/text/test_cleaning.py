"""Which pairs stay: the paper's rules, and characters where a language writes no spaces."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.text.cleaning import CleaningRules
from bertkd_fairseq.text.lines import Sides


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (1, 1, None),
        (0, 3, "empty"),
        (3, 0, "empty"),
        (175, 175, None),
        (176, 170, "too_long"),
        (170, 176, "too_long"),
        (2, 3, None),  # exactly 1.5
        (3, 2, None),
        (2, 4, "ratio"),
        (16, 10, "ratio"),
    ],
)
def test_cleaning_as_in_the_paper(source: int, target: int, reason: str | None) -> None:
    rules = CleaningRules()
    assert rules.reason_to_drop(" ".join("a" * source), " ".join("b" * target)) == reason


def test_shortest_length() -> None:
    assert CleaningRules(min_length=2).reason_to_drop("a", "b b") == "too_short"
    assert CleaningRules(min_length=2).reason_to_drop("a a", "b b") is None


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("a b", "漢" * 20, None),  # no ratio of words to characters
        ("a b", "漢 " * 350, None),
        ("a b", "漢 " * 351, "too_many_characters"),
        ("a " * 175, "漢", None),
        ("a " * 176, "漢" * 351, "too_long"),
        ("a", "\u3000 ", "empty"),
    ],
)
def test_characters_are_counted_where_a_side_has_no_spaces(
    source: str, target: str, reason: str | None
) -> None:
    assert CleaningRules(target_has_spaces=False).reason_to_drop(source, target) == reason
    swapped = CleaningRules(source_has_spaces=False).reason_to_drop(target, source)
    assert swapped == ("too_many_characters" if reason == "too_long" else reason)


def naive(rules: CleaningRules, source: str, target: str) -> str | None:
    """The rules once more, side by side."""
    s = len(source.split()) if rules.source_has_spaces else len(source.replace(" ", ""))
    t = len(target.split()) if rules.target_has_spaces else len(target.replace(" ", ""))
    if s == 0 or t == 0:
        return "empty"
    if s < rules.min_length:
        return "too_short" if rules.source_has_spaces else "too_few_characters"
    if t < rules.min_length:
        return "too_short" if rules.target_has_spaces else "too_few_characters"
    if rules.source_has_spaces and s > rules.max_length:
        return "too_long"
    if not rules.source_has_spaces and s > rules.max_characters:
        return "too_many_characters"
    if rules.target_has_spaces and t > rules.max_length:
        return "too_long"
    if not rules.target_has_spaces and t > rules.max_characters:
        return "too_many_characters"
    if rules.source_has_spaces and rules.target_has_spaces and (s > 1.5 * t or t > 1.5 * s):
        return "ratio"
    return None


LINES = st.lists(
    st.sampled_from(["", "漢", "漢字", "ab c", "a b c d", "a b", "漢 字 b cd e"]), min_size=1
)


@given(source=LINES, target=LINES, spaces=st.tuples(st.booleans(), st.booleans()))
def test_cleaning_against_naive_rules(
    source: list[str], target: list[str], spaces: tuple[bool, bool]
) -> None:
    rules = CleaningRules(2, 3, 1.5, 4, *spaces)
    pairs = list(zip(source, target, strict=False))
    reasons = [naive(rules, *pair) for pair in pairs]
    cleaned = rules.clean(Sides([s for s, _ in pairs], [t for _, t in pairs]))
    assert cleaned.kept == [i for i, reason in enumerate(reasons) if reason is None]
    assert cleaned.dropped == [i for i, reason in enumerate(reasons) if reason is not None]
    assert cleaned.reasons == dict(Counter(reason for reason in reasons if reason))
