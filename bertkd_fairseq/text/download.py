"""Download one file, whole or not at all."""

from __future__ import annotations

import http.client
import logging
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.files import DISK_ERRORS, whole_file, writing

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 60


def download(url: str, path: Path, *, check: Callable[[Path], object]) -> None:
    """Fetch ``url`` to ``path``, which appears only after ``check`` has read all of it.

    :raises DataError: if the address fails or gives fewer bytes than it said.
    :raises OutputError: if ``path`` can't be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    log.info("downloading %s", url)
    with whole_file(path) as partial:
        _fetch(url, path, partial)
        check(partial)


def _fetch(url: str, path: Path, partial: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
            length = response.headers.get("Content-Length")
            wanted = None if length is None else int(length)
            with partial.open("wb") as file:
                shutil.copyfileobj(response, file)
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        raise DataError(
            f"`{url}` must be an address that can be downloaded, but gave: {error}. "
            f"Download the file from elsewhere and put it at {path}."
        ) from None
    seen = partial.stat().st_size
    if wanted not in (None, seen):
        raise DataError(f"`{url}` must give {wanted:,} bytes, but gave {seen:,} instead.")
