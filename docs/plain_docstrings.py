"""For the API page: docstrings are written in reStructuredText's roles and literal blocks, the page is Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|mod|data|meth|attr):`~?([^`]+)`")
_LITERAL = re.compile(r"::$", re.MULTILINE)


class PlainDocstrings(griffe.Extension):
    """Turn roles into code and ``::`` into a colon; the indented block after it is Markdown's own."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rewrite the docstring of whatever has been read."""
        if obj.docstring is not None:
            plain = _ROLE.sub(lambda role: f"`{role[1].rsplit('.', 1)[-1]}`", obj.docstring.value)
            obj.docstring.value = _LITERAL.sub(":", plain)
