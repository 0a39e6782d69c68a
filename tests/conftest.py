"""What all tests share: the miniature pair, a tiny BERT, a data-bin, a way to run commands."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bertkd_fairseq.process import threads
from tests.warm_commands import WarmCommands

CHECKOUT = Path(__file__).resolve().parent.parent
USER_DIR = CHECKOUT / "bertkd_fairseq"
BERTKD = (sys.executable, "-m", "bertkd_fairseq.cli")
READ_AT_START = ("PYTHON", "OMP_", "GOMP_", "KMP_", "GLIBC_", "ONEDNN_", "ATEN_", "LC_", "LANG")
"""Beginnings of the names of variables that Python, torch and its libraries read but once."""


@pytest.fixture(autouse=True)
def the_same_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a command that runs in this process sets for itself and its children."""
    before = dict(os.environ)
    monkeypatch.setattr(threads, "_added", {})
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Hear the signals that pytest-xdist's workers (SIGINT) and nohup (SIGHUP) ignore."""
    heard = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def fairseq_command(name: str) -> list[str]:
    """Return the argv of ``fairseq-<name>`` of this interpreter; on ``PATH`` or not."""
    return [sys.executable, "-c", f"from fairseq_cli.{name} import cli_main; cli_main()"]


def command_environment() -> dict[str, str]:
    """Return the environment in which commands find this checkout, from any folder."""
    path = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def command_name(command: Sequence[str]) -> list[str]:
    """Return the argv of a command of this package or of fairseq as its script has it; empty for any other."""
    if tuple(command[:3]) == BERTKD:
        return ["bertkd", *command[3:]]
    if command[:2] != [sys.executable, "-c"]:
        return []
    script = re.fullmatch(fairseq_command(r"(\w+)")[2].replace("()", r"\(\)"), command[2])
    return [f"fairseq-{script[1].replace('_', '-')}", *command[3:]] if script else []


@functools.cache
def warm_commands() -> WarmCommands:
    """Return what runs the commands of this process' tests; it ends with them."""
    return contextlib.ExitStack().enter_context(WarmCommands(command_environment()))


def run_command(
    argv: Sequence[object], *, check: bool = True, **kwargs: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``argv`` with this checkout importable from any folder; show its output if it fails.

    ``env`` adds to the environment, ``input`` is text, ``check=False`` returns failures as well. Commands of this
    package and of fairseq are forked from a process that has done the imports, unless ``env`` has what an interpreter
    reads when it starts.
    """
    added = {name: str(value) for name, value in kwargs.pop("env", {}).items()}
    kwargs.setdefault("timeout", 600)
    command = [str(part) for part in argv]
    name = command_name(command)
    if name and not any(key.startswith(READ_AT_START) for key in added):
        done = warm_commands().run(name, env=added, privileged=True, **kwargs)
    else:
        env = {**command_environment(), **added}
        done = subprocess.run(command, env=env, capture_output=True, text=True, **kwargs)
    if check and done.returncode:
        pytest.fail(
            f"{' '.join(command)}\nexit code {done.returncode}\n"
            f"--- stdout\n{done.stdout[-4000:]}\n--- stderr\n{done.stderr[-8000:]}"
        )
    return done


@pytest.fixture(scope="session")
def miniature_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``{train,valid,test}.{src,tgt}``: 600, 60 and 61 pairs.

    61 is no multiple of 8, so that a stage that drops the tail of a split is found out.
    """
    from bertkd_fairseq.demo.language import write_corpus

    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, num_train=600, num_valid=60, num_test=61, seed=1)
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory, miniature_corpus: Path) -> Path:
    """Folder with a random 2-layer BERT of 64 hidden units and a WordPiece tokenizer of 400."""
    from bertkd_fairseq.demo.miniature import train_tiny_bert

    files = sorted(miniature_corpus.glob("train.*"))
    return train_tiny_bert(files, tmp_path_factory.mktemp("tiny") / "bert", steps=0)


@pytest.fixture(scope="session")
def data_bin(
    tmp_path_factory: pytest.TempPathFactory, miniature_corpus: Path, tiny_bert: Path
) -> Path:
    """The miniature corpus after ``bertkd prepare`` with the tokenizer of ``tiny_bert``."""
    dest = tmp_path_factory.mktemp("prepared") / "data-bin"
    prepare = [*BERTKD, "prepare", "--source-lang", "src", "--target-lang", "tgt"]
    for split in ("train", "valid", "test"):
        prepare += [f"--{split}", str(miniature_corpus / split)]
    run_command([*prepare, "--tokenizer", tiny_bert, "--destdir", dest])
    return dest
