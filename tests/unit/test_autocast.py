"""--autocast-bf16: what the criterion runs under, and that nothing of it is left behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bertkd_fairseq.autocast import AutocastMixin


class StepsOfFairseq:
    """A task's steps as the mixin needs them: the criterion's answer, returned."""

    def train_step(self, sample: Any, model: Any, criterion: Any) -> Any:
        return criterion(model, sample)

    def valid_step(self, sample: Any, model: Any, criterion: Any) -> Any:
        return criterion(model, sample)


class Task(AutocastMixin, StepsOfFairseq):
    def __init__(self, autocast_bf16: bool) -> None:
        self.cfg = SimpleNamespace(autocast_bf16=autocast_bf16)


def attend(model: torch.nn.Linear, sample: torch.Tensor) -> tuple[torch.Tensor, dict[str, bool]]:
    """Self-attention (N, H, T, D) and the name of its node in the graph: which kernel was taken."""
    hidden = model(sample)
    attended = F.scaled_dot_product_attention(hidden, hidden, hidden)
    flash = "Flash" in attended.grad_fn.name() if attended.grad_fn else False
    return attended, {"autocast": torch.is_autocast_enabled("cpu"), "flash": flash}


@pytest.mark.parametrize("step", ["train_step", "valid_step"])
@pytest.mark.parametrize(
    ("asked_for", "kernel_and_mode", "dtype"),
    [
        (True, {"autocast": True, "flash": False}, torch.bfloat16),
        (False, {"autocast": False, "flash": True}, torch.float32),
    ],
)
def test_what_the_criterion_runs_under(
    step: str, asked_for: bool, kernel_and_mode: dict[str, bool], dtype: torch.dtype
) -> None:
    model, sample = torch.nn.Linear(8, 8), torch.randn(2, 2, 5, 8)
    attended, seen = getattr(Task(asked_for), step)(sample, model, attend)
    assert seen == kernel_and_mode
    assert attended.dtype == dtype
    assert not torch.is_autocast_enabled("cpu")
    assert torch.backends.cuda.flash_sdp_enabled()  # the flag that the CPU's kernels go by as well
