"""The device of ``bertkd dump-topk``."""

from __future__ import annotations

import argparse

import pytest
import torch

from bertkd_fairseq.cli import dump_topk as cli
from bertkd_fairseq.dump.config import DumpConfig
from bertkd_fairseq.dump.run import torch_device
from bertkd_fairseq.errors import ConfigurationError


def device_of(name: str | None, local_rank: int = 0) -> torch.device:
    return torch_device(
        DumpConfig(data_bin="x", path="x", destdir="x", device=name, local_rank=local_rank)
    )


@pytest.mark.parametrize(
    ("given", "local_rank", "taken"),
    [
        (None, 0, "cuda:0"),
        (None, 1, "cuda:1"),
        ("cuda", 0, "cuda:0"),
        ("cuda", 1, "cuda:1"),  # under torchrun every process has one of its own
        ("cuda:0", 1, "cuda:0"),
        ("cpu", 1, "cpu"),
    ],
)
def test_with_gpus(
    given: str | None, local_rank: int, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda size, device: None)
    assert device_of(given, local_rank) == torch.device(taken)


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


def test_the_command_line_takes_from_torchrun_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[DumpConfig] = []
    monkeypatch.setattr(cli, "estimate_dump", asked.append)
    monkeypatch.setattr(cli, "asdict", lambda nothing: {})
    options = ["data-bin", "--path", "x", "--destdir", "x", "--dry-run"]
    names = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
    for values in ((), (8, 5, 1)):
        for name in names:
            monkeypatch.delenv(name, raising=False)
        for name, value in zip(names, values, strict=False):
            monkeypatch.setenv(name, str(value))
        parser = argparse.ArgumentParser()
        cli.add_arguments(parser)
        assert cli.run(parser.parse_args(options)) == 0
    seen = [(config.num_shards, config.shard_id, config.local_rank) for config in asked]
    assert seen == [(1, 0, 0), (8, 5, 1)]
