"""What processes that bertkd starts find in their environment, and that the user's own settings stay."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bertkd_fairseq.process import threads
from tests.conftest import run_command

WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}


@pytest.fixture(autouse=True)
def machine_without_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(threads, "_CGROUP", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)


def without_malloc(environment: dict[str, str]) -> dict[str, str]:
    added = threads.settings(environment)
    assert ("GLIBC_TUNABLES" in added) == (sys.platform == "linux")
    added.pop("GLIBC_TUNABLES", None)
    assert added.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY") == "64"
    return added


def test_waiting_threads_sleep_soon() -> None:
    assert without_malloc({}) == WAITING
    assert without_malloc({"OMP_NUM_THREADS": "3"}) == WAITING


@pytest.mark.parametrize(
    "name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY"]
)
def test_the_users_way_of_waiting_stays(name: str) -> None:
    """Whole: each of these would weigh the others' meaning."""
    assert without_malloc({name: "1"}) == {}


def test_the_users_memory_settings_stay() -> None:
    mine = {"GLIBC_TUNABLES": "", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "1024"}
    assert threads.settings(mine) == WAITING


def test_a_training_keeps_few_primitives_however_it_was_started() -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    code = f"import os, bertkd_fairseq.tasks; print(os.environ['{name}'])"
    for given, wanted in (({}, "64"), ({name: "7"}, "7")):
        done = run_command([sys.executable, "-c", code], env=given)
        assert done.stdout.split()[-1] == wanted


@pytest.mark.parametrize(
    ("affinity", "quota", "processors"),
    [
        (8, None, 8),
        (2, None, 2),
        (8, "max 100000", 8),
        (8, "250000 100000", 2),
        (8, "50000 100000", 1),
        (4, "1600000 100000", 4),
        (8, "nonsense", 8),
    ],
)
def test_processors_that_a_process_may_use(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: str | None, processors: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)))
    if quota:
        threads._CGROUP.write_text(f"{quota}\n")
    assert threads.available_processors() == processors
    limit = {} if processors == 8 else {"OMP_NUM_THREADS": str(processors)}
    assert without_malloc({}) == {**WAITING, **limit}
    assert without_malloc({"OMP_NUM_THREADS": "6"}) == WAITING


def test_no_affinity_on_this_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert threads.available_processors() == 8


def test_every_bertkd_command_is_set_up_before_torch_is_there() -> None:
    code = (
        "import os, sys; from bertkd_fairseq.cli import main; main(['user-dir']); "
        "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    environment = {"GOMP_SPINCOUNT": "77"}
    assert run_command([sys.executable, "-c", code]).stdout.split()[1:] == ["1000", "False"]
    done = run_command([sys.executable, "-c", code], env=environment)
    assert done.stdout.split()[1:] == ["77", "False"]
