"""How long a demo will take here: a measured step of its tiny BERT, and what its stages are worth in such steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertkd_fairseq.demo.running import Record
from bertkd_fairseq.demo.stages import Stage
from bertkd_fairseq.miniature import random_bert
from bertkd_fairseq.precision import AUTO

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

# Fitted to demos on quiet machines with two processors, in float32 and bfloat16.
_STARTS_A_STAGE = 1.5
_STEPS_AN_UPDATE = {"teacher": 4.0, "plain": 7.0, "distilled": 7.0}
_STEPS_A_SENTENCE = 0.8
_STEPS, _VOCABULARY, _LENGTH = 12, 600, 30  # to measure with


def estimated_seconds(stages: Sequence[Stage], record: Record) -> float:
    """Return the seconds that the stages which aren't done will take, measured in about three seconds."""
    start = time.monotonic()
    import fairseq.trainer  # noqa: F401

    model = random_bert(_VOCABULARY, hidden=128, layers=2, seed=1)
    # What every stage begins with, too: its imports.
    start_seconds = time.monotonic() - start
    step = _step_seconds(model, record.precision or AUTO)
    total = 0.0
    for stage in stages:
        if record.is_done(stage):
            continue
        steps = stage.total * _STEPS_AN_UPDATE.get(stage.name, 1.0)
        if stage.name.startswith("translate"):
            steps = stage.total * _STEPS_A_SENTENCE
        total += start_seconds * _STARTS_A_STAGE + steps * step
    return total


def _step_seconds(model: BertForMaskedLM, precision: str) -> float:
    """Return the median seconds of a step of pretraining ``model``."""
    from bertkd_fairseq.demo.pretraining import Pretraining

    rows = [([i % _VOCABULARY for i in range(_LENGTH)], [0] * _LENGTH)] * 32
    half = "fp32" if precision == AUTO else precision
    training = Pretraining(model, rows, steps=_STEPS, seed=1, precision=half)
    seconds = []
    for _ in range(_STEPS):
        start = time.monotonic()
        training.step()
        seconds.append(time.monotonic() - start)
    # The first ones find nothing prepared.
    return statistics.median(seconds[_STEPS // 2 :])
