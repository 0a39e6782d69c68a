"""Load fast tokenizers of pretrained models from a folder or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bertkd_fairseq.errors import DataError, must_be, raise_all
from bertkd_fairseq.hub import announce, loading_problem, name_problems

_EITHER_FILE = ("tokenizer.json", "vocab.txt")


def load_fast_tokenizer(name: str, option: str = "tokenizer") -> Any:
    """Return the fast tokenizer in folder ``name``, or of that name on the hub.

    ``option``: the name of the setting in messages.

    :raises DataError: if there is none, or if it isn't a fast one.
    """
    folder = Path(name)
    raise_all(name_problems(option, name), DataError)
    if folder.is_dir() and not any((folder / file).is_file() for file in _EITHER_FILE):
        wanted = f"a folder with {' or '.join(_EITHER_FILE)}"
        raise DataError(must_be(option, wanted, f"{name}, which has neither,"))
    announce(name)
    from bertkd_fairseq.compat import hide_broken_torchaudio  # loads torch

    hide_broken_torchaudio()
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True, trust_remote_code=False)
    except Exception as error:  # OSError, ValueError, and any error of a custom class
        files = " or ".join(_EITHER_FILE)
        raise DataError(loading_problem(option, name, files, error)) from error
    if not getattr(tokenizer, "is_fast", False):
        raise DataError(
            must_be(option, "a fast tokenizer (tokenizer.json)", type(tokenizer).__name__)
        )
    return tokenizer
