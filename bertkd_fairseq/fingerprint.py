"""Hashes of content: equal for a moved or copied file, different for any other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import numpy as np


def hash_files(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Return one sha256 of the bytes of all files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        total.update(digest.digest())
    return total.hexdigest()


def hash_sizes(sizes: np.ndarray) -> str:
    """Return the sha256 of sentence lengths (sentences,), whatever integer type they come in."""
    return hashlib.sha256(np.ascontiguousarray(sizes, dtype="<i8").tobytes()).hexdigest()
