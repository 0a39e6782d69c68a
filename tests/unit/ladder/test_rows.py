"""What is done and what is missing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bertkd_fairseq.errors import DataError

ARMS = "arms: {b: {}, a: {seeds: [3]}}"
Read = Callable[..., object]


def row(ladder: object, arm: str, seed: int, **more: object) -> dict[str, object]:
    return {"arm": arm, "seed": seed, "settings": ladder.fingerprint(arm), **more}


def test_missing_is_what_has_no_row(rows: ModuleType, ladder: Read) -> None:
    found = ladder(ARMS)

    def missing(*done: dict, **again: str) -> list[str]:
        return [str(student) for student in rows.missing(found, done, **again)]

    assert missing() == ["b.seed1", "b.seed2", "a.seed3"]
    done = [row(found, "b", 2), row(found, "a", 1)]  # a seed that the table no longer has
    assert missing(*done) == ["b.seed1", "a.seed3"]
    done += [row(found, "b", 1), row(found, "a", 3)]
    assert missing(*done) == []
    assert missing(*done, again="b") == ["b.seed1", "b.seed2"]
    assert missing(*done, again="all") == ["b.seed1", "b.seed2", "a.seed3"]


def test_row_of_other_settings_is_told(rows: ModuleType, ladder: Read) -> None:
    found = ladder(ARMS)
    done = [row(found, "b", 1), {**row(found, "b", 2), "settings": "else"}]
    done += [{"arm": "dropped", "seed": 1, "settings": "else"}]
    assert rows.outdated(found, done) == [
        "The results of b were made with other settings than the table has now. "
        "Give the new settings a name of their own, or run `doit again=b`."
    ]
    assert rows.outdated(found, done, "b") == rows.outdated(found, done, "all") == []


def test_teachers_are_kept_beside_the_rows(rows: ModuleType, tmp_path: Path) -> None:
    def keep(teacher: str, accuracy: float) -> list[dict]:
        found = {"accuracy": accuracy, "gold_in_top_k": 90.0, "gold_perplexity": 3.0, "more": 1}
        for split in ("train", "valid"):
            said = {**found, "calibration": {"expected_calibration_error": 2.0, "bins": []}}
            text = json.dumps({"statistics": said})
            (tmp_path / f"{teacher}.{split}.json").write_text(text)
        rows.add_teacher(tmp_path / "small.json", "text", teacher, tmp_path)
        return json.loads((tmp_path / "small_teachers.json").read_text("utf-8"))["teachers"]

    numbers = {"gold_in_top_k": 90.0, "gold_perplexity": 3.0, "calibration_error": 2.0}
    keep("a", 50.0)
    keep("b", 60.0)
    found = keep("a", 70.0)  # in the place of its earlier one
    assert [(each["teacher"], each["valid"]["accuracy"]) for each in found] == [
        ("b", 60),
        ("a", 70),
    ]
    assert found[1]["train"] == {"accuracy": 70.0, **numbers}


def test_rows_are_kept_in_the_order_of_the_table(
    rows: ModuleType, ladder: Read, tmp_path: Path
) -> None:
    found, path = ladder(ARMS), tmp_path / "results" / "rows.json"
    assert rows.read(path) == []
    students = [("a", 3), ("dropped", 1), ("b", 2), ("b", 1)]
    made = [{"arm": a, "seed": s, "settings": "x", "bleu": 1} for a, s in students]

    def add(one: dict) -> None:
        with rows.locked(path):
            rows.add(path, one, found)

    threads = [threading.Thread(target=add, args=(one,)) for one in made]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    add({**made[2], "bleu": 2})
    expected = [made[3], {**made[2], "bleu": 2}, made[0], made[1]]
    assert rows.read(path) == expected
    assert path.read_text("utf-8").splitlines()[1:-1] == [
        json.dumps(one) + ("," if i < 3 else "") for i, one in enumerate(expected)
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": [{"arm": "a"}]}'])
def test_what_holds_no_rows(rows: ModuleType, tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(DataError, match="must be rows of the ladder, but is unreadable"):
        rows.read(path)
