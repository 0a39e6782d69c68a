"""The reader of docs/store_format.md, as it stands there, reads what TopKStore reads, with numpy alone."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertkd_fairseq.topk_store import TopKStore
from tests.conftest import CHECKOUT

STORE = CHECKOUT / "tests" / "data" / "before_rooms" / "topk"
PAGE = (CHECKOUT / "docs" / "store_format.md").read_text("utf-8")


@pytest.fixture(scope="module")
def code() -> str:
    mark = f"<!-- run: tests/unit/topk_store/{Path(__file__).name} -->"
    found = re.search(rf"{re.escape(mark)}\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def test_reader_returns_what_the_store_does(code: str) -> None:
    names: dict[str, Any] = {}
    exec(code, names)
    store = TopKStore.open(STORE)
    for sentence in range(len(store)):
        ids, probabilities, outside = names["read"](STORE, sentence)
        wanted_ids, wanted_logprobs = store.sentence(sentence)
        np.testing.assert_array_equal(ids, wanted_ids)
        np.testing.assert_array_equal(np.log(probabilities).astype("f2"), wanted_logprobs)
        np.testing.assert_allclose(probabilities.sum(1) + outside, 1, atol=2e-3)


def test_reader_needs_numpy_alone_and_is_short(code: str) -> None:
    imports = re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)
    assert imports == ["json", "pathlib", "numpy"]
    body = code[code.index("def ") :]
    assert len(body.splitlines()) <= 15
    last = f"{code}\nprint(read({str(STORE)!r}, 0)[0].shape)\nimport sys\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", last], capture_output=True, text=True, check=True)
    assert done.stdout == f"{TopKStore.open(STORE).sentence(0)[0].shape}\nFalse\n"


def test_hash_of_the_dictionary_is_that_of_its_file() -> None:
    digest = hashlib.sha256((STORE / "symbols.txt").read_bytes()).hexdigest()
    assert TopKStore.open(STORE).meta["hashes"]["target_dictionary"] == digest
    assert "sha256 of `symbols.txt`" in PAGE


def test_page_names_every_file_and_every_key() -> None:
    from bertkd_fairseq.topk_store.layout import FILES

    assert [name for name in FILES if f"`{name}`" not in PAGE] == []
    assert [key for key in TopKStore.open(STORE).meta if f"`{key}`" not in PAGE] == []
