"""Write an exploration as one HTML file, with its data, style and script inside.

Text of the data can't run as code, for three reasons. It is in a block of JSON that it can't end, because the
characters for that are escaped. The script only ever sets it as text. And the page's Content Security Policy admits
only the page's own script and style, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from bertkd_fairseq import __version__
from bertkd_fairseq.analysis.explore.data import Exploration
from bertkd_fairseq.analysis.styles import report_style

_PACKAGE = "bertkd_fairseq.analysis.explore"
_PLACE = re.compile(r"\{\{(\w+)\}\}")
# Characters that could end the block or begin another, and two line separators that JSON doesn't escape.
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def format_page(found: Exploration) -> str:
    """Return the page."""
    style = f"\n{report_style(_PACKAGE, 'explore.css')}"
    script = f"\n{_file('explore.js')}"
    policy = {
        "default-src": "'none'",
        "style-src": _hash(style),
        "script-src": _hash(script),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    parts = {
        "policy": "; ".join(" ".join(rule) for rule in policy.items()),
        "title": escape(f"The teacher's view of {found.split}"),
        "style": style,
        "script": script,
        "signature": escape(found.signature),
        "version": escape(__version__),
        "data": json_block(page_data(found)),
    }
    # All places are filled in one pass, so that placeholders in the data aren't replaced.
    return _PLACE.sub(lambda place: parts[place[1]], _file("page.html"))


def json_block(content: Any) -> str:
    """Return JSON that can stand in ``<script type="application/json">``, whatever its strings hold."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).translate(_UNSAFE)


def page_data(found: Exploration) -> dict[str, Any]:
    """Return what the script reads: sentences as lists of their fields, and arrays as base64 of little-endian numbers.

    ``symbols`` holds only the symbols that occur, and ids are places in it. ``ids``, ``logprobs`` and students'
    ``entries`` have K numbers for each token.
    """
    used, places = np.unique(np.append(found.rows.ids, found.gold), return_inverse=True)
    kind = "u2" if len(used) <= 1 << 16 else "u4"
    ids, gold = np.split(places.ravel(), [found.rows.ids.size])
    fields = ("index", "source", "target", "tokens", "asked", "wrong", "outside", "confidence")
    return {
        "langs": found.langs,
        "split": found.split,
        "select": found.select,
        "inStore": found.in_store,
        "k": found.k,
        "idBytes": int(kind[1]),
        "symbols": [found.symbols[i] for i in used.tolist()],
        "sentences": [
            [*(getattr(s, name) for name in fields), s.distances] for s in found.sentences
        ],
        "gold": _encoded(gold, kind),
        "ids": _encoded(ids, kind),
        "logprobs": _encoded(found.rows.logprobs, "f2"),
        "tail": _encoded(found.rows.log_tail, "f2"),
        # A store of format 1 has none.
        "goldLogprobs": None
        if found.rows.gold_logprob is None
        else _encoded(found.rows.gold_logprob, "f2"),
        "students": [
            {
                "name": name,
                "entries": _encoded(student.entries, "f2"),
                "gold": _encoded(student.gold, "f2"),
            }
            for name, student in found.students.items()
        ],
    }


def _encoded(values: np.ndarray, kind: str) -> str:
    # A log-probability beyond the range of float16 becomes -inf: such a probability is as good as 0.
    with np.errstate(over="ignore"):
        return base64.b64encode(values.astype(f"<{kind}").tobytes()).decode("ascii")


def _file(name: str) -> str:
    return resources.files(_PACKAGE).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
