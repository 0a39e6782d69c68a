"""Estimate how long a dump will take, by a measurement of a few seconds on any machine."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bertkd_fairseq.dump.rows import Asked, BlockDump, token_batches

SECONDS = 6.0
"""How long a measurement takes. With loading, an estimate then takes less than 20 seconds."""

SENTENCES = 1024
_FEW_BATCHES = 4


@dataclass(frozen=True)
class Rate:
    """Target tokens a second. ``rough``: True if only batches smaller than the dump's could be measured."""

    tokens_per_second: float
    rough: bool


def measure_rate(dump: BlockDump[Any], sentences: Sequence[int], seconds: float = SECONDS) -> Rate:
    """Ask the teacher about ``sentences`` for the given time, in the dump's batches but in random order.

    If whole batches would take too long, smaller ones are used, and the rate is rough.
    """
    shuffled = random.Random(1)
    copies = dump.copies(sentences)
    shuffled.shuffle(copies)
    end = time.monotonic() + seconds
    # The first call also does work that later calls don't repeat. If it was fast, a second, larger one is measured.
    probe, spent = copies[:1], _seconds(dump, copies[:1])
    if len(copies) > 1 and spent < seconds / 16:
        probe, spent = copies[1:9], _seconds(dump, copies[1:9])
    a_position = spent / sum(map(len, probe))
    affordable = (end - time.monotonic()) / _FEW_BATCHES / a_position
    max_tokens = min(dump.max_tokens, int(affordable))
    batches = list(token_batches(copies, max_tokens))
    shuffled.shuffle(batches)
    tokens, spent = 0, 0.0
    for batch in batches:
        spent += _seconds(dump, batch)
        tokens += sum(len(copy.rows) for copy in batch)
        if time.monotonic() > end:
            break
    return Rate(tokens / spent, rough=max_tokens < dump.max_tokens)


def _seconds(dump: BlockDump[Any], batch: Sequence[Asked]) -> float:
    start = time.monotonic()
    dump.ask(batch)
    return time.monotonic() - start
