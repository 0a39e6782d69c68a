"""Hashes of content: equal for a moved or copied file, different for any other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import numpy as np


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of the bytes of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def hash_files(paths: Iterable[str | os.PathLike[str]]) -> str:
    """Return one sha256 of the bytes of all files, in the order given."""
    return hashlib.sha256("".join(map(hash_file, paths)).encode()).hexdigest()


def hash_sizes(sizes: np.ndarray) -> str:
    """Return the sha256 of sentence lengths (sentences,), whatever integer type they come in."""
    return hashlib.sha256(np.ascontiguousarray(sizes, dtype="<i8").tobytes()).hexdigest()
