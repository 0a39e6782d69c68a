"""Try what every stage needs, and say what works and what to do about the rest."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import io
import logging
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertkd_fairseq.installed import OLDEST_TORCH, PYTHONS, user_dir, versions
from bertkd_fairseq.process import threads

OK, NOTE, BROKEN = "ok", "note", "BROKEN"
TASKS = ("bert_cmlm", "translation_bert_kd")
FAIRSEQ_DISTRIBUTIONS = ("fairseq", "fairseq-fixed")


@dataclass(frozen=True)
class Finding:
    """What one check saw: ``status`` is ok, note (works, or not needed) or BROKEN (needed)."""

    status: str
    seen: str
    advice: str = ""


def healthy(findings: dict[str, Finding]) -> bool:
    """Return whether nothing that a stage needs is broken."""
    return all(finding.status != BROKEN for finding in findings.values())


def examine() -> dict[str, Finding]:
    """Run every check in turn; one that fails in an unforeseen way is a finding too."""
    return {name: examine_one(check) for name, check in CHECKS.items()}


def examine_one(check: Callable[[], Finding]) -> Finding:
    """Run one check; if it fails in an unforeseen way, that is the finding."""
    try:
        with _quiet():
            return check()
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        return Finding(BROKEN, f"{type(error).__name__}: {reason}", REINSTALL)


@contextmanager
def _quiet() -> Iterator[None]:
    # fairseq and transformers greet with warnings that would bury the findings.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(logging.NOTSET)


REINSTALL = (
    "run `make install` in a checkout, or "
    "`PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt pip install .`"
)


def check_python() -> Finding:
    """Python is new enough."""
    seen = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        first, last = (".".join(map(str, python)) for python in PYTHONS)
        return Finding(BROKEN, seen, f"install Python {first} to {last}")
    return Finding(OK, seen)


def check_torch() -> Finding:
    """PyTorch is there and new enough."""
    torch = importlib.import_module("torch")
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    seen = f"{torch.__version__}, {torch.get_num_threads()} threads"
    if version < OLDEST_TORCH:
        wanted = ".".join(map(str, OLDEST_TORCH))
        return Finding(BROKEN, seen, f"pip install 'torch>={wanted}'")
    return Finding(OK, seen)


def check_precision() -> Finding:
    """How fast bfloat16 is on this CPU, measured."""
    from bertkd_fairseq import precision

    speed = precision.cpu_speed("bf16")
    taken = precision.PRECISIONS[precision.choose(precision.AUTO)]
    return Finding(
        OK,
        f"bfloat16 at {speed:.2f} of float32's speed on this CPU; --precision auto takes {taken}",
    )


def check_threads() -> Finding:
    """Whether all processors together are faster than one: beside other work they may not be."""
    processors = threads.available_processors()
    seen = f"{processors} of {os.cpu_count()} processors for this process"
    if processors == 1:
        return Finding(OK, seen)
    seconds = threads.step_seconds((1, processors))
    ratio = seconds[processors] / seconds[1]
    seen += f"; {processors} threads take {ratio:.2f} of the time of one"
    if ratio > 1.2:
        advice = "other work keeps the processors busy: export OMP_NUM_THREADS=1 while it does"
        return Finding(NOTE, seen, advice)
    return Finding(OK, seen)


def check_cuda() -> Finding:
    """Whether there is a GPU: real trainings should have one, but nothing needs it."""
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        names = ", ".join(
            torch.cuda.get_device_name(device) for device in range(torch.cuda.device_count())
        )
        return Finding(OK, f"CUDA {torch.version.cuda}: {names}")
    if torch.version.cuda is None:
        return Finding(OK, "this torch is built for CPU only: everything runs on the CPU")
    return Finding(
        NOTE,
        f"torch is built for CUDA {torch.version.cuda}, but sees no GPU",
        "everything runs on the CPU; if there is a GPU, check nvidia-smi and the driver",
    )


def check_fairseq() -> Finding:
    """One distribution, and only one, provides the module ``fairseq``; its C++ parts load."""
    known = versions(*FAIRSEQ_DISTRIBUTIONS)
    found = {name: known[name] for name in FAIRSEQ_DISTRIBUTIONS if name in known}
    seen = " and ".join(f"{name} {version}" for name, version in found.items())
    if len(found) > 1:
        return Finding(
            BROKEN,
            f"{seen} overwrite each other",
            "pip uninstall -y fairseq "
            "fairseq-fixed, then pip install fairseq-fixed -c constraints.txt",
        )
    try:
        fairseq: Any = importlib.import_module("fairseq")
        # Cython and C++ parts: without the first no batch is made, without the second no BLEU.
        importlib.import_module("fairseq.data.data_utils_fast")
        importlib.import_module("fairseq.libbleu")
    except Exception as error:
        seen = seen or "no distribution"
        return Finding(
            BROKEN,
            f"{seen}; {type(error).__name__}: {error}",
            "Meta's 0.12.2 can't be imported on Python >= 3.11: pip uninstall -y fairseq, "
            "then pip install fairseq-fixed -c constraints.txt",
        )
    return Finding(OK, f"{seen or 'not installed by pip'} in {Path(fairseq.__file__).parent}")


def check_transformers() -> Finding:
    """Hugging Face's masked language models can be imported."""
    _apply_compat()
    transformers = importlib.import_module("transformers")
    # The names load lazily: only this imports the modelling code, torchaudio with it.
    _ = transformers.AutoModelForMaskedLM, transformers.BertForMaskedLM
    tokenizers = importlib.import_module("tokenizers")
    return Finding(OK, f"{transformers.__version__}, tokenizers {tokenizers.__version__}")


def check_torchaudio() -> Finding:
    """A torchaudio that can't be imported is kept away from transformers."""
    _apply_compat()
    if "torchaudio" not in sys.modules:
        # Nor is the empty stand-in of constraints.txt a module.
        return Finding(OK, "not installed, and not needed")
    version = importlib.metadata.version("torchaudio")
    if sys.modules["torchaudio"] is None:
        return Finding(
            NOTE,
            f"{version} can't be imported with this torch; hidden from "
            "transformers, nothing here needs it",
            "other programs can't import transformers here: pip uninstall -y torchaudio, "
            "then pip install torchaudio -c constraints.txt",
        )
    return Finding(OK, f"{version} can be imported")


def check_checkpoint_round_trip() -> Finding:
    """What fairseq saves, fairseq loads, with ``weights_only=True`` in force."""
    numpy, torch = importlib.import_module("numpy"), importlib.import_module("torch")
    extra = {"settings": argparse.Namespace(arch="x"), "counts": numpy.arange(4)}
    loaded = _save_and_load({"model": {"w": torch.ones(2)}, "extra_state": extra})
    settings, counts = loaded["extra_state"]["settings"], loaded["extra_state"]["counts"]
    if (settings.arch, counts.tolist(), loaded["model"]["w"].sum()) != ("x", [0, 1, 2, 3], 2):
        return Finding(BROKEN, "a checkpoint came back changed", REINSTALL)
    return Finding(OK, "settings, tensors and arrays come back with weights_only=True")


class _Trap:
    """Makes a folder when it is unpickled without protection: what a malicious checkpoint does."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


def check_malicious_checkpoint() -> Finding:
    """A checkpoint that asks to run code is refused before it does."""
    from bertkd_fairseq.errors import CheckpointError

    with tempfile.TemporaryDirectory() as folder:
        trap = Path(folder, "sprung")
        try:
            _save_and_load({"model": _Trap(str(trap))})
        except CheckpointError:
            refused = True
        else:
            refused = False
        sprung = trap.exists()
    if sprung or not refused:
        return Finding(
            BROKEN,
            "a checkpoint can run code when it is loaded",
            f"load only checkpoints of your own, and {REINSTALL}",
        )
    return Finding(OK, "refused, and nothing in it was run")


def check_plugin() -> Finding:
    """fairseq takes the plugin and knows its tasks."""
    here = user_dir()
    importlib.import_module("bertkd_fairseq.tasks")
    registry = importlib.import_module("fairseq.tasks").TASK_REGISTRY
    missing = [task for task in TASKS if task not in registry]
    if missing:
        return Finding(BROKEN, f"{here} doesn't register {', '.join(missing)}", REINSTALL)
    return Finding(OK, f"tasks {', '.join(TASKS)} from {here}")


def check_user_dir() -> Finding:
    """Where ``--user-dir bertkd_fairseq`` works: anywhere after a plain install beside fairseq."""
    fairseq: Any = importlib.import_module("fairseq")
    beside = Path(fairseq.__file__).resolve().parent.parent / "bertkd_fairseq"
    here = user_dir()
    if not beside.is_dir():
        return Finding(
            NOTE,
            "not installed beside fairseq, or installed in editable mode",
            f"pass --user-dir {here}, or `pip install .` without -e",
        )
    if beside != here:
        return Finding(
            NOTE,
            f"means {beside}, but this is {here}",
            f"pass --user-dir {here}, or install this one",
        )
    return Finding(OK, "--user-dir bertkd_fairseq works from any folder")


def check_text_tools() -> Finding:
    """What `bertkd prepare`, `bertkd compare` and `bertkd curves` import."""
    names = ("sacremoses", "sacrebleu", "matplotlib")
    for name in names:
        importlib.import_module(name)
    return Finding(OK, ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))


def check_optional() -> Finding:
    """Things that only some options use."""
    uses = {"tensorboardX": "--tensorboard-logdir"}
    missing = [name for name in uses if importlib.util.find_spec(name) is None]
    if not missing:
        return Finding(OK, ", ".join(uses))
    needs = ", ".join(f"{name} (for {uses[name]})" for name in missing)
    return Finding(NOTE, f"not installed: {needs}", f"pip install {' '.join(missing)}")


def _apply_compat() -> None:
    from bertkd_fairseq import compat

    compat.apply()


def _save_and_load(state: dict[str, Any]) -> Any:
    """Save ``state`` and load it through fairseq's own function."""
    _apply_compat()
    torch = importlib.import_module("torch")
    checkpoint_utils = importlib.import_module("fairseq.checkpoint_utils")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "checkpoint.pt"))
        history = [{"optimizer_name": "Adam", "lr_scheduler_state": {}, "num_updates": 1}]
        torch.save({"extra_state": {}, "optimizer_history": history, **state}, path)
        return checkpoint_utils.load_checkpoint_to_cpu(path)


CHECKS: dict[str, Callable[[], Finding]] = {
    "Python": check_python,
    "torch": check_torch,
    "precision": check_precision,
    "threads": check_threads,
    "CUDA": check_cuda,
    "fairseq": check_fairseq,
    "transformers": check_transformers,
    "torchaudio": check_torchaudio,
    "text tools": check_text_tools,
    "checkpoints": check_checkpoint_round_trip,
    "malicious checkpoint": check_malicious_checkpoint,
    "plugin": check_plugin,
    "--user-dir": check_user_dir,
    "optional": check_optional,
}
