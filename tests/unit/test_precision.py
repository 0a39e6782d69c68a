"""--precision: what is measured, what is chosen, what is said; and what a training's criterion then runs under."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fairseq.tasks.fairseq_task import StatefulContainer

from bertkd_fairseq import precision
from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.tasks.precision import LEFT_TO_FAIRSEQ, AutocastMixin


@pytest.fixture(autouse=True)
def all_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def set_speed(monkeypatch: pytest.MonkeyPatch, **speeds: float) -> None:
    """Pretend that a measurement gave ``speeds``, as multiples of float32's."""
    monkeypatch.setattr(precision, "cpu_speed", speeds.__getitem__)


@pytest.mark.parametrize(
    ("asked", "speed", "chosen", "level", "line"),
    [
        ("auto", 3.64, "bf16", "INFO", "bfloat16, 3.6 times as fast as float32 on this CPU"),
        ("auto", 0.031, "fp32", "INFO", "float32; bfloat16 runs at 0.03 of its speed on this CPU"),
        ("auto", 1.1, "fp32", "INFO", "float32; bfloat16 runs at 1.10 of its speed on this CPU"),
        ("bf16", 1.1, "bf16", "INFO", "bfloat16, 1.1 times as fast as float32 on this CPU"),
        ("bf16", 0.031, "bf16", "WARNING", "bfloat16, at 0.03 of float32's speed on this CPU"),
        ("fp16", 0.25, "fp16", "WARNING", "float16, at 0.25 of float32's speed on this CPU"),
        ("fp32", 0.031, "fp32", "INFO", "float32"),
    ],
)
def test_choice_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    asked: str,
    speed: float,
    chosen: str,
    level: str,
    line: str,
) -> None:
    set_speed(monkeypatch, bf16=speed, fp16=speed)
    assert precision.choose(asked) == chosen
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        (level, f"precision: {line}")
    ]


@pytest.mark.parametrize(("has_bf16", "chosen"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_a_gpu_is_what_it_has(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert precision.choose("auto", "cuda") == chosen
    assert precision.choose("fp32", "cuda") == "fp32"
    assert precision.choose("auto", "mps") == "fp32"


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        precision.choose("half")
    assert str(caught.value) == (
        "`--precision` must be one of auto, fp32, bf16, fp16, but is half instead."
    )


def test_measurement_compares_the_two_and_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that takes 50 ms in bfloat16 and 2 ms in float32 is 0.04 as fast, and given up at once."""
    now, calls, threads = 0.0, [], torch.get_num_threads()

    def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        nonlocal now
        calls.append(x.dtype)
        assert torch.get_num_threads() == 1
        # Other work disturbs the first of float32.
        now += 0.05 if x.dtype == torch.bfloat16 else 0.002 if len(calls) > 1 else 0.03
        return x

    monkeypatch.setattr(F, "linear", linear)
    monkeypatch.setattr(precision, "time", SimpleNamespace(thread_time=lambda: now))
    precision.cpu_speed.cache_clear()
    try:
        assert precision.cpu_speed("bf16") == pytest.approx(0.04)
        assert calls.count(torch.bfloat16) == 1
        assert calls.count(torch.float32) > 1
        assert torch.get_num_threads() == threads
        counted = len(calls)
        precision.cpu_speed("bf16")
        assert len(calls) == counted
    finally:
        precision.cpu_speed.cache_clear()


class StepsOfFairseq:
    """A task's steps as the mixin needs them: the criterion's answer, returned."""

    def train_step(self, sample: Any, model: Any, criterion: Any) -> Any:
        return criterion(model, sample)

    def valid_step(self, sample: Any, model: Any, criterion: Any) -> Any:
        return criterion(model, sample)


class Task(AutocastMixin, StepsOfFairseq):
    def __init__(self, asked: str, save_dir: Path, **options: Any) -> None:
        self.state = StatefulContainer()
        defaults = {"autocast_bf16": False, "restore_file": "checkpoint_last.pt"}
        options = {**defaults, "reset_optimizer": False, **options}
        self.cfg = SimpleNamespace(precision=asked, save_dir=str(save_dir), **options)


def attend(model: torch.nn.Linear, sample: torch.Tensor) -> tuple[torch.Tensor, dict[str, bool]]:
    """Self-attention (N, H, T, D) and the name of its node in the graph: which kernel was taken."""
    hidden = model(sample)
    attended = F.scaled_dot_product_attention(hidden, hidden, hidden)
    flash = "Flash" in attended.grad_fn.name() if attended.grad_fn else False
    return attended, {"autocast": torch.is_autocast_enabled("cpu"), "flash": flash}


def run_step(task: Task, step: str = "train_step", dtype: torch.dtype = torch.float32) -> Any:
    model, sample = torch.nn.Linear(8, 8).to(dtype), torch.randn(2, 2, 5, 8, dtype=dtype)
    return getattr(task, step)(sample, model, attend)


@pytest.mark.parametrize("step", ["train_step", "valid_step"])
@pytest.mark.parametrize(
    ("asked", "options", "kernel_and_mode", "dtype"),
    [
        ("bf16", {}, {"autocast": True, "flash": False}, torch.bfloat16),
        ("auto", {"autocast_bf16": True}, {"autocast": True, "flash": False}, torch.bfloat16),
        ("fp32", {}, {"autocast": False, "flash": True}, torch.float32),
    ],
)
def test_what_the_criterion_runs_under(
    tmp_path: Path,
    step: str,
    asked: str,
    options: dict[str, bool],
    kernel_and_mode: dict[str, bool],
    dtype: torch.dtype,
) -> None:
    attended, seen = run_step(Task(asked, tmp_path, **options), step)
    assert seen == kernel_and_mode
    assert attended.dtype == dtype
    assert not torch.is_autocast_enabled("cpu")
    assert torch.backends.cuda.flash_sdp_enabled()  # the flag that the CPU's kernels go by as well


@pytest.mark.parametrize(("speed", "dtype"), [(3.0, torch.bfloat16), (0.03, torch.float32)])
def test_auto_takes_the_faster_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: float, dtype: torch.dtype
) -> None:
    set_speed(monkeypatch, bf16=speed)
    task = Task("auto", tmp_path)
    assert run_step(task)[0].dtype == dtype
    set_speed(monkeypatch, bf16=1 / speed)
    assert run_step(task)[0].dtype == dtype
    assert run_step(task, "valid_step")[0].dtype == dtype
    assert task.state.state_dict == {"precision": "bf16" if speed > 1 else "fp32"}


@pytest.mark.parametrize(
    ("saved", "begun"),
    [
        ({"task_state": {"precision": "bf16"}, "cfg": {"task": {"autocast_bf16": False}}}, "bf16"),
        ({"task_state": {}, "cfg": {"task": {"autocast_bf16": True}}}, "bf16"),
        ({"task_state": {}, "cfg": {"task": {"autocast_bf16": False}}}, "fp32"),
    ],
)
def test_continuing_keeps_the_precision_it_began_with(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    saved: dict[str, Any],
    begun: str,
) -> None:
    """Also from checkpoints made before --precision, and named by --restore-file."""
    set_speed(monkeypatch, bf16=3.0 if begun == "fp32" else 0.1)
    torch.save(saved, tmp_path / "checkpoint_last.pt")
    torch.save(saved, tmp_path / "other.pt")
    other = "bf16" if begun == "fp32" else "fp32"
    for task in (
        Task("auto", tmp_path),
        Task("auto", tmp_path / "new", restore_file=str(tmp_path / "other.pt")),
        Task(other, tmp_path),
    ):
        assert run_step(task)[0].dtype == precision.dtype_of(begun)
    assert caplog.messages == [
        f"precision: {begun}, with which this training began",
        f"precision: {begun}, with which this training began",
        f"precision: {begun}, with which this training began; --precision {other} is for a new one",
    ]
    # New optimizer, new training.
    assert run_step(Task(other, tmp_path, reset_optimizer=True))[0].dtype != (
        precision.dtype_of(begun)
    )


@pytest.mark.parametrize(
    ("asked", "options", "dtype", "message"),
    [
        (
            "fp16",
            {},
            torch.float32,
            "`--precision` must be auto, fp32 or bf16 in training, but is fp16 instead: gradients would "
            "vanish without loss scaling. On a GPU, use fairseq's --fp16.",
        ),
        (
            "fp32",
            {"autocast_bf16": True},
            torch.float32,
            "--autocast-bf16 means --precision bf16, but --precision is fp32. Leave one out.",
        ),
        (
            "fp32",
            {},
            torch.bfloat16,
            "`--precision fp32` needs float32 weights, but fairseq's --fp16 or --bf16 made them "
            "bfloat16. Leave one of the options out.",
        ),
    ],
)
def test_contradictions_are_refused(
    tmp_path: Path, asked: str, options: dict[str, bool], dtype: torch.dtype, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run_step(Task(asked, tmp_path, **options), dtype=dtype)
    assert str(caught.value) == message


def test_auto_on_a_gpu_leaves_training_to_fairseq(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The meta device stands for a GPU: no CPU, and nothing there is computed."""
    task = Task("auto", tmp_path)
    model = torch.nn.Linear(8, 8, device="meta")
    seen = task.train_step(None, model, lambda model, sample: torch.is_autocast_enabled("cpu"))
    assert seen is False
    assert caplog.messages == [f"precision: {LEFT_TO_FAIRSEQ}"]
