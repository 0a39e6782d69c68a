"""The notebook ``examples/tour.ipynb``: what is kept of it, and a run in a kernel of its own."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT
from tests.integration.tour import NOTEBOOK, execute, read
from tests.pages import site_hooks

pytest.importorskip("nbclient")

_RESULTS = """
import json

results = {
    "pairs": [facts.kept for facts in prepared.facts.splits.values()],
    "target_tokens": prepared.facts.splits["train"].symbols["tgt"],
    "damaged": store.verify(),
    "shape": [len(store), store.k, store.summary().tokens],
    "probabilities": np.exp(store.sentence(0)[1].astype(float)).sum(1).tolist(),
    "teacher": statistics.accuracy,
    "updates": [point.update for point in curve(read_log(room / "plain.log"), "valid", "bleu")],
    "translations": translations,
    "bleu": {name: metrics["bleu"].score for name, metrics in scores.items()},
    "confidence": {name: means.confidence for name, means in agreement.items()},
    "left": sorted(path.name for path in room.iterdir()),
}
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def kept() -> Any:
    return read()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tour")


@pytest.fixture(scope="module")
def run(kept: Any, room: Path) -> Any:
    """The notebook as a run leaves it; the last but one of its code cells is ours and prints what was computed."""
    import nbformat

    longer = read()
    last = longer.cells.index(code_cells(longer)[-1])
    longer.cells.insert(last, nbformat.v4.new_code_cell(_RESULTS))
    return execute(longer, room)


@pytest.fixture(scope="module")
def results(run: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(code_cells(run)[-2].outputs[0].text)
    return found


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: Any) -> list[list[str]]:
    """Return, for each output of a cell, its type and the forms in which it is there."""
    return [[output.output_type, *sorted(output.get("data", {}))] for output in cell.outputs]


def test_it_is_a_valid_notebook(kept: Any) -> None:
    import nbformat

    nbformat.validate(kept)
    assert kept.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert [dict(cell.metadata) for cell in kept.cells if cell.metadata] == []


def test_the_kept_cells_were_run_in_order(kept: Any) -> None:
    cells = code_cells(kept)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_the_kept_outputs_are_small_and_the_same_on_every_machine(kept: Any) -> None:
    assert NOTEBOOK.stat().st_size < 500_000
    texts = [
        output.text for cell in code_cells(kept) for output in cell.outputs if "text" in output
    ]
    assert len(texts) >= 8
    for text in texts:
        assert not re.search(
            r"(^|[\s'\"=:])/\w|tour-|\b(seconds|minutes|it/s)\b|\d\d:\d\d", text
        ), text


def test_pictures_are_pngs(kept: Any) -> None:
    pictures = [
        output.data["image/png"]
        for cell in code_cells(kept)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 5
    assert all(base64.b64decode(each).startswith(b"\x89PNG") for each in pictures)


def test_links_lead_somewhere(kept: Any) -> None:
    text = "\n".join(cell.source for cell in kept.cells if cell.cell_type == "markdown")
    links = [target for _, _, target, _ in site_hooks().LINK.findall(text)]
    assert len(links) >= 5
    assert [link for link in links if not (CHECKOUT / "examples" / link).is_file()] == []


def test_no_cell_starts_a_shell(kept: Any) -> None:
    code = "\n".join(cell.source for cell in code_cells(kept))
    assert (
        re.findall(r"^\s*[!%]|subprocess|os\.system|bertkd_fairseq\.cli", code, re.MULTILINE) == []
    )


def test_a_run_shows_what_the_kept_one_shows(kept: Any, run: Any) -> None:
    *cells, _, last = code_cells(run)
    cells.append(last)
    assert [cell.source for cell in cells] == [cell.source for cell in code_cells(kept)]
    assert [kinds(cell) for cell in cells] == [kinds(cell) for cell in code_cells(kept)]
    streams = [
        o.name for cell in code_cells(run) for o in cell.outputs if o.output_type == "stream"
    ]
    assert set(streams) == {"stdout"}


def test_store_and_teacher(results: dict[str, Any]) -> None:
    sentences, k, tokens = results["shape"]
    assert results["pairs"] == [sentences, 100, 200]
    assert tokens == results["target_tokens"] + sentences > 5 * sentences  # each has an EOS
    assert (k, results["damaged"]) == (8, [])
    assert all(0 < total <= 1.01 for total in results["probabilities"])
    assert results["teacher"] > 20  # percent; of some 340 symbols


def test_students(results: dict[str, Any]) -> None:
    plain, distilled = results["translations"].values()
    assert len(plain) == len(distilled) == 200
    assert plain != distilled
    assert len(results["updates"]) == 5
    assert all(bleu > 5 for bleu in results["bleu"].values())
    # Soft targets make a student less sure: here that is the sign that it has learnt from them.
    assert results["confidence"]["distilled"] < results["confidence"]["plain"] - 2


def test_nothing_is_left(run: Any, results: dict[str, Any], room: Path) -> None:
    assert {"data-bin", "topk", "teacher", "plain", "distilled"} <= set(results["left"])
    assert list((room / "notebook").iterdir()) == []
    # torch makes an empty folder of its own when parts of it are imported.
    own = [path for path in (room / "temporary").rglob("*") if not _is_empty_folder_of_torch(path)]
    assert own == []


def _is_empty_folder_of_torch(path: Path) -> bool:
    return path.name.startswith("torchinductor_") and path.is_dir() and not any(path.iterdir())
