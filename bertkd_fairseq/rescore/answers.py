"""The teacher's answers about every token of an n-best list, kept so that nothing is asked twice: numpy alone."""

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
    """log p(token) of the tokens of all hypotheses, EOS included: ``logprobs`` (tokens,) float32, NaN if not known yet.

    In a file ``.npz`` together with ``plan``, a JSON object of whatever they depend on. :meth:`save` replaces the
    file as a whole, which takes no time beside asking.
    """

    def __init__(
        self, path: Path, plan: Mapping[str, Any], num_tokens: int, *, force: bool, force_name: str
    ) -> None:
        """Continue with what is at ``path``, or begin where nothing is.

        :param force: begin anew where the file is something else, or was made with another plan.
        :raises ConfigurationError: in these cases without ``force``.
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
        """Write the file; what is there is whole at any moment.

        :raises OutputError: if it can't be written.
        """
        with whole_file(self.path) as partial, partial.open("wb") as file:
            np.savez(file, plan=np.array(json.dumps(self.plan)), logprobs=self.logprobs)


def read_answers(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return plan and answers of a file; an empty plan if there is none or it is something else."""
    nothing: dict[str, Any] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            plan, logprobs = json.loads(str(arrays[_PLAN])), arrays[_LOGPROBS]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return nothing, np.zeros(0, dtype=np.float32)
    return (plan, logprobs) if isinstance(plan, dict) else (nothing, logprobs)
