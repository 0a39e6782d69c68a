"""Download one file, whole or not at all."""

from __future__ import annotations

import http.client
import logging
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bertkd_fairseq.errors import DataError

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 60


def download(url: str, path: Path, *, check: Callable[[Path], object]) -> None:
    """Fetch ``url`` to ``path``, which appears only after ``check`` has read all of it.

    :raises DataError: if the address fails or gives fewer bytes than it said.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    log.info("downloading %s", url)
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
            wanted = response.headers.get("Content-Length")
            with partial.open("wb") as file:
                shutil.copyfileobj(response, file)
        seen = partial.stat().st_size
        if wanted is not None and seen != int(wanted):
            raise DataError(f"`{url}` must give {int(wanted):,} bytes, but gave {seen:,} instead.")
        check(partial)
        partial.rename(path)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(
            f"`{url}` must be an address that can be downloaded, but gave: {error}. "
            f"Download the file from elsewhere and put it at {path}."
        ) from None
    finally:
        partial.unlink(missing_ok=True)
