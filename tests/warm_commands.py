"""Run commands as a user would, each in a process of its own, without the seconds that imports take.

A *warm parent* has imported what the commands import, and computed nothing. For each command it forks: the child calls
the very entry point of the script (``bertkd``, ``fairseq-train``, ...), with its own working folder, environment and
output, and ends as the interpreter would end: exit code, uncaught exceptions through ``sys.excepthook``. This package
and fairseq's command lines are imported by the child alone: their imports have side effects that belong to a command.

    with WarmCommands() as commands:
        done = commands.run(["bertkd", "user-dir"], cwd=folder)
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 120

ENTRY_POINTS = {
    "bertkd": ("bertkd_fairseq.cli", "main"),
    "fairseq-train": ("fairseq_cli.train", "cli_main"),
    "fairseq-generate": ("fairseq_cli.generate", "cli_main"),
    "fairseq-validate": ("fairseq_cli.validate", "cli_main"),
    "fairseq-interactive": ("fairseq_cli.interactive", "cli_main"),
    "fairseq-hydra-train": ("fairseq_cli.hydra_train", "cli_main"),
}

_OWN = ("bertkd_fairseq", "fairseq_cli")
_WARM = (
    *("matplotlib.figure", "sacrebleu.metrics", "sacrebleu.significance", "sacremoses"),
    *("fairseq_cli.train", "fairseq_cli.generate", "fairseq_cli.validate"),
    *("fairseq_cli.interactive", "fairseq_cli.hydra_train", "concurrent.futures.thread"),
    *("transformers.models.bert.modeling_bert", "transformers.models.auto.modeling_auto"),
    *("transformers.models.bert.tokenization_bert", "tokenizers", "torch.multiprocessing"),
)


class WarmCommands:
    """The warm parent, from the side of the tests."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)

    def __enter__(self) -> WarmCommands:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._parent.communicate()  # the end of its input ends it

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        input: str = "",
        timeout: int = TIMEOUT_SECONDS,
        privileged: bool = False,
        file_limit: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; ``env`` adds to the parent's environment.

        Without ``privileged``, root has no more rights than an ordinary user, so that permissions mean something.
        ``file_limit`` is the largest file in bytes that it can write, as if the disk were full.
        """
        with tempfile.TemporaryDirectory() as folder:
            names = {name: str(Path(folder, name)) for name in ("stdin", "stdout", "stderr")}
            Path(names["stdin"]).write_text(input, "utf-8")
            order = {"argv": list(argv), "cwd": os.path.abspath(cwd or "."), "env": dict(env or {})}
            order |= {"timeout": int(timeout), "privileged": privileged}
            self._parent.stdin.write(json.dumps({**order, **names, "limit": file_limit}) + "\n")
            self._parent.stdin.flush()
            code = int(self._parent.stdout.readline())
            said = (Path(names[name]).read_text("utf-8") for name in ("stdout", "stderr"))
            return subprocess.CompletedProcess(list(argv), code, *said)


def _serve() -> None:
    """Import, then fork for every line of orders and answer with the exit code."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _warm_up()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _child(json.loads(line))
        _, status = os.waitpid(pid, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _warm_up() -> None:
    try:  # as compat.hide_broken_torchaudio does it
        importlib.import_module("torchaudio")
    except Exception:
        sys.modules["torchaudio"] = None  # type: ignore[assignment]
    for name in _WARM:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in _OWN]:
        del sys.modules[name]
    logging.root.handlers.clear()


def _child(order: dict[str, Any]) -> None:
    """Become the command. Never returns."""
    code = 1
    try:
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            flags = os.O_RDONLY if name == "stdin" else os.O_WRONLY | os.O_CREAT
            os.dup2(os.open(order[name], flags), number)
        sys.stdin = os.fdopen(0)
        os.chdir(order["cwd"])
        os.environ.update(order["env"])
        signal.alarm(order["timeout"])
        if not order["privileged"]:
            _become_an_ordinary_user()
        if order["limit"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], order["limit"]))
        code = _run(order["argv"])
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 120  # as the interpreter does
        os._exit(code)


def _run(argv: list[str]) -> int:
    """Call the entry point as its script does, and return the exit code that the interpreter would end with."""
    module, function = ENTRY_POINTS[argv[0]]
    sys.argv = argv
    try:
        sys.exit(getattr(importlib.import_module(module), function)())
    except SystemExit as error:
        return _exit_code(error)
    except BaseException:
        try:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        except SystemExit as error:
            return _exit_code(error)
        return 1


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def _become_an_ordinary_user() -> None:
    """Give up root's right to read and write whatever it likes, so that permissions mean something."""

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    class Data(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]

    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.capset(ctypes.byref(Header(0x20080522, 0)), ctypes.byref((Data * 2)()))


if __name__ == "__main__":
    _serve()
