"""The device of ``bertkd dump-topk``."""

from __future__ import annotations

import pytest
import torch

from bertkd_fairseq.dump.config import DumpConfig
from bertkd_fairseq.dump.run import torch_device
from bertkd_fairseq.errors import ConfigurationError


def device_of(name: str | None) -> torch.device:
    return torch_device(DumpConfig(data_bin="x", path="x", destdir="x", device=name))


@pytest.mark.parametrize(
    ("given", "rank", "taken"),
    [
        (None, None, "cuda:0"),
        (None, "1", "cuda:1"),
        ("cuda", None, "cuda:0"),
        ("cuda", "1", "cuda:1"),  # under torchrun every process has one of its own
        ("cuda:0", "1", "cuda:0"),
        ("cpu", "1", "cpu"),
    ],
)
def test_with_gpus(
    given: str | None, rank: str | None, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda size, device: None)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert device_of(given) == torch.device(taken)


def test_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(None) == torch.device("cpu")


def test_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(size: int, device: torch.device) -> None:
        raise RuntimeError("CUDA error: invalid device ordinal\nCompile with")

    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(ConfigurationError) as caught:
        device_of("cuda:7")
    assert str(caught.value) == (
        "DumpConfig.device cuda:7 can't be used here: CUDA error: invalid device ordinal."
    )
