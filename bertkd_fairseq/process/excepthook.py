"""How a user's mistake ends a ``fairseq-*`` command: one message, exit code 2."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from bertkd_fairseq.errors import BertKDError, report
from bertkd_fairseq.process.user_errors import as_user_error

_COMMAND_LINES = "fairseq_cli"


def install() -> None:
    """Make a user's mistake that nobody catches end any Python program in one message and exit code 2.

    Of what others raise that holds for fairseq's command lines alone: a program that only imports this package keeps
    its tracebacks.
    """
    if getattr(sys.excepthook, "reports_bertkd_errors", False):
        return
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found = as_user_error(error)
        if found is None or not (isinstance(error, BertKDError) or _is_from_a_command(error)):
            previous(kind, error, trace)
            return
        # In a distributed training torch calls this with another stderr, and loses what it holds when we raise.
        with contextlib.redirect_stderr(sys.__stderr__):
            show_origin(error)
            code = report(found)
        # Raised inside the hook, SystemExit sets the exit code of the interpreter.
        raise SystemExit(code)

    hook.reports_bertkd_errors = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def install_for_hydra() -> None:
    """Make a user's mistake end ``fairseq-hydra-train`` in the same way.

    Hydra keeps what a job raises as its result, and prints a traceback where the result is asked for:
    no excepthook hears of it. Does nothing where Hydra isn't loaded.
    """
    utils: Any = sys.modules.get("hydra.core.utils")
    if utils is None or getattr(utils.JobReturn, "reports_bertkd_errors", False):
        return
    original = utils.JobReturn.return_value

    def return_value(job: Any) -> Any:
        failed = job.status == utils.JobStatus.FAILED
        found = as_user_error(job._return_value) if failed else None
        if found is not None:
            show_origin(job._return_value)
            raise SystemExit(report(found))
        return original.fget(job)

    utils.JobReturn.return_value = property(return_value, original.fset)
    utils.JobReturn.reports_bertkd_errors = True


def show_origin(error: BaseException) -> None:
    """Print the traceback of what becomes a message, if ``LOGLEVEL`` asks for it, fairseq's variable."""
    # Not by a logger: fairseq's modules configure them each in its own way.
    if os.environ.get("LOGLEVEL", "").upper() == "DEBUG":
        traceback.print_exception(error)


def _is_from_a_command(error: BaseException) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    # By file: under `python -m` the module's name is __main__.
    return any(_COMMAND_LINES in Path(frame.f_code.co_filename).parts for frame, _ in frames)
