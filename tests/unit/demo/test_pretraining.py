"""The tiny BERT's pretraining continues as if it had never been interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bertkd_fairseq.demo import pretraining
from bertkd_fairseq.demo.pretraining import Pretraining
from bertkd_fairseq.demo.tiny_bert import random_bert

ROWS = [(list(range(5, 5 + length)), [0] * length) for length in range(3, 60)]


def new_training() -> Pretraining:
    model = random_bert(70, hidden=32, layers=1, seed=1)
    return Pretraining(model, ROWS, steps=7, seed=3, precision="fp32")


def test_resuming_equals_an_uninterrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "_STEPS_A_CHECKPOINT", 2)
    whole = new_training()
    whole.run(tmp_path / "never" / "checkpoint.pt")

    interrupted = new_training()
    step = interrupted.step

    def until_the_sixth() -> float:
        if interrupted.done == 5:
            raise KeyboardInterrupt
        return step()

    monkeypatch.setattr(interrupted, "step", until_the_sixth)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(path)
    torch.manual_seed(99)
    resumed = new_training()
    resumed.run(path)
    assert resumed.done == 7 and not path.exists()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", None), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_the_forward_pass(precision: str, dtype: torch.dtype | None) -> None:
    training = Pretraining(
        random_bert(70, hidden=32, layers=1, seed=1), ROWS, steps=1, seed=1, precision=precision
    )
    seen = []
    layer = training.model.bert.encoder.layer[0].intermediate.dense
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    training.step()
    assert seen == [dtype or torch.float32]
