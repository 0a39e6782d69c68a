"""The one place that makes fairseq and transformers run on today's Python and PyTorch.

:func:`apply` comes before the first checkpoint and before ``import transformers``. Each patch is a
small function that says why it exists, where that is discussed upstream, and when it is not needed.
None of them imports fairseq.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import io
import logging
import os
import pickle
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from bertkd_fairseq.errors import CheckpointError, must_be

log = logging.getLogger(__name__)


def apply() -> None:
    """Apply every patch that this environment needs; calling it again changes nothing."""
    allow_fairseq_classes()
    keep_fairseq_loads_safe()
    hide_broken_torchaudio()


def safe_globals() -> list[Any]:
    """Return the harmless classes and functions that fairseq checkpoints hold beside tensors.

    ``argparse.Namespace`` is where a checkpoint keeps its model's and task's settings. The others
    rebuild an array of numbers: ``--eval-bleu`` keeps its n-gram counts so, as integers in one
    process and as floats in several. numpy renamed its inner module in 2.0, and a checkpoint may
    have been written under either name.
    """
    # ndarray.__reduce__ names the function that rebuilds arrays, wherever this numpy keeps it.
    rebuild_array = np.zeros(0, np.int64).__reduce__()[0]
    return [
        argparse.Namespace,
        np.ndarray,
        np.dtype,
        type(np.dtype(np.int64)),
        type(np.dtype(np.float64)),
        (rebuild_array, "numpy._core.multiarray._reconstruct"),
        (rebuild_array, "numpy.core.multiarray._reconstruct"),
    ]


def allow_fairseq_classes() -> None:
    """Let ``torch.load(weights_only=True)`` read what fairseq saves.

    Reason: torch 2.6 made ``weights_only=True`` the default, and no fairseq checkpoint loads so
    (pytorch/pytorch#137602, facebookresearch/fairseq#5610).
    Not needed when fairseq saves plain dictionaries only; harmless then.
    """
    torch.serialization.add_safe_globals(safe_globals())


def keep_fairseq_loads_safe() -> None:
    """Force ``weights_only=True`` where fairseq calls ``torch.load``, and refuse in one message.

    Reason: fairseq's main branch passes ``weights_only=False``, which runs whatever a checkpoint
    asks for (facebookresearch/fairseq#5611); torch's own refusal is a long traceback that tells how
    to turn the protection off; and a file of another kind ends in whatever the unpickler stumbles
    over. Calls from anywhere else pass through untouched.
    Not needed for safety with a fairseq that leaves the default alone; the messages stay useful.
    """
    if getattr(torch.load, "keeps_fairseq_safe", False):
        return
    original: Callable[..., Any] = torch.load

    @functools.wraps(original)
    def load(f: Any, *args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        module = caller.f_globals.get("__name__", "")
        if module.partition(".")[0] not in ("fairseq", "fairseq_cli"):
            return original(f, *args, **kwargs)
        # What the first process of this training has read, safely, and sends to the others: with settings as objects.
        if caller.f_code.co_name == "_broadcast_object_slow" and isinstance(f, io.BytesIO):
            return original(f, *args, **{**kwargs, "weights_only": False})
        loaded = load_safely(f, *args, **kwargs)
        # Of anything else fairseq would complain that it lacks what checkpoints had years ago.
        if caller.f_code.co_name == "load_checkpoint_to_cpu" and not _has_model(loaded):
            raise CheckpointError(must_be(str(_path(f)), "a checkpoint of fairseq", "another file"))
        return loaded

    load.keeps_fairseq_safe = True  # type: ignore[attr-defined]
    torch.load = load


def load_safely(f: Any, *args: Any, **kwargs: Any) -> Any:
    """Return what ``torch.load`` reads from a checkpoint of fairseq, without running code from it.

    :raises CheckpointError: if the file can't be read, or would run code.
    """
    original = getattr(torch.load, "__wrapped__", torch.load)
    kwargs["weights_only"] = True
    try:
        # Those that are allowed already would be forbidden at the end.
        allowed = torch.serialization.get_safe_globals()
        with torch.serialization.safe_globals([c for c in safe_globals() if c not in allowed]):
            return original(f, *args, **kwargs)
    except pickle.UnpicklingError as error:
        raise refusal(f, error) from error
    except Exception as error:
        raise unreadable(f, error) from error


def _path(f: Any) -> Any:
    return f if isinstance(f, (str, os.PathLike)) else getattr(f, "name", f)


def _has_model(loaded: Any) -> bool:
    return isinstance(loaded, Mapping) and "model" in loaded


def unreadable(f: Any, error: Exception) -> CheckpointError:
    """Return the error that tells the user why a file is no checkpoint."""
    if isinstance(error, OSError) and error.filename is not None:
        return CheckpointError(
            f"`{_path(f)}` must be a checkpoint, but can't be read: {error.strerror}."
        )
    return CheckpointError(
        f"`{_path(f)}` must be a checkpoint, but is cut off, damaged or another kind of file. "
        "Name one that fairseq-train or `bertkd average` wrote."
    )


def refusal(f: Any, error: pickle.UnpicklingError) -> CheckpointError:
    """Return the error that tells the user which file was refused, and for what."""
    # torch says "GLOBAL posix.system" for whatever it met, and then goes on for paragraphs.
    found = re.search(r"GLOBAL (\S+)", str(error))
    if not found:
        return unreadable(f, error)
    return CheckpointError(
        must_be(
            "checkpoint",
            "tensors and plain settings that load without running code",
            f"{_path(f)}, which asks for `{found[1]}`,",
            "The file was refused and nothing in it was run. Get it from a source that you trust; if "
            "you know the class to be harmless, allow it with torch.serialization.add_safe_globals.",
        )
    )


def hide_broken_torchaudio() -> None:
    """Make ``import transformers`` work beside a torchaudio that can't be imported.

    Reason: fairseq-fixed pulls torchaudio in, whose wheel needs CUDA libraries that a CPU-only
    torch lacks (``OSError: libc10_cuda.so``), and transformers 5 imports torchaudio wherever it is
    installed. Nothing here handles audio, so for this process there is no torchaudio. Not needed
    where constraints.txt was obeyed, which puts an empty stand-in in its place. No upstream
    issue is known. Does nothing when torchaudio is absent or can be imported.
    """
    if "torchaudio" in sys.modules or importlib.util.find_spec("torchaudio") is None:
        return
    try:
        # Only the import itself tells: a missing library, a wrong CUDA version, a removed name.
        importlib.import_module("torchaudio")
    except Exception as error:
        log.debug("torchaudio can't be imported (%s); going on as if it weren't installed", error)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        # None is Python's own mark for "no such module": find_spec and import both respect it.
        sys.modules["torchaudio"] = None  # type: ignore[assignment]
        _forget_what_transformers_found()


def _forget_what_transformers_found() -> None:
    # A transformers imported before us has already asked for torchaudio and cached the answer.
    utils = sys.modules.get("transformers.utils.import_utils")
    for name in ("is_torchaudio_available", "_is_package_available"):
        forget = getattr(getattr(utils, name, None), "cache_clear", None)
        if forget is not None:
            forget()


def join_torchrun_without_cuda() -> None:
    """Let ``torchrun fairseq-train`` form one training of several processes on a machine without CUDA.

    Reason: fairseq's world size defaults to the number of GPUs, so without one every process trains alone
    and says nothing; and a world size by hand ends in a division by that number. No upstream issue is known.
    Called by the plugin's tasks, since it needs fairseq; does nothing where there is CUDA or no torchrun.
    """
    if torch.cuda.is_available() or "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    from fairseq.distributed import utils as distributed_utils
    from omegaconf import open_dict

    def infer_init_method(cfg: Any, force_distributed: bool = False) -> None:
        with open_dict(cfg):
            cfg.distributed_init_method = "env://"
            cfg.distributed_world_size = int(os.environ["WORLD_SIZE"])
            cfg.distributed_rank = int(os.environ["RANK"])
            cfg.distributed_no_spawn = True
            # The only backend that needs no GPU; fairseq's default is nccl.
            cfg.distributed_backend = "gloo"

    distributed_utils.infer_init_method = infer_init_method


def copy_checkpoints_whole() -> None:
    """Let fairseq's copies of a checkpoint appear under their names only when they are whole.

    Reason: fairseq writes the first name of a checkpoint safely and copies it to the others, such as
    ``checkpoint_last.pt``, in place. A training that was killed within this copy couldn't continue. No upstream
    issue is known. Called by the plugin's tasks, since it needs fairseq; copies to storage that can't rename are left
    as they are.
    """
    from fairseq.file_io import PathManager

    original: Callable[..., Any] = PathManager.copy
    if getattr(original, "copies_whole", False):
        return

    @functools.wraps(original)
    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        if not (overwrite and PathManager.supports_rename(dst_path)):
            return original(src_path, dst_path, overwrite)
        partial = f"{dst_path}.tmp"
        copied = original(src_path, partial, True)
        if copied:
            PathManager.rename(partial, dst_path)
        return copied

    copy.copies_whole = True  # type: ignore[attr-defined]
    PathManager.copy = staticmethod(copy)
