"""Pretrain the demo's tiny BERT by masked language modelling, from the last checkpoint if there is one."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from bertkd_fairseq.demo.tiny_bert import SPECIAL_TOKENS
from bertkd_fairseq.files import whole_file
from bertkd_fairseq.precision import dtype_of

log = logging.getLogger(__name__)

#: Share of tokens masked: more than BERT's 15%, since minutes have to do.
MASK_RATE = 0.3

_BATCH_SIZE = 32
_LEARNING_RATE = 1.5e-3
_STEPS_A_CHECKPOINT = 500
_STEPS_A_LINE = 100

Row = tuple[Sequence[int], Sequence[int]]
"""Token ids and token types of one pair of sentences."""


class Pretraining:
    """``steps`` steps of masked language modelling on ``rows``, forward passes in ``precision``."""

    def __init__(
        self, model: torch.nn.Module, rows: Sequence[Row], *, steps: int, seed: int, precision: str
    ) -> None:
        self.model, self.steps, self.done = model, steps, 0
        # Neighbours in length order, so that hardly any padding is computed.
        self.rows = sorted(rows, key=lambda row: len(row[0]))
        self.rng, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=_LEARNING_RATE, weight_decay=0.01, fused=True
        )
        warmup = max(1, steps // 10)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda s: min((s + 1) / warmup, (steps - s) / max(1, steps - warmup))
        )
        self.precision = precision

    def run(self, checkpoint: Path) -> None:
        """Take all steps, beginning at ``checkpoint`` if it is there; the file is gone at the end."""
        if checkpoint.is_file():
            self._load(checkpoint)
            log.info("tiny BERT: continuing from step %d", self.done)
        self.model.train()
        total = 0.0
        while self.done < self.steps:
            total += self.step()
            if self.done % _STEPS_A_LINE == 0 or self.done == self.steps:
                mean = total / (self.done % _STEPS_A_LINE or _STEPS_A_LINE)
                log.info("tiny BERT: step %d of %d, loss %.3f", self.done, self.steps, mean)
                total = 0.0
            if self.done % _STEPS_A_CHECKPOINT == 0 and self.done < self.steps:
                self._save(checkpoint)
        checkpoint.unlink(missing_ok=True)

    def step(self) -> float:
        """Take one step and return its loss."""
        start = self.rng.randrange(max(1, len(self.rows) - _BATCH_SIZE + 1))
        batch = self.rows[start : start + _BATCH_SIZE]
        pad_id, mask_id = SPECIAL_TOKENS.index("[PAD]"), SPECIAL_TOKENS.index("[MASK]")
        ids, types = (
            pad_sequence([torch.tensor(row[i]) for row in batch], True, padding)  # (N, T)
            for i, padding in ((0, pad_id), (1, 0))
        )
        drawn = torch.rand(ids.shape, generator=self.generator) < MASK_RATE
        masked = drawn & (ids >= len(SPECIAL_TOKENS))
        masked[:, 1] |= ~masked.any(1)
        with self._autocast():
            loss: torch.Tensor = self.model(
                input_ids=ids.masked_fill(masked, mask_id),
                attention_mask=ids.ne(pad_id).long(),
                token_type_ids=types,
                labels=ids.masked_fill(~masked, -100),
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        return loss.item()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast("cpu", dtype=dtype_of(self.precision))

    def _save(self, path: Path) -> None:
        version, numbers, gauss = self.rng.getstate()
        state = {
            "done": self.done,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generators": (self.generator.get_state(), torch.get_rng_state()),
            "rng": (version, list(numbers), gauss),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            torch.save(state, partial)

    def _load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.done = state["done"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generators"][0])
        torch.set_rng_state(state["generators"][1])
        version, numbers, gauss = state["rng"]
        self.rng.setstate((version, tuple(numbers), gauss))
