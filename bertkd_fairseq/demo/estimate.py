"""How long a demo will take here: its stages in starts of Python and in steps of its tiny BERT, both measured."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from bertkd_fairseq.demo.running import Record
from bertkd_fairseq.demo.stages import Stage
from bertkd_fairseq.demo.tiny_bert import random_bert
from bertkd_fairseq.precision import AUTO

# Fitted to demos on a quiet machine with two processors, in float32 and bfloat16.
_STARTS_A_STAGE = 3.5
_STEPS = {"language": 0.85, "teacher": 1.3, "plain": 3.1, "distilled": 3.1}  # in one of its units
_STEPS_A_SENTENCE = 0.07
_FEW_STEPS = 100  # not worth a measurement

_MEASURED, _VOCABULARY, _LENGTH = 12, 600, 30


def estimated_seconds(stages: Sequence[Stage], record: Record) -> float:
    """Return the seconds that the stages which aren't done will take, measured in a few seconds."""
    left = [stage for stage in stages if not record.is_done(stage)]
    steps = sum(stage.total * _STEPS.get(stage.name, _STEPS_A_SENTENCE) for stage in left)
    seconds = len(left) * _STARTS_A_STAGE * _start_seconds()
    if steps > _FEW_STEPS:
        seconds += steps * _step_seconds(record.precision or AUTO)
    return seconds


def _start_seconds() -> float:
    """Return the seconds that Python takes to start and import torch, as every stage does."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.monotonic() - start


def _step_seconds(precision: str) -> float:
    """Return the median seconds of a step of pretraining a BERT of the demo's size."""
    from bertkd_fairseq.demo.pretraining import Pretraining

    model = random_bert(_VOCABULARY, hidden=128, layers=2, seed=1)
    rows = [([i % _VOCABULARY for i in range(_LENGTH)], [0] * _LENGTH)] * 32
    half = "fp32" if precision == AUTO else precision
    training = Pretraining(model, rows, steps=_MEASURED, seed=1, precision=half)
    seconds = []
    for _ in range(_MEASURED):
        start = time.monotonic()
        training.step()
        seconds.append(time.monotonic() - start)
    # The first ones find nothing prepared.
    return statistics.median(seconds[_MEASURED // 2 :])
