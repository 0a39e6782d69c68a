"""What the scripts that write docs share: a file is written or, with ``--check``, compared."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path


def write_or_check(path: Path, wanted: str, argv: list[str], behind: str) -> int:
    """Write a file or, with ``--check``, say that it is ``behind`` if it holds something else. Return the exit code."""
    if "--check" not in argv:
        path.write_text(wanted, "utf-8")
    elif not path.exists() or path.read_text("utf-8") != wanted:
        print(f"{path} {behind}", file=sys.stderr)
        return 1
    return 0


def svg(width: int, height: int, title: str, style: str, body: list[str]) -> str:
    """Return a picture on white, with a title for those who can't see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">\n'
        f"<style>{style}</style>\n"
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def svg_text(x: float, y: float, words: str, kind: str = "") -> str:
    """Return words at a place of a picture; ``kind``: the class that its style has for them."""
    known = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y}"{known}>{escape(words)}</text>'
