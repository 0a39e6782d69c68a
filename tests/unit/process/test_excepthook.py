"""How a user's mistake ends a program that isn't ours: fairseq's, Hydra's, or a reader's own script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus

from bertkd_fairseq.errors import BertKDError, CheckpointError, DataError
from bertkd_fairseq.process import excepthook
from tests.conftest import run_command

INSTALL = (
    "from bertkd_fairseq import errors\n"
    "from bertkd_fairseq.process import excepthook\n"
    "excepthook.install(); excepthook.install()\n"
)
MISSING = "open('/nowhere/data-bin')"


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return run_command([sys.executable, "-c", INSTALL + code], check=False)


def test_a_mistake_that_nobody_catches_is_one_message_and_exit_code_2() -> None:
    done = run_python("raise errors.StoreError('`store` must be whole, but is torn instead.')")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: `store` must be whole, but is torn instead.\n"


@pytest.mark.parametrize("code", ["raise ValueError('a bug')", MISSING])
def test_any_other_exception_keeps_its_traceback(code: str) -> None:
    """Of whatever another program raises, also what would be a mistake of the user in fairseq's commands."""
    done = run_python(code)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")


def test_a_missing_file_ends_fairseqs_commands_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "fairseq_cli").mkdir()
    (tmp_path / "fairseq_cli" / "train.py").write_text(f"{INSTALL}{MISSING}\n")
    done = run_command([sys.executable, tmp_path / "fairseq_cli" / "train.py"], check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: `/nowhere/data-bin` can't be read or written: No such file or directory. "
        "Check the path and its permissions.\n",
    )


class ProcessRaisedException(Exception):
    """As torch.multiprocessing raises it: the text of what a process raised."""


def subclasses(kind: type[BertKDError]) -> list[type[BertKDError]]:
    return [kind, *(sub for child in kind.__subclasses__() for sub in subclasses(child))]


@pytest.mark.parametrize("kind", subclasses(BertKDError), ids=lambda kind: kind.__name__)
def test_a_process_per_gpu_ends_in_one_message_too(
    kind: type[BertKDError], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(excepthook, "_is_from_a_command", lambda error: True)
    excepthook.install()
    raised = ProcessRaisedException(
        "\n\n-- Process 1 terminated with the following error:\n"
        "Traceback (most recent call last):\n"
        '  File "/site/torch/multiprocessing/spawn.py", line 95, in _wrap\n'
        "    fn(i, *args)\n"
        '  File "/site/bertkd_fairseq/compat.py", line 88, in load\n'
        "    raise refusal(f, error) from error\n"
        f"{kind.__module__}.{kind.__qualname__}: 2 problems:\n  1. one\n  2. two\n"
    )
    with pytest.raises(SystemExit) as caught:
        sys.excepthook(type(raised), raised, None)
    assert caught.value.code == 2
    assert capfd.readouterr().err == "error: 2 problems:\n  1. one\n  2. two\n"


def test_what_checkpoints_raise_is_known_by_the_module_of_errors() -> None:
    assert CheckpointError.__module__ == "bertkd_fairseq.errors"


def test_where_it_was_raised_can_be_seen() -> None:
    code = f"{INSTALL}raise errors.DataError('`text` is empty.')"
    done = run_command([sys.executable, "-c", code], check=False, env={"LOGLEVEL": "debug"})
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("DataError: `text` is empty.\nerror: `text` is empty.\n")


def test_installing_twice_keeps_one_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    excepthook.install()
    once = sys.excepthook
    excepthook.install()
    assert once is not sys.__excepthook__
    assert sys.excepthook is once


def test_hydra_passes_a_mistake_on(capsys: pytest.CaptureFixture[str]) -> None:
    excepthook.install_for_hydra()
    excepthook.install_for_hydra()
    job = JobReturn(overrides=["a=1"], status=JobStatus.FAILED)
    job.return_value = DataError("`text` is empty.")
    with pytest.raises(SystemExit) as caught:
        _ = job.return_value
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: `text` is empty.\n"


def test_hydra_treats_everything_else_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    excepthook.install_for_hydra()
    job = JobReturn(overrides=["a=1"], status=JobStatus.FAILED)
    job.return_value = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        _ = job.return_value
    assert capsys.readouterr().err == "Error executing job with overrides: ['a=1']\n"
    job.status = JobStatus.COMPLETED
    job.return_value = 0.5
    assert job.return_value == 0.5


def test_a_worker_of_a_process_per_gpu_ends_in_one_message_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What arrives is a traceback's text with another one, of the data-loader worker, in it."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(excepthook, "_is_from_a_command", lambda error: True)
    excepthook.install()
    raised = ProcessRaisedException(
        "-- Process 1 terminated with the following error:\n"
        "Traceback (most recent call last):\n"
        "bertkd_fairseq.errors.StoreError: Caught StoreError in DataLoader worker process 0.\n"
        "Original Traceback (most recent call last):\n"
        "bertkd_fairseq.errors.StoreError: 2 problems:\n  1. torn\n  2. worn\n"
    )
    with pytest.raises(SystemExit) as caught:
        sys.excepthook(type(raised), raised, None)
    assert caught.value.code == 2
    assert capfd.readouterr().err == "error: 2 problems:\n  1. torn\n  2. worn\n"


def test_a_mistake_in_a_distributed_training_is_heard(tmp_path: Path) -> None:
    """torch takes stderr away from the hook that was there before its own."""
    done = run_python(
        "from torch import distributed\n"
        f"store = distributed.FileStore({str(tmp_path / 'rendezvous')!r}, 1)\n"
        "distributed.init_process_group('gloo', store=store, rank=0, world_size=1)\n"
        "raise errors.StoreError('the store is torn.')\n"
    )
    assert done.returncode == 2
    assert done.stderr.endswith("error: the store is torn.\n")
    assert "Traceback" not in done.stderr
