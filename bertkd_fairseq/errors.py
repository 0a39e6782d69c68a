"""The few exception types of the package, and the one grammar of their messages.

A user's mistake is a :class:`BertKDError`. It reaches the user as one message without a traceback and
exit code 2, both from ``bertkd`` and, through :mod:`bertkd_fairseq.process.excepthook`, from ``fairseq-*`` commands.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

EXIT_CODE = 2

# What stands before the message in the text of a traceback.
_NAME_IN_TRACEBACK = re.compile(r"^bertkd_fairseq\.[\w.]+: ", re.MULTILINE)


class BertKDError(Exception):
    """Base of all mistakes that the user can mend; the message says what is wrong, seen and wanted, and what to do."""


class ConfigurationError(BertKDError):
    """An option or a combination of options that can't work."""


class DataError(BertKDError):
    """Text, a data-bin or a tokenizer that isn't what this stage needs."""


class OutputError(BertKDError):
    """A file or folder that can't be written."""


class CheckpointError(BertKDError):
    """A checkpoint that is missing, damaged, unlike the others, or would run code when it is opened."""


class StoreError(BertKDError):
    """A teacher store that is missing, damaged, unfinished or made for other data."""


def must_be(name: str, wanted: object, seen: object, hint: str = "") -> str:
    """Return the standard message: ```name` must be <wanted>, but is <seen> instead. <hint>``."""
    message = f"`{name}` must be {wanted}, but is {seen} instead."
    return f"{message} {hint}" if hint else message


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in what two records differ, with both sides; nothing if they are equal."""
    return "; ".join(
        f"{key}: {before.get(key)} before, {now.get(key)} now"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    )


def outside(
    name: str,
    value: float,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> list[str]:
    """Return a message if ``value`` is outside of the range that one bound or two give; NaN always is."""
    bounds = (
        ("at least", at_least, operator.ge),
        ("above", above, operator.gt),
        ("at most", at_most, operator.le),
        ("below", below, operator.lt),
    )
    given = [(word, bound, holds) for word, bound, holds in bounds if bound is not None]
    if all(holds(value, bound) for _, bound, holds in given):
        return []
    wanted = " and ".join(f"{word} {bound:g}" for word, bound, _ in given)
    if at_least is not None and at_most is not None:
        wanted = f"from {at_least:g} to {at_most:g}"
    elif at_least is not None and below is not None:
        wanted = f"from {at_least:g} to below {below:g}"
    return [must_be(name, wanted, value)]


def raise_all(errors: Iterable[str], kind: type[BertKDError] = ConfigurationError) -> None:
    """Raise ``kind`` with every message at once; do nothing when there is none."""
    messages = list(errors)
    if not messages:
        return
    if len(messages) == 1:
        raise kind(messages[0])
    lines = "\n".join(f"  {i}. {message}" for i, message in enumerate(messages, 1))
    raise kind(f"{len(messages)} problems:\n{lines}")


def report(error: BertKDError) -> int:
    """Print ``error`` to stderr as one message and return the exit code that goes with it."""
    # What a data-loader worker or one of fairseq's processes raised arrives as the text of its traceback.
    message = _NAME_IN_TRACEBACK.split(str(error))[-1].strip()
    # Not print, which fairseq silences in all processes but the first.
    sys.stderr.write(f"error: {message}\n")
    sys.stderr.flush()
    return EXIT_CODE
