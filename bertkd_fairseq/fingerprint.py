"""Hashes of content: equal for a moved or copied file, different for any other."""

from __future__ import annotations

import hashlib
import os
import zlib
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


def pair_checksum(source: np.ndarray, target: np.ndarray) -> int:
    """Return the CRC-32 of one pair's ids (S,) and (L,), whatever integer type they come in."""
    start = zlib.crc32(np.ascontiguousarray(source, dtype="<i8").tobytes(), len(source))
    return zlib.crc32(np.ascontiguousarray(target, dtype="<i8").tobytes(), start)


def hash_sizes(sizes: np.ndarray) -> str:
    """Return the sha256 of sentence lengths (sentences,), whatever integer type they come in."""
    return hashlib.sha256(np.ascontiguousarray(sizes, dtype="<i8").tobytes()).hexdigest()
