"""``bertkd doctor`` finds what is broken, says what to do, and is content with a sound set-up."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertkd_fairseq import __version__, precision
from bertkd_fairseq.cli import main
from bertkd_fairseq.doctor import checks as doctor
from bertkd_fairseq.doctor.checks import BROKEN, NOTE, OK, Finding
from bertkd_fairseq.doctor.report import format_findings
from bertkd_fairseq.process import threads
from tests.conftest import BERTKD, run_command


def pretend_installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    """Make only the distributions of ``versions`` look installed."""

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


def pretend_checks(monkeypatch: pytest.MonkeyPatch, **findings: Finding) -> None:
    """Replace all checks by ones that find ``findings``."""
    checks = {name: (lambda finding=finding: finding) for name, finding in findings.items()}
    monkeypatch.setattr(doctor, "CHECKS", checks)


def test_this_environment_is_healthy(tmp_path: Path) -> None:
    done = run_command([*BERTKD, "doctor", "--json", tmp_path / "doctor.json"], cwd=tmp_path)
    assert done.stdout.startswith(f"bertkd-fairseq {__version__}\n")
    assert done.stdout.endswith("\neverything needed works\n")
    report = json.loads((tmp_path / "doctor.json").read_text("utf-8"))
    assert report["version"] == __version__
    assert report["healthy"] is True
    assert list(report["findings"]) == list(doctor.CHECKS)
    assert report["findings"]["malicious checkpoint"] == {
        "status": "ok",
        "seen": "refused, and nothing in it was run",
        "advice": "",
    }


@pytest.mark.parametrize(
    ("built_for", "finding"),
    [
        (None, Finding(OK, "this torch is built for CPU only: everything runs on the CPU")),
        (
            "12.6",
            Finding(
                NOTE,
                "torch is built for CUDA 12.6, but sees no GPU",
                "everything runs on the CPU; if there is a GPU, check nvidia-smi and the driver",
            ),
        ),
    ],
)
def test_without_a_gpu_nothing_has_to_be_done(
    monkeypatch: pytest.MonkeyPatch, built_for: str | None, finding: Finding
) -> None:
    torch = importlib.import_module("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    assert doctor.check_cuda() == finding


def test_findings_are_aligned_and_end_with_a_verdict() -> None:
    findings = {
        "torch": Finding(OK, "2.13.0"),
        "transformers": Finding(BROKEN, "missing", "install it"),
        "CUDA": Finding(NOTE, "no GPU", "pass --cpu"),
    }
    assert format_findings(findings) == (
        f"bertkd-fairseq {__version__}\n"
        "ok      torch         2.13.0\n"
        "BROKEN  transformers  missing\n"
        "                      -> install it\n"
        "note    CUDA          no GPU\n"
        "                      -> pass --cpu\n"
        "broken: transformers"
    )


def test_broken_gives_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_checks(monkeypatch, torch=Finding(BROKEN, "2.0", "newer"))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.endswith("broken: torch\n")


def test_notes_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_checks(monkeypatch, CUDA=Finding(NOTE, "none"))
    assert main(["doctor"]) == 0


def test_check_that_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> Finding:
        raise OSError("libfoo.so:\n no such file")

    monkeypatch.setattr(doctor, "CHECKS", {"foo": check})
    assert doctor.examine() == {
        "foo": Finding(BROKEN, "OSError: libfoo.so: no such file", doctor.REINSTALL)
    }


def test_json_into_a_missing_folder_is_refused_before_the_checks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", None)
    path = tmp_path / "missing/doctor.json"
    assert main(["doctor", "--json", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"error: `--json` must be a file in a folder that exists, but is {path} instead.\n"
    )


@pytest.mark.parametrize(
    ("version", "status"),
    [("2.5.1", BROKEN), ("1.13.0", BROKEN), ("2.6.0", OK), ("2.13.0+cpu", OK), ("3.0.0a1", OK)],
)
def test_torch_version(monkeypatch: pytest.MonkeyPatch, version: str, status: str) -> None:
    monkeypatch.setattr("torch.__version__", version)
    assert doctor.check_torch().status == status


def test_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert doctor.check_python().status == BROKEN


def test_two_fairseqs_are_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, {"fairseq": "0.12.2", "fairseq-fixed": "0.12.3.1"})
    finding = doctor.check_fairseq()
    assert finding.status == BROKEN
    assert finding.seen == "fairseq 0.12.2 and fairseq-fixed 0.12.3.1 overwrite each other"


def test_fairseq_that_can_not_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, {"fairseq": "0.12.2"})
    monkeypatch.setitem(sys.modules, "fairseq", None)
    finding = doctor.check_fairseq()
    assert finding.status == BROKEN
    assert finding.seen.startswith("fairseq 0.12.2; ModuleNotFoundError: ")
    assert "pip install fairseq-fixed" in finding.advice


@pytest.mark.parametrize(
    ("installed", "found", "status", "seen"),
    [
        ({}, {}, OK, "not installed, and not needed"),
        ({"torchaudio": "0.8.0+empty"}, {}, OK, "not installed, and not needed"),
        (
            {"torchaudio": "2.11.0"},
            {"torchaudio": None},
            NOTE,
            "2.11.0 can't be imported with this torch; hidden from transformers, nothing here needs it",
        ),
        ({"torchaudio": "2.11.0"}, {"torchaudio": argparse}, OK, "2.11.0 can be imported"),
    ],
)
def test_torchaudio(
    monkeypatch: pytest.MonkeyPatch,
    installed: dict[str, str],
    found: dict[str, Any],
    status: str,
    seen: str,
) -> None:
    pretend_installed(monkeypatch, installed)
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    monkeypatch.setattr("bertkd_fairseq.compat.apply", lambda: sys.modules.update(found))
    finding = doctor.check_torchaudio()
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    assert (finding.status, finding.seen) == (status, seen)


@pytest.mark.parametrize("load", [lambda path: None, "torch.load"])
def test_malicious_checkpoint_that_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, load: str | Callable[[str], Any]
) -> None:
    def load_unprotected(path: str) -> Any:
        return importlib.import_module("torch").load(path, weights_only=False)

    # Once nothing is refused, and once the trap springs as well.
    unsafe = load_unprotected if load == "torch.load" else load
    monkeypatch.setattr("fairseq.checkpoint_utils.load_checkpoint_to_cpu", unsafe)
    finding = doctor.check_malicious_checkpoint()
    assert finding.status == BROKEN
    assert finding.seen == "a checkpoint can run code when it is loaded"


def test_missing_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TASKS", ("bert_cmlm", "nowhere"))
    finding = doctor.check_plugin()
    assert finding.status == BROKEN
    assert finding.seen.endswith(" doesn't register nowhere")


@pytest.mark.parametrize("beside", ["nothing", "another", "this"])
def test_user_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, beside: str) -> None:
    site = tmp_path.resolve()
    plugin = site / "bertkd_fairseq"
    elsewhere = site / "checkout/bertkd_fairseq"
    if beside != "nothing":
        plugin.mkdir()
    monkeypatch.setattr("fairseq.__file__", str(site / "fairseq/__init__.py"))
    here = plugin if beside == "this" else elsewhere
    monkeypatch.setattr("bertkd_fairseq.__file__", str(here / "__init__.py"))
    finding = doctor.check_user_dir()
    assert finding.status == (OK if beside == "this" else NOTE)
    assert beside == "this" or f"--user-dir {elsewhere}" in finding.advice


@pytest.mark.parametrize(
    ("speed", "seen"),
    [
        (
            0.03,
            "bfloat16 at 0.03 of float32's speed on this CPU; --precision auto takes float32",
        ),
        (
            3.6,
            "bfloat16 at 3.60 of float32's speed on this CPU; --precision auto takes bfloat16",
        ),
    ],
)
def test_precision_is_measured(monkeypatch: pytest.MonkeyPatch, speed: float, seen: str) -> None:
    monkeypatch.setattr(precision, "cpu_speed", lambda name: speed)
    assert doctor.check_precision() == Finding(OK, seen)


@pytest.mark.parametrize(
    ("processors", "seconds", "finding"),
    [
        (1, {}, Finding(OK, "1 of 4 processors for this process")),
        (
            2,
            {1: 0.08, 2: 0.05},
            Finding(
                OK, "2 of 4 processors for this process; 2 threads take 0.62 of the time of one"
            ),
        ),
        (
            2,
            {1: 0.08, 2: 0.7},
            Finding(
                NOTE,
                "2 of 4 processors for this process; 2 threads take 8.75 of the time of one",
                "other work keeps the processors busy: export OMP_NUM_THREADS=1 while it does",
            ),
        ),
    ],
)
def test_threads_are_measured(
    monkeypatch: pytest.MonkeyPatch,
    processors: int,
    seconds: dict[int, float],
    finding: Finding,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(threads, "available_processors", lambda: processors)
    monkeypatch.setattr(threads, "step_seconds", lambda numbers: seconds)
    assert doctor.check_threads() == finding


def test_exports_are_what_the_user_has_not_set(tmp_path: Path) -> None:
    """As a shell takes them: evaluated, they are all set, and the next call has nothing to add."""
    bertkd = shlex.join([*BERTKD, "doctor", "--exports"])
    names = "OMP_WAIT_POLICY GOMP_SPINCOUNT KMP_BLOCKTIME KMP_LIBRARY"
    script = f'unset {names}; eval "$({bertkd})"; echo "$GOMP_SPINCOUNT $PRECISION"; {bertkd}'
    unset = {name: "" for name in ("GLIBC_TUNABLES", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")}
    done = run_command(["bash", "-c", script], env={"OMP_NUM_THREADS": "1", **unset})
    spin_count, chosen = done.stdout.split()
    assert spin_count == "1000"
    assert chosen in ("fp32", "bf16")
    user = {"GOMP_SPINCOUNT": "5", "PRECISION": "fp32"}
    assert run_command([*BERTKD, "doctor", "--exports"], env={**user, **unset}).stdout == ""


def test_the_report_ends_with_the_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "added", lambda: {"OMP_WAIT_POLICY": "passive", "A": "b c"})
    assert format_findings({"torch": Finding(OK, "2.13.0")}).splitlines()[2:] == [
        "set these for fairseq-train, as bertkd does for itself:",
        "export OMP_WAIT_POLICY=passive",
        "export A='b c'",
        "everything needed works",
    ]


def test_what_is_required_is_not_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert doctor.examine_one(doctor.check_text_tools).status == BROKEN
    assert "matplotlib" not in doctor.check_optional().seen
