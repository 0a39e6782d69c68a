"""Symbols to text as fairseq does it. Raw text to symbols: tests/integration/test_prepare_subwords.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fairseq.data.data_utils import post_process
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.raw import POST_PROCESS, RawText

lines = st.lists(st.text("ab@▁ "), max_size=8).map(" ".join)


@given(lines)
def test_undoing_is_fairseqs(line: str) -> None:
    assert POST_PROCESS["bpe"](line) == post_process(line, "subword_nmt")
    assert POST_PROCESS["sentencepiece"](line) == post_process(line, "sentencepiece")


@pytest.mark.parametrize(
    ("scheme", "name"), [("bpe", "bpe.codes"), ("sentencepiece", "sentencepiece.model")]
)
def test_a_lost_subword_model_is_named(scheme: str, name: str, tmp_path: Path) -> None:
    settings = {"source_lang": "de", "target_lang": "en", "lowercase": False, "subword": scheme}
    message = (
        f"`{tmp_path / name}` must be the subword model of the data-bin, but is missing. "
        "Copy it from where the data-bin was made."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        RawText(DataBin(tmp_path, settings))
