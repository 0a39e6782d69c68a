"""The message grammar, and how a user's mistake ends a program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch._utils import ExceptionWrapper

from bertkd_fairseq.errors import (
    ConfigurationError,
    DataError,
    StoreError,
    must_be,
    raise_all,
    report,
)
from tests.conftest import run_command


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return run_command([sys.executable, "-c", code], check=False)


def test_must_be_says_wanted_and_seen() -> None:
    assert must_be("--topk", "at least 1", 0) == "`--topk` must be at least 1, but is 0 instead."
    assert must_be("x", "1", 2, "Do so.") == "`x` must be 1, but is 2 instead. Do so."


def test_raise_all_raises_nothing_for_nothing() -> None:
    raise_all([])


def test_raise_all_keeps_a_single_message_as_it_is() -> None:
    with pytest.raises(ConfigurationError) as caught:
        raise_all(["only one"])
    assert str(caught.value) == "only one"


def test_raise_all_numbers_many_messages() -> None:
    with pytest.raises(DataError) as caught:
        raise_all((text for text in ("first", "second")), DataError)
    assert str(caught.value) == "2 problems:\n  1. first\n  2. second"


def test_report_is_heard_where_print_is_silenced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As fairseq does in every process but the first."""
    monkeypatch.setattr("builtins.print", lambda *args, **kwargs: None)
    report(DataError("`x` is empty."))
    assert capsys.readouterr().err == "error: `x` is empty.\n"


def test_report_prints_to_stderr_and_returns_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(DataError("`x` is empty.")) == 2
    assert capsys.readouterr() == ("", "error: `x` is empty.\n")


def test_uncaught_mistake_of_the_user_is_one_message_and_exit_code_2() -> None:
    done = run_python(
        "from bertkd_fairseq import errors\n"
        "errors.install_excepthook(); errors.install_excepthook()\n"
        "raise errors.StoreError('`store` must be whole, but is torn instead.')\n"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: `store` must be whole, but is torn instead.\n"


def test_what_a_data_loader_worker_raised_is_one_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """torch raises the same class again, with the text of the worker's traceback for a message."""
    try:
        raise StoreError("the store is torn.")
    except StoreError:
        raised = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(StoreError, match="Caught StoreError in DataLoader worker") as caught:
        raised.reraise()
    assert report(caught.value) == 2
    assert capsys.readouterr().err == "error: the store is torn.\n"


def test_what_one_of_fairseqs_processes_raised_is_one_message() -> None:
    """It arrives as the text of a traceback, here with that of a data-loader worker in it."""
    text = (
        "-- Process 1 terminated with the following error:\n"
        "Traceback (most recent call last):\n"
        "bertkd_fairseq.errors.StoreError: Caught StoreError in DataLoader worker process 0.\n"
        "Original Traceback (most recent call last):\n"
        "bertkd_fairseq.errors.StoreError: 2 problems:\n  1. torn\n  2. worn\n"
    )
    done = run_python(
        "from bertkd_fairseq import errors; errors.install_excepthook()\n"
        "class ProcessRaisedException(Exception): pass\n"
        f"raise ProcessRaisedException({text!r})"
    )
    assert (done.returncode, done.stderr) == (2, "error: 2 problems:\n  1. torn\n  2. worn\n")


def test_a_mistake_in_a_distributed_training_is_heard(tmp_path: Path) -> None:
    """torch takes stderr away from the hook that was there before its own."""
    done = run_python(
        "from torch import distributed\n"
        "from bertkd_fairseq import errors; errors.install_excepthook()\n"
        f"store = distributed.FileStore({str(tmp_path / 'rendezvous')!r}, 1)\n"
        "distributed.init_process_group('gloo', store=store, rank=0, world_size=1)\n"
        "raise errors.StoreError('the store is torn.')\n"
    )
    assert done.returncode == 2
    assert done.stderr.endswith("error: the store is torn.\n")
    assert "Traceback" not in done.stderr


def test_any_other_exception_keeps_its_traceback() -> None:
    done = run_python(
        "from bertkd_fairseq import errors; errors.install_excepthook(); raise ValueError('a bug')"
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("ValueError: a bug\n")


def test_installing_twice_keeps_one_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    from bertkd_fairseq import errors

    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    errors.install_excepthook()
    once = sys.excepthook
    errors.install_excepthook()
    assert once is not sys.__excepthook__
    assert sys.excepthook is once
