"""Checkpoint averages against a naive mean in float64, and every refusal in full."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from bertkd_fairseq import cli
from bertkd_fairseq.averaging.checkpoints import (
    average_checkpoints,
    best_checkpoints,
    last_checkpoints,
)
from bertkd_fairseq.compat import CheckpointError

State = dict[str, torch.Tensor]


def random_model(seed: int, dtype: torch.dtype = torch.float32) -> State:
    generator = torch.Generator().manual_seed(seed)
    weight = (1e3 * torch.randn(50, 20, generator=generator)).to(dtype)
    return {"weight": weight, "bias": weight[0].clone(), "version": torch.tensor([3])}


def save(path: Path, model: State, **more: object) -> Path:
    state = {"args": None, "cfg": {"seed": 1}, "model": model, "last_optimizer_state": {"a": 1}}
    torch.save({**state, **more}, path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_mean_of_seven(tmp_path: Path, dtype: torch.dtype) -> None:
    models = [random_model(seed, dtype) for seed in range(7)]
    paths = [save(tmp_path / f"{i}.pt", model) for i, model in enumerate(models)]
    average = average_checkpoints(paths)
    for name in ("weight", "bias"):
        naive = np.mean([model[name].double().numpy() for model in models], axis=0)
        got = average["model"][name]
        assert got.dtype == torch.float32
        np.testing.assert_array_equal(got.numpy(), naive.astype(np.float32))
    assert torch.equal(average["model"]["version"], torch.tensor([3]))
    assert average["last_optimizer_state"] is None
    assert average["averaged"] == [f"{i}.pt" for i in range(7)]


def test_tied_parameters_are_counted_once(tmp_path: Path) -> None:
    paths = []
    for i in range(2):
        weight = torch.full((3,), float(i + 1))
        paths.append(save(tmp_path / f"{i}.pt", {"a": weight, "b": weight}))
    model = average_checkpoints(paths)["model"]
    assert model["a"].tolist() == model["b"].tolist() == [1.5] * 3


def test_settings_are_those_of_the_last(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.pt", random_model(i), args=Namespace(x=i)) for i in range(3)]
    assert average_checkpoints(paths)["args"] == Namespace(x=2)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_last_are_chosen_by_number_not_by_name_or_time(tmp_path: Path) -> None:
    updates = ["checkpoint_9_900.pt", "checkpoint_10_1000.pt", "checkpoint_11_1100.pt"]
    touch(
        tmp_path, *reversed(updates), "checkpoint12.pt", "checkpoint_last.pt", "checkpoint_best.pt"
    )
    assert [path.name for path in last_checkpoints(tmp_path, 2)] == updates[1:]
    with pytest.raises(CheckpointError) as caught:
        last_checkpoints(tmp_path, 4)
    assert str(caught.value) == (
        f"`{tmp_path}` must hold at least 4 checkpoints numbered by update or epoch, but holds 3 instead. "
        "Train with `--save-interval-updates` and `--keep-interval-updates 4`. fairseq keeps none by update where an "
        "epoch ends, so the interval must not be a multiple of an epoch's updates."
    )


def test_epochs_serve_where_there_are_no_updates(tmp_path: Path) -> None:
    touch(tmp_path, "checkpoint9.pt", "checkpoint10.pt", "checkpoint8.pt", "checkpoint_last.pt")
    assert [p.name for p in last_checkpoints(tmp_path, 2)] == ["checkpoint9.pt", "checkpoint10.pt"]


def test_best_are_all_that_were_kept(tmp_path: Path) -> None:
    names = ["checkpoint.best_bleu_35.2701.pt", "checkpoint.best_bleu_9.1004.pt"]
    touch(tmp_path, "checkpoint_best.pt")
    with pytest.raises(CheckpointError) as caught:
        best_checkpoints(tmp_path)
    assert str(caught.value) == (
        f"`{tmp_path}` must hold files checkpoint.best_*.pt, but there is none. "
        "Train with `--keep-best-checkpoints 5`."
    )
    touch(tmp_path, *reversed(names))
    assert [path.name for path in best_checkpoints(tmp_path)] == names


def refused(paths: list[Path]) -> str:
    with pytest.raises(CheckpointError) as caught:
        average_checkpoints(paths)
    return str(caught.value)


def test_other_parameters_are_refused(tmp_path: Path) -> None:
    first = save(tmp_path / "a.pt", random_model(1))
    model = random_model(2)
    del model["bias"]
    second = save(tmp_path / "b.pt", {**model, "scale": torch.ones(1)})
    assert refused([first, second]) == (
        f"`{second}` must have the parameters of {first}, but only one of the two has bias, scale."
    )
    other = {"weight": torch.ones(2), "bias": torch.arange(20), "version": torch.tensor([4])}
    third = save(tmp_path / "c.pt", other)
    assert refused([first, third]) == (
        "3 problems:\n"
        f"  1. `{third}: weight` must be as in {first}, but is of shape (2,), not (50, 20), instead.\n"
        f"  2. `{third}: bias` must be as in {first}, but is of type torch.int64 instead.\n"
        f"  3. `{third}: version` must be as in {first}, but is another whole number instead."
    )


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    good = save(tmp_path / "good.pt", random_model(1))
    missing, text, other = tmp_path / "missing.pt", tmp_path / "cut.pt", tmp_path / "list.pt"
    text.write_bytes(good.read_bytes()[:1000])
    torch.save([1], other)
    assert refused([good, missing]) == (
        f"`{missing}` must be a checkpoint, but can't be read: No such file or directory."
    )
    assert refused([good, text]) == (
        f"`{text}` must be a checkpoint, but is cut off, damaged or another kind of file. "
        "Name one that fairseq-train or `bertkd average` wrote."
    )
    assert refused([good, other]) == (
        f"`{other}` must be a checkpoint of fairseq, but is something else instead."
    )


def test_every_damage_is_one_message(tmp_path: Path) -> None:
    good = save(tmp_path / "good.pt", random_model(1))
    whole = good.read_bytes()
    bad = tmp_path / "bad.pt"
    damaged = [
        b"",
        b"a line of text\n",
        b"\x80\x02",
        b"\x80\x02X\x01\x00\x00\x00\xff.",
        b"\x80\x02cno",
    ]
    start = whole.index(b"data.pkl") + 8
    flipped = (
        whole[:i] + bytes([whole[i] ^ 0xC0]) + whole[i + 1 :] for i in range(start, start + 400)
    )
    for data in (*damaged, *flipped):
        bad.write_bytes(data)
        try:
            average_checkpoints([good, bad])
        except CheckpointError as error:
            assert str(error).count("\n") < 6 and bad.name in str(error)
    for data in damaged:
        bad.write_bytes(data)
        refused([good, bad])


def test_models_without_parameters_and_repeated_files_are_refused(tmp_path: Path) -> None:
    good, empty = save(tmp_path / "a.pt", random_model(1)), save(tmp_path / "b.pt", {})
    number = save(tmp_path / "c.pt", {"w": 1.5})  # type: ignore[dict-item]
    wanted = f"`{empty}` must be a checkpoint with parameters, but is without any instead."
    assert refused([empty, good]) == refused([good, empty]) == wanted
    assert refused([good, number]) == (
        f"`{number}` must be a checkpoint of fairseq, but is something else instead."
    )
    (tmp_path / "link.pt").symlink_to(good)
    assert refused([good, tmp_path / "link.pt"]) == f"`{good}` must be given only once."


class Harmful:
    """Would make a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = cli.main(["average", *map(str, argv)])
    return code, *capsys.readouterr()


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for updates in (100, 200, 300):
        save(tmp_path / f"checkpoint_1_{updates}.pt", {"w": torch.tensor([float(updates)])})
    output = tmp_path / "average.pt"
    command = ("--save-dir", tmp_path, "--last", 2, "--output", output)
    used = [f"  {tmp_path}/checkpoint_1_{updates}.pt" for updates in (200, 300)]
    text = "\n".join(["mean of", *used, f"in {output}"])
    assert run(capsys, *command) == (0, f"{text}\n", "")
    assert torch.load(output, weights_only=True)["model"]["w"].tolist() == [250.0]
    message = f"error: `{output}` exists already. Use another name, or --force to replace it.\n"
    assert run(capsys, *command) == (2, "", message)
    assert run(capsys, *command, "--force")[0] == 0
    assert not list(tmp_path.glob("*.partial"))


def test_checkpoint_with_code_is_refused_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trap = tmp_path / "trap"
    good = save(tmp_path / "good.pt", random_model(1))
    bad = save(tmp_path / "bad.pt", random_model(1), extra=Harmful(trap))
    code, out, err = run(capsys, "--inputs", good, bad, "--output", tmp_path / "x.pt")
    assert (code, out) == (2, "")
    assert err.startswith("error: `checkpoint` must be tensors and plain settings")
    assert "asks for `posix.mkdir`" in err and len(err.splitlines()) == 1
    assert not trap.exists() and not (tmp_path / "x.pt").exists()


def test_wrong_options_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = tmp_path / "no" / "x.pt"
    code, _, err = run(capsys, "--inputs", "a.pt", "--last", 1, "--output", nowhere)
    assert code == 2
    assert err == (
        "error: 4 problems:\n"
        f"  1. `--output` must be a file in a folder that exists, but is {nowhere} instead.\n"
        "  2. Exactly one of `--inputs`, `--last` and `--best` must be given.\n"
        "  3. `--inputs` must be at least 2 files, but is 1 instead.\n"
        "  4. `--last` must be at least 2, but is 1 instead.\n"
    )
    only = "`--save-dir` must be given with `--last` or `--best`, and only there.\n"
    assert run(capsys, "--best", "--output", tmp_path / "x")[2] == f"error: {only}"
    more = ("--inputs", "a", "b", "--save-dir", "c", "--output", tmp_path / "x")
    assert run(capsys, *more)[2] == f"error: {only}"
