"""Lines of text in files: UTF-8, cut where every tool cuts them."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

from bertkd_fairseq.errors import DataError


class Sides(NamedTuple):
    """A parallel text: line i of one side is the translation of line i of the other."""

    source: list[str]
    target: list[str]


def read_lines(path: str | Path) -> list[str]:
    r"""Return the lines of a UTF-8 file, plain or ``.gz``: cut at ``\n`` only, final ``\r`` off.

    ``str.splitlines`` would also cut at U+2028, U+0085 and the like, and shift all lines after it.

    :raises DataError: naming file and line if it isn't there, isn't UTF-8 or is damaged.
    """
    path = Path(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"`{path}` must be readable text, but reading it gave: {reason}.") from None
    return decode_lines(data, str(path))


def decode_lines(data: bytes, name: str) -> list[str]:
    """Return the lines of UTF-8 ``data`` as :func:`read_lines` does; ``name`` it in errors."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The position counts from after a byte order mark.
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = data.count(b"\n", 0, start) + 1
        raise DataError(
            f"`{name}` must be UTF-8, but line {line} holds byte 0x{data[start]:02x} instead. "
            "Convert the file, for instance with `iconv -t UTF-8`."
        ) from None
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def write_lines(path: Path, lines: list[str]) -> None:
    r"""Write ``lines`` as UTF-8, each ended by ``\n``, and make the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + "\n" for line in lines).encode("utf-8"))
