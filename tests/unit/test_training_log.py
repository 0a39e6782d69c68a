"""Reading fairseq's logs and plotting them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.training_log import Point, curve, plot, read_log, write_csv
from tests.conftest import BERTKD, run_command

_AT = "2026-01-01 00:00:00 | INFO |"


def _lines(*messages: str) -> str:
    return "".join(f"{_AT} {message}\n" for message in messages)


SIMPLE = _lines(
    "fairseq_cli.train | task: TranslationTask",
    "train_inner | epoch 001:     50 / 100 loss=9.5, nll_loss=9.1, kd_loss=8, wps=10, "
    "num_updates=50, lr=1e-05, train_wall=3",
    "train_inner | epoch 001:    100 / 100 loss=8.5, nll_loss=8.1, kd_loss=7, wps=10, "
    "num_updates=100, lr=2e-05, train_wall=3",
    "valid | epoch 001 | valid on 'valid' subset | loss 8 | nll_loss 7.5 | ppl 181 | bleu 1.25 | "
    "wps 0 | num_updates 100",
    "train | epoch 001 | loss 9 | nll_loss 8.6 | kd_loss 7.5 | num_updates 100 | lr 2e-05",
)
JSON = _lines(
    'train_inner | {"epoch": 1, "update": 0.5, "loss": "9.5", "nll_loss": "9.1", "kd_loss": "8", '
    '"wps": "10", "num_updates": "50", "lr": "1e-05", "train_wall": "3"}',
    'train_inner | {"epoch": 1, "update": 1.0, "loss": "8.5", "nll_loss": "8.1", "kd_loss": "7", '
    '"wps": "10", "num_updates": "100", "lr": "2e-05", "train_wall": "3"}',
    'valid | {"epoch": 1, "valid_loss": "8", "valid_nll_loss": "7.5", "valid_ppl": "181", '
    '"valid_bleu": "1.25", "valid_wps": "0", "valid_num_updates": "100"}',
    'train | {"epoch": 1, "train_loss": "9", "train_nll_loss": "8.6", "train_kd_loss": "7.5", '
    '"train_num_updates": "100", "train_lr": "2e-05"}',
    'train_inner | {"epoch": 2, "upd',
)


@pytest.mark.parametrize("text", [SIMPLE, JSON], ids=["simple", "json"])
def test_both_formats_give_the_same_points(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.log").write_text(text)
    points = read_log(tmp_path / "train.log")
    kept = ("loss", "nll_loss", "kd_loss", "bleu", "lr")
    assert [(p.split, p.update, *(p.values.get(k) for k in kept)) for p in points] == [
        ("train_inner", 50, 9.5, 9.1, 8.0, None, 1e-5),
        ("train_inner", 100, 8.5, 8.1, 7.0, None, 2e-5),
        ("valid", 100, 8.0, 7.5, None, 1.25, None),
        ("train", 100, 9.0, 8.6, 7.5, None, 2e-5),
    ]
    assert curve(points, "train", "loss") == ([50, 100], [9.5, 8.5])
    assert curve(points, "valid", "bleu") == ([100], [1.25])


def test_run_without_interval_lines_falls_back_to_epochs() -> None:
    points = [Point("train", 10, {"loss": 3.0}), Point("valid", 10, {"loss": 2.0})]
    assert curve(points, "train", "loss") == ([10], [3.0])


def test_later_line_counts_when_a_resumed_run_repeats_an_update(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(SIMPLE + SIMPLE.replace("bleu 1.25", "bleu 2.5"))
    points = read_log(tmp_path / "log")
    assert len(points) == 4
    assert curve(points, "valid", "bleu") == ([100], [2.5])


def test_file_without_statistics(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("Traceback\n")
    with pytest.raises(DataError) as caught:
        read_log(path)
    assert str(caught.value) == (
        f"`{path}` must be a log of fairseq-train, but holds no line of statistics. "
        f"Train with `--log-file {path} --log-format simple --log-interval 100`."
    )


def test_picture_and_table(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(SIMPLE)
    (tmp_path / "b").write_text(JSON)
    runs = {name: read_log(tmp_path / name) for name in "ab"}
    assert plot(runs, tmp_path / "x.png") == ["loss", "nll_loss", "kd_loss", "bleu", "lr"]
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    write_csv(runs, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {
        "run": "b",
        "split": "valid",
        "update": "100",
        "metric": "bleu",
        "value": "1.25",
    } in rows
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "x.csv", "x.png"]


def test_command_refuses_to_replace_and_tells_all_mistakes(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(SIMPLE)
    command = [*BERTKD, "curves", "--run", "a=a.log", "--dest", "x.png"]
    run_command(command, cwd=tmp_path)
    again = run_command([*command, "--run", "a=b", "--run", "c"], cwd=tmp_path, check=False)
    assert again.returncode == 2
    assert again.stderr == (
        "error: 4 problems:\n"
        "  1. `--run` must give each name once, but gives 'a' again.\n"
        "  2. `--run` must be NAME=LOG, but is 'c' instead.\n"
        "  3. `x.png` exists already. Use another name, or --force to replace it.\n"
        "  4. `x.csv` exists already. Use another name, or --force to replace it.\n"
    )
    run_command([*command, "--force"], cwd=tmp_path)
