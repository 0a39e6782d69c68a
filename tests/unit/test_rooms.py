"""What importing may do, and what the picture of the rooms shows."""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path

import pytest

import bertkd_fairseq
from tests.conftest import CHECKOUT, run_command

ROOT = Path(bertkd_fairseq.__file__).parent
MAY_CHANGE = ("tasks",)
"""The room whose import prepares the process: what fairseq imports as plugin."""

STATE = """
import logging, os, signal, sys, threading, warnings
import torch
def state():
    return (
        torch.load, sys.excepthook, threading.excepthook, sys.path[:], dict(os.environ), logging.root.level,
        logging.root.handlers[:], signal.getsignal(signal.SIGTERM), torch.get_num_threads(),
        sorted(map(str, torch.serialization.get_safe_globals())), "torchaudio" in sys.modules,
    )
"""


def module_names() -> list[str]:
    found = pkgutil.walk_packages([str(ROOT)], "bertkd_fairseq.", onerror=lambda name: None)
    return [module.name for module in found if not module.name.endswith("__main__")]


def test_importing_anything_else_changes_nothing() -> None:
    """All in one process; fairseq and transformers, which change what they like, come first."""
    names = [name for name in module_names() if name.split(".")[1] not in MAY_CHANGE]
    # They are adapters for fairseq, but change nothing themselves.
    assert {"bertkd_fairseq.criterions", "bertkd_fairseq.dump.rows"} <= {*names}
    code = f"""{STATE}
import fairseq, fairseq.models, fairseq.tasks, fairseq.criterions, fairseq.optim, fairseq.checkpoint_utils
import matplotlib.pyplot, sacrebleu, sacremoses, importlib
before = state()
for name in {names!r}:
    importlib.import_module(name)
    for seen, wanted in zip(state(), before):
        assert seen == wanted, (name, seen, wanted)
"""
    run_command([sys.executable, "-c", code])


@pytest.mark.parametrize("heavy", ["torch", "fairseq", "transformers", "matplotlib", "sacrebleu"])
def test_the_store_is_read_with_numpy_alone(heavy: str) -> None:
    code = "import sys; import bertkd_fairseq.topk_store; print(*sys.modules)"
    assert heavy not in run_command([sys.executable, "-c", code]).stdout.split()


def test_the_picture_of_the_rooms_is_what_the_code_says() -> None:
    done = run_command([sys.executable, CHECKOUT / "docs" / "floors.py", "--check"])
    assert (done.stdout, done.stderr) == ("", "")


def test_the_root_holds_fifteen_modules_at_most() -> None:
    assert len([path for path in ROOT.glob("*.py") if path.name != "__init__.py"]) <= 15
