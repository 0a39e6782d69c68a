"""Pretrained BERTs and tokenizers by folder or by their name on the Hugging Face hub."""

from __future__ import annotations

import logging
from pathlib import Path

from bertkd_fairseq.errors import must_be

log = logging.getLogger(__name__)


def name_problems(option: str, name: str | None) -> list[str]:
    """Return why ``name`` can be neither a folder nor a hub name."""
    folder = Path(name or "")
    if name is None:
        seen = "missing"
    elif folder.is_file():
        seen = f"the file {name}"
    elif not folder.is_dir() and (folder.is_absolute() or name.startswith(".")):
        seen = f"{name}, which is no folder,"
    else:
        return []
    return [must_be(option, "a folder or a hub name", seen)]


def announce(name: str) -> None:
    """Say that ``name`` is looked for on the hub, unless it is a folder: without a network that takes a while."""
    if not Path(name).is_dir():
        log.info("looking for %s on the model hub and in its cache", name)
        # Each try is logged twice otherwise.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def loading_problem(option: str, name: str, files: str, error: Exception) -> str:
    """Return why what ``name`` stands for, a folder with ``files``, couldn't be loaded."""
    reason = str(error).strip().partition("\n")[0].rstrip(".:")
    if Path(name).is_dir():
        return (
            f"`{option}` must be a folder with {files}, but {name} can't be loaded: {reason}. "
            "Download or copy it again."
        )
    return (
        f"`{option}` must be a folder with {files}, or a hub name that this machine can reach, "
        f"but {name} can't be loaded: {reason}. Without network, name the folder of a downloaded BERT."
    )
