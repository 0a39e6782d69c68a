"""Which precision to compute in, decided in one place: by a measurement on CPUs, by what the hardware has on GPUs.

The names of CPUs and their feature flags don't tell: bfloat16 is four times as fast as float32 on some
CPUs and runs at a hundredth of its speed on others. Only a measurement does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from bertkd_fairseq.errors import ConfigurationError, must_be

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

AUTO = "auto"
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Each precision's full name, which is torch's as well."""
CHOICES = (AUTO, *PRECISIONS)

WORTHWHILE = 1.2
"""How many times as fast as float32 bfloat16 must be to be chosen: below, what it rounds isn't worth it."""

# One layer's share of a batch in a BERT of 384 units: 150 million operations, 0.14 s on the slowest CPU met.
_PRODUCT = (128, 384, 1536)
_ROUNDS = 8
_SECONDS = 0.04  # per precision; the first product may take longer, and is then the only one


def dtype_of(precision: str) -> torch.dtype:
    """Return torch's type of a precision."""
    import torch

    dtype: torch.dtype = getattr(torch, PRECISIONS[precision])
    return dtype


def choose(asked: str, device_type: str = "cpu") -> str:
    """Return ``asked``, or for ``auto`` what is fastest on this device, and say in the log why.

    On a CPU ``auto`` measures float32 against bfloat16, once per process. On CUDA it is bfloat16 where the GPU
    has it, else float16. Other devices get float32.

    :raises ConfigurationError: if ``asked`` is no precision.
    """
    if asked not in CHOICES:
        raise ConfigurationError(must_be("--precision", f"one of {', '.join(CHOICES)}", asked))
    if device_type == "cpu":
        return _choose_for_cpu(asked)
    import torch

    chosen = asked
    if asked == AUTO:
        chosen = "fp32"
        if device_type == "cuda":
            chosen = "bf16" if torch.cuda.is_bf16_supported(False) else "fp16"
    log.info("precision: %s", PRECISIONS[chosen])
    return chosen


def _choose_for_cpu(asked: str) -> str:
    if asked == "fp32":
        log.info("precision: float32")
        return asked
    half = "bf16" if asked == AUTO else asked
    name, speed = PRECISIONS[half], cpu_speed(half)
    if asked == AUTO and speed < WORTHWHILE:
        log.info("precision: float32; %s runs at %.2f of its speed on this CPU", name, speed)
        return "fp32"
    if speed < 1:
        log.warning("precision: %s, at %.2f of float32's speed on this CPU", name, speed)
    else:
        log.info("precision: %s, %.1f times as fast as float32 on this CPU", name, speed)
    return half


@cache
def cpu_speed(precision: str) -> float:
    """Return how fast this CPU multiplies matrices in ``precision``, as a multiple of float32.

    The casts from and to float32 are part of it, as under autocast. The two take turns and the best of each
    counts. One thread computes, and only its own processor time counts: other work on the machine, for which threads
    have to wait, misleads nobody. Takes less than 0.3 seconds of it.
    """
    import torch
    from torch.nn import functional

    samples, inputs, outputs = _PRODUCT
    x, weight = torch.randn(samples, inputs), torch.randn(outputs, inputs)
    best = dict.fromkeys(("fp32", precision), float("inf"))
    spent = dict.fromkeys(best, 0.0)
    with _one_thread(), torch.inference_mode():
        for _ in range(_ROUNDS):
            for name in best:
                if spent[name] > _SECONDS:
                    continue
                dtype = dtype_of(name)
                start = time.thread_time()
                functional.linear(x.to(dtype), weight.to(dtype)).float()
                seconds = time.thread_time() - start
                best[name], spent[name] = min(best[name], seconds), spent[name] + seconds
    return best["fp32"] / best[precision]


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
