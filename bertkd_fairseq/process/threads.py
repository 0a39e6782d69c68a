"""How processes that bertkd starts share the processors: settings for their environment.

OpenMP's threads wait for each other by spinning. On a quiet machine that is fastest; beside other work the
spinning takes the processors from the very threads that are waited for, and a step takes ten times as long
(docs/machines.md has the measurements). A short spin before going to sleep is never much worse than the best.
Most of these libraries read their settings when they are loaded or when a process starts, so they have to be in the
environment before that. What the user has set stays.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
"""Every OpenMP knows the first; libgomp, which PyTorch's wheels for Linux bring, goes by the second."""

_WAITING_TOO = ("KMP_BLOCKTIME", "KMP_LIBRARY")

_LARGE = 4_000_000_000
_MALLOC = {
    "GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={_LARGE}:glibc.malloc.trim_threshold={_LARGE}"
    ":glibc.malloc.top_pad=64000000"
}
"""Memory that is freed stays with the process: faulting it in anew takes a seventh to a third of an update."""

_PRIMITIVES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}
"""oneDNN keeps what it has built for the last 1,024 shapes of operands, and its memory. In training hardly any shape
comes again: the number of masked tokens is another in every batch."""

_CGROUP = Path("/sys/fs/cgroup/cpu.max")


def settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables to add to ``environment`` for a process that computes."""
    added: dict[str, str] = {}
    if not any(name in environment for name in (*_WAITING, *_WAITING_TOO)):
        added |= _WAITING
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in environment:
        added |= _MALLOC
    added |= {name: value for name, value in _PRIMITIVES.items() if name not in environment}
    processors = available_processors()
    if "OMP_NUM_THREADS" not in environment and processors < (os.cpu_count() or 1):
        added["OMP_NUM_THREADS"] = str(processors)
    return added


def keep_few_primitives() -> None:
    """Let oneDNN, which reads this when it first computes, keep the operations of few shapes, unless the user says."""
    for name, value in _PRIMITIVES.items():
        os.environ.setdefault(name, value)


_added: dict[str, str] = {}


def apply() -> None:
    """Add :func:`settings` to this process' environment: before torch is loaded, and for all that it starts."""
    _added.update(settings())
    os.environ.update(_added)


def added() -> dict[str, str]:
    """Return what :func:`apply` has added."""
    return dict(_added)


def step_seconds(num_threads: Sequence[int], rounds: int = 5) -> dict[int, float]:
    """Return the median seconds of a small step of work, as of a student's layer, with so many threads of torch.

    The numbers of threads take turns, so that other work on the machine meets all of them.
    """
    import torch
    from torch.nn import functional

    before = torch.get_num_threads()
    x, weight = torch.randn(512, 256), torch.randn(256, 256)
    seconds: dict[int, list[float]] = {number: [] for number in num_threads}
    try:
        for _ in range(rounds + 1):
            for number, times in seconds.items():
                torch.set_num_threads(number)
                start = time.perf_counter()
                for _ in range(20):
                    functional.layer_norm(functional.linear(x, weight), (256,))
                times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    # The first round starts the threads.
    return {number: statistics.median(times[1:]) for number, times in seconds.items()}


def available_processors() -> int:
    """Return how many processors this process may use: containers and batch systems limit it."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    try:
        quota, period = _CGROUP.read_text("ascii").split()
        count = min(count, max(1, math.floor(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # no such limit: the file is absent, or says "max"
    return count
