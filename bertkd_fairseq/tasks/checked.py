"""What both tasks check before the first update, where fairseq would fail later or go on in silence."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.utils import split_paths
from omegaconf import II

from bertkd_fairseq.errors import ConfigurationError, DataError, must_be
from bertkd_fairseq.files import only_process
from bertkd_fairseq.text.data_bin import binarized_splits

_LAST = "checkpoint_last.pt"  # fairseq's default: continue if it is there


@dataclass
class CheckedConfig(FairseqDataclass):
    """Options of other groups that the tasks read."""

    save_dir: str = II("checkpoint.save_dir")
    no_save: bool = II("checkpoint.no_save")
    restore_file: str = II("checkpoint.restore_file")
    best_checkpoint_metric: str = II("checkpoint.best_checkpoint_metric")


class CheckedTask:
    """Mix into a fairseq task whose config is a :class:`CheckedConfig`."""

    cfg: Any
    datasets: dict[str, Any]
    _began = False
    _held = ExitStack()  # until the process ends

    @classmethod
    def load_dictionary(cls, filename: str) -> Any:
        """As in fairseq.

        :raises DataError: if the file is missing or no dictionary.
        """
        try:
            return super().load_dictionary(filename)  # type: ignore[misc]
        except Exception as error:  # fairseq raises plain Exception too
            reason = getattr(error, "strerror", None) or str(error).partition(",")[0].rstrip(".")
            raise DataError(
                f"`{filename}` must be a dictionary of fairseq, but can't be read: {reason}. "
                "Run `bertkd prepare` again."
            ) from error

    def begin_epoch(self, epoch: int, model: Any) -> None:
        """As in fairseq; before the first epoch, make sure that this training writes where no other does.

        :raises ConfigurationError: if another process trains into ``--save-dir``, or ``--restore-file`` is missing.
        """
        if not self._began and _is_master():
            restored = self.cfg.restore_file
            if restored != _LAST and not Path(restored).is_file():
                hint = (
                    "fairseq would begin a new training. Correct the path, or leave the option out."
                )
                raise ConfigurationError(
                    must_be("--restore-file", "a checkpoint", f"missing ({restored})", hint)
                )
            if not self.cfg.no_save:
                self._held.enter_context(only_process(self.cfg.save_dir, "fairseq-train"))
        self._began = True
        super().begin_epoch(epoch, model)  # type: ignore[misc]

    def get_batch_iterator(
        self, dataset: Any, max_tokens: Optional[int] = None, **kwargs: Any
    ) -> Any:
        """As in fairseq, where every pair within the model's positions fits into a batch.

        :raises ConfigurationError: if ``--max-tokens`` is too small for one of them.
        :raises DataError: if no pair is within the positions, or one isn't and mustn't be left out.
        """
        self._check_lengths(dataset, max_tokens, kwargs.get("ignore_invalid_inputs", False))
        return super().get_batch_iterator(dataset, max_tokens=max_tokens, **kwargs)  # type: ignore[misc]

    def _check_lengths(self, dataset: Any, max_tokens: Optional[int], may_leave_out: bool) -> None:
        split = next((name for name, loaded in self.datasets.items() if loaded is dataset), "input")
        positions = self.max_positions()  # type: ignore[attr-defined]
        kept, too_long = dataset.filter_indices_by_size(np.arange(len(dataset)), positions)
        if len(too_long) and not may_leave_out:
            hint = (
                "Raise --max-source-positions and --max-target-positions (--max-positions for a teacher), "
                "or leave such pairs out with --skip-invalid-size-inputs-valid-test."
            )
            name = f"length of pair {too_long[0]} of {split}"
            wanted, seen = f"at most {_length(positions)}", _length(dataset.size(too_long[0]))
            raise DataError(must_be(name, wanted, seen, hint))
        if not len(kept):
            raise DataError(
                f"`{split}` must hold a pair of at most {_length(positions)}, but all of its {len(dataset)} pairs are "
                "longer. Raise --max-source-positions and --max-target-positions (--max-positions for a teacher)."
            )
        if max_tokens is None:
            return
        tokens = np.asarray(dataset.num_tokens_vec(kept))
        longest = int(tokens.argmax())
        if tokens[longest] > max_tokens:
            wanted = f"at least {tokens[longest]}, the length of pair {kept[longest]} of {split}"
            hint = "Raise it. For validation, raise --max-tokens-valid if that was given."
            raise ConfigurationError(must_be("--max-tokens", wanted, max_tokens, hint))


def data_problems(data: Optional[str]) -> list[str]:
    """Return what is wrong with the data folders of a task, colon-separated as fairseq takes them."""
    if not data:
        return [
            "`task.data` must be a data-bin, but is missing. Name one that `bertkd prepare` made."
        ]
    hint = "Name one that `bertkd prepare` made."
    problems = []
    for folder in split_paths(data):
        if not Path(folder).exists():
            problems.append(must_be(folder, "a data-bin", "missing", hint))
        elif not binarized_splits(folder):
            seen = "a folder without binarized text" if Path(folder).is_dir() else "a file"
            problems.append(must_be(folder, "a data-bin", seen, hint))
    return problems


def metric_problems(cfg: CheckedConfig, has_bleu: bool) -> list[str]:
    """Return what is wrong with the choice of the best checkpoint; fairseq says it only after the first epoch."""
    if cfg.best_checkpoint_metric != "bleu" or has_bleu:
        return []
    hint = "Students log it with --eval-bleu."
    wanted = "something that validation logs, such as loss"
    return [must_be("--best-checkpoint-metric", wanted, "bleu", hint)]


def _length(size: Any) -> str:
    if np.ndim(size):
        return f"{size[0]} source and {size[1]} target tokens"
    return f"{size} positions"


def _is_master() -> bool:
    distributed = torch.distributed
    return (
        not (distributed.is_available() and distributed.is_initialized())
        or not distributed.get_rank()
    )
