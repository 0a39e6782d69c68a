"""Keep the teacher's log-probability of every token of an n-best list, so that none is computed twice."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.errors import ConfigurationError, differences, must_be
from bertkd_fairseq.files import whole_file

FORMAT, FORMAT_VERSION = "bertkd teacher answers", 1
_PLAN, _LOGPROBS = "plan", "logprobs"


class Answers:
    """The teacher's answers: ``logprobs`` (tokens,) float32, log p(token) of all hypotheses' tokens, EOS included.

    An answer is NaN until it is known. The file ``.npz`` has the answers, and ``plan``, a JSON object of everything
    that they depend on. :meth:`save` replaces the whole file, which takes little time compared with the teacher's.
    """

    def __init__(
        self, path: Path, plan: Mapping[str, Any], num_tokens: int, *, force: bool, force_name: str
    ) -> None:
        """Continue with the answers in the file ``path``, or begin if there is no such file.

        :param force: begin again if the file isn't one of answers, or was made with another plan.
        :param force_name: the name of ``force`` in messages.
        :raises ConfigurationError: in these cases, if ``force`` isn't given.
        """
        self.path = path
        now = {"format": FORMAT, "format_version": FORMAT_VERSION, **plan}
        self.plan: dict[str, Any] = json.loads(json.dumps(now))
        self.logprobs = np.full(num_tokens, np.nan, dtype=np.float32)
        if not path.exists():
            return
        begun, logprobs = read_answers(path)
        if not force:
            if not begun:
                wanted = "a file of a teacher's answers that `bertkd rescore` wrote"
                hint = f"Choose another output, or {force_name} to replace it."
                seen = "damaged or something else"
                raise ConfigurationError(must_be(str(path), wanted, seen, hint))
            if differ := differences(begun, self.plan):
                raise ConfigurationError(
                    f"{path} was made with other settings ({differ}). "
                    f"Use the same settings, another output, or {force_name} to start over."
                )
        if begun == self.plan and logprobs.shape == self.logprobs.shape:
            self.logprobs = logprobs

    def save(self) -> None:
        """Write the file. It is complete at any moment, even if this is interrupted.

        :raises OutputError: if it can't be written.
        """
        with whole_file(self.path) as partial, partial.open("wb") as file:
            np.savez(file, plan=np.array(json.dumps(self.plan)), logprobs=self.logprobs)


def read_answers(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return the plan and the answers of a file; the plan is empty if there is no file or it isn't one of answers."""
    nothing: dict[str, Any] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            plan, logprobs = json.loads(str(arrays[_PLAN])), arrays[_LOGPROBS]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return nothing, np.zeros(0, dtype=np.float32)
    return (plan, logprobs) if isinstance(plan, dict) else (nothing, logprobs)
