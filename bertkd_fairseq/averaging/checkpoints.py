"""The mean of the parameters of several checkpoints of one training."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bertkd_fairseq import compat
from bertkd_fairseq.averaging.config import AverageConfig
from bertkd_fairseq.errors import CheckpointError, must_be, raise_all
from bertkd_fairseq.files import whole_file

_BY_UPDATE = re.compile(r"checkpoint_\d+_(\d+)\.pt")
_BY_EPOCH = re.compile(r"checkpoint(\d+)\.pt")
_BEST = re.compile(r"checkpoint\.best_.+_\d+\.\d+\.pt")
_SHOWN = 3


def average(config: AverageConfig) -> list[Path]:
    """Write the mean of the checkpoints that ``config`` chooses, and return which these are.

    :raises ConfigurationError: with every setting that can't work.
    :raises CheckpointError: if the checkpoints can't be averaged.
    :raises OutputError: if the file can't be written.
    """
    raise_all(config.problems())
    folder = config.save_dir or Path()
    if config.inputs:
        paths = list(config.inputs)
    elif config.last:
        paths = last_checkpoints(folder, config.last)
    else:
        paths = best_checkpoints(folder)
    state = average_checkpoints(paths)
    # Opened here: given a name, torch would not say that the disk is full.
    with whole_file(config.output) as partial, partial.open("wb") as file:
        torch.save(state, file)
    return paths


def last_checkpoints(save_dir: Path, count: int) -> list[Path]:
    """Return the last ``count`` checkpoints by update or, where none is so named, by epoch.

    :raises CheckpointError: if there are fewer.
    """
    for pattern in (_BY_UPDATE, _BY_EPOCH):
        numbered = [(int(m[1]), file) for file, m in _matches(save_dir, pattern)]
        if numbered:
            break
    if len(numbered) < count:
        raise CheckpointError(
            f"`{save_dir}` must hold at least {count} checkpoints numbered by update or epoch, but holds "
            f"{len(numbered)} instead. Train with `--save-interval-updates` and "
            f"`--keep-interval-updates {count}`. fairseq keeps none by update where an epoch ends, so the "
            "interval must not be a multiple of an epoch's updates."
        )
    return [file for _, file in sorted(numbered)[-count:]]


def best_checkpoints(save_dir: Path) -> list[Path]:
    """Return all that ``--keep-best-checkpoints`` has kept: fairseq may keep fewer than it was told.

    :raises CheckpointError: if there is none.
    """
    files = sorted(file for file, _ in _matches(save_dir, _BEST))
    if not files:
        raise CheckpointError(
            f"`{save_dir}` must hold files checkpoint.best_*.pt, but there is none. "
            "Train with `--keep-best-checkpoints 5`."
        )
    return files


def _matches(save_dir: Path, pattern: re.Pattern[str]) -> list[tuple[Path, re.Match[str]]]:
    files = save_dir.iterdir() if save_dir.is_dir() else ()
    return [(file, match) for file in files if (match := pattern.fullmatch(file.name))]


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Any]:
    """Return the last checkpoint with the mean of the parameters of all, summed in float64.

    Half-precision parameters come out in float32. What isn't a floating-point number must be equal
    in all. The optimizer's state is left out.

    :raises CheckpointError: for files that can't be read safely, are given twice or have no or other
        parameters.
    """
    times = Counter(path.resolve() for path in paths)
    raise_all(
        (f"`{path}` must be given only once." for path, n in times.items() if n > 1),
        CheckpointError,
    )
    state = load_checkpoint(paths[0])
    dtypes = {name: value.dtype for name, value in state["model"].items()}
    sums = {name: _summand(value) for name, value in state["model"].items()}
    for path in paths[1:]:
        state = load_checkpoint(path)
        raise_all(_differences(paths[0], sums, path, state["model"]), CheckpointError)
        for name, value in state["model"].items():
            if value.is_floating_point():
                sums[name] += _summand(value)
    state["model"] = {name: _mean(total, len(paths), dtypes[name]) for name, total in sums.items()}
    state["last_optimizer_state"] = None
    state["averaged"] = [path.name for path in paths]
    return state


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a fairseq checkpoint holds, read without running code.

    :raises CheckpointError: if it can't be read, or holds no parameters.
    """
    state = compat.load_safely(path, map_location="cpu")
    model = state.get("model") if isinstance(state, dict) else None
    if not isinstance(model, Mapping) or not all(isinstance(v, Tensor) for v in model.values()):
        raise CheckpointError(must_be(str(path), "a checkpoint of fairseq", "something else"))
    if not model:
        raise CheckpointError(must_be(str(path), "a checkpoint with parameters", "without any"))
    return state


def _summand(value: Tensor) -> Tensor:
    return value.to(torch.float64, copy=True) if value.is_floating_point() else value


def _mean(total: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    if not dtype.is_floating_point:
        return total
    half = dtype in (torch.float16, torch.bfloat16)
    return (total / count).to(torch.float32 if half else dtype)


def _differences(
    first: Path, sums: Mapping[str, Tensor], path: Path, model: Mapping[str, Tensor]
) -> list[str]:
    """Return what keeps the parameters of two checkpoints from being averaged."""
    if sums.keys() != model.keys():
        names = sorted(sums.keys() ^ model.keys())
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        return [
            f"`{path}` must have the parameters of {first}, but only one of the two has {shown}."
        ]
    return [
        must_be(f"{path}: {name}", f"as in {first}", _difference(total, model[name]))
        for name, total in sums.items()
        if _difference(total, model[name])
    ][:_SHOWN]


def _difference(total: Tensor, value: Tensor) -> str:
    if total.shape != value.shape:
        return f"of shape {tuple(value.shape)}, not {tuple(total.shape)},"
    if value.is_floating_point() != total.is_floating_point():
        return f"of type {value.dtype}"
    if not value.is_floating_point() and not torch.equal(total, value):
        return "another whole number"
    return ""
