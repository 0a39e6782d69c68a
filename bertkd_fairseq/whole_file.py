"""Files that are either all there or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a name beside ``path`` to write to; the file gets its own name when the context ends well."""
    partial = Path(f"{os.fspath(path)}.partial")
    yield partial
    partial.rename(path)
