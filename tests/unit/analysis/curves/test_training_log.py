"""Reading fairseq's logs and plotting them."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from bertkd_fairseq.analysis.curves.plot import later_range, plot
from bertkd_fairseq.analysis.curves.training_log import Point, curve, read_log, write_csv
from bertkd_fairseq.errors import DataError
from tests.conftest import BERTKD, CHECKOUT, run_command

DATA = CHECKOUT / "tests" / "data" / "curves"
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


def drawn(points: list[Point], split: str, metric: str) -> list[tuple[int, float]]:
    return [(point.update, point.values[metric]) for point in curve(points, split, metric)]


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
    assert drawn(points, "train", "loss") == [(50, 9.5), (100, 8.5)]
    assert drawn(points, "valid", "bleu") == [(100, 1.25)]


def test_run_without_interval_lines_falls_back_to_epochs() -> None:
    points = [Point("train", 10, 5.0, {"loss": 3.0}), Point("valid", 10, 5.0, {"loss": 2.0})]
    assert drawn(points, "train", "loss") == [(10, 3.0)]


def test_later_line_counts_when_a_resumed_run_repeats_an_update(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(SIMPLE + SIMPLE.replace("bleu 1.25", "bleu 2.5"))
    points = read_log(tmp_path / "log")
    assert len(points) == 4
    assert drawn(points, "valid", "bleu") == [(100, 2.5)]


def test_file_without_statistics(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("Traceback\n")
    with pytest.raises(DataError) as caught:
        read_log(path)
    assert str(caught.value) == (
        f"`{path}` must be a log of fairseq-train, but holds no line of statistics. "
        "Keep what `fairseq-train --log-format simple --log-interval 100` prints, by "
        f"`> {path} 2>&1`: the lines of its `--log-file` have no time."
    )


def test_panels_leave_out_the_first_tenth() -> None:
    def run(losses: list[float], step: int) -> list[Point]:
        return [
            Point("train_inner", step * i, 0.0, {"loss": loss}) for i, loss in enumerate(losses, 1)
        ]

    long = run([13, 9, *[4] * 17, 3], 100)
    long += [Point("valid", 100, 0.0, {"loss": 11.0}), Point("valid", 2000, 0.0, {"loss": 5.0})]
    long.sort(key=lambda point: point.update)
    assert later_range({"long": long}, "loss") == (3, 9)
    # A run that has just begun is seen where it stands; what isn't a number has no place.
    assert later_range({"long": long, "short": run([14, 12, 10], 1)}, "loss") == (3, 10)
    assert later_range({"long": long, "short": run([14, 12, math.nan], 1)}, "loss") == (3, 9)
    assert later_range({"long": long}, "bleu") is None
    assert later_range({"flat": run([4, 4], 1)}, "loss") is None


def test_picture_and_table(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(SIMPLE)
    (tmp_path / "b").write_text(JSON)
    runs = {name: read_log(tmp_path / name) for name in "ab"}
    metrics = ["bleu", "nll_loss", "loss", "kd_loss", "lr"]
    assert plot(runs, tmp_path / "x.png") == metrics
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    write_csv(runs, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {
        "run": "b",
        "split": "valid",
        "update": "100",
        "seconds": "0.0",
        "metric": "bleu",
        "value": "1.25",
    } in rows
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "x.csv", "x.png"]


def attempt(minute: int, begins: str, *updates: int) -> str:
    """Return the log of one start of fairseq-train: configuration, checkpoint, a point every 10 s."""
    messages = ["fairseq_cli.train | {'_name': None}", f"fairseq.trainer | {begins}"]
    messages += [
        f"train_inner | epoch 001:  {u} / 900 loss={minute}, num_updates={u}" for u in updates
    ]
    stamps = (f"2026-01-01 00:{minute:02d}:{10 * i:02d} | INFO | " for i in range(len(messages)))
    return "".join(f"{stamp}{message}\n" for stamp, message in zip(stamps, messages, strict=True))


def seen(path: Path) -> list[tuple[int, float, float]]:
    return [(point.update, point.seconds, point.values["loss"]) for point in read_log(path)]


NOTHING = "No existing checkpoint found x/checkpoint_last.pt"


def loaded(update: int) -> str:
    return f"Loaded checkpoint x/checkpoint_last.pt (epoch 1 @ {update} updates)"


def test_time_adds_up_over_attempts_without_the_pauses(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(attempt(1, NOTHING, 10, 20) + attempt(9, loaded(20), 30))
    assert seen(path) == [(10, 20, 1), (20, 30, 1), (30, 30 + 20, 9)]


def test_what_modules_say_before_an_attempt_is_part_of_the_pause(tmp_path: Path) -> None:
    path = tmp_path / "log"
    imported = "2026-01-01 00:09:00 | INFO | fairseq.tasks.text_to_speech | Please install it\n"
    path.write_text(attempt(1, NOTHING, 10, 20) + imported + attempt(9, loaded(20), 30))
    assert seen(path) == [(10, 20, 1), (20, 30, 1), (30, 30 + 20, 9)]


def test_what_was_logged_beyond_the_checkpoint_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    # Stopped at 40 with a checkpoint at 20, then killed at 25 already: 30 and 40 belong to no model.
    path.write_text(attempt(1, NOTHING, 10, 20, 30, 40) + attempt(9, loaded(20), 25))
    assert seen(path) == [(10, 20, 1), (20, 30, 1), (25, 50 + 20, 9)]


@pytest.mark.parametrize("begins", [NOTHING, loaded(0)])
def test_run_that_begins_anew_leaves_out_the_one_before(tmp_path: Path, begins: str) -> None:
    path = tmp_path / "log"
    path.write_text(attempt(1, NOTHING, 10, 20, 30) + attempt(9, begins, 10))
    assert seen(path) == [(10, 20, 9)]


def test_log_of_hydra_gives_the_same_points(tmp_path: Path) -> None:
    path, hydra = tmp_path / "log", tmp_path / "hydra"
    path.write_text(attempt(1, NOTHING, 10, 20) + attempt(9, loaded(20), 30))
    prefix = re.compile(r"^(.{19}) \| INFO \| ([\w.]+) \| ", re.MULTILINE)
    hydra.write_text(prefix.sub(r"[\1,123][\2][INFO] - ", path.read_text()))
    assert hydra.read_text().count(",123][train_inner][INFO] - epoch 001:") == 3
    assert read_log(hydra) == read_log(path)


def test_clock_that_is_set_back_takes_no_time_away(tmp_path: Path) -> None:
    path = tmp_path / "log"
    text = attempt(1, NOTHING, 10, 20)
    path.write_text(text.replace("00:01:30", "00:00:30"))
    assert seen(path) == [(10, 20, 1), (20, 20, 1)]


def test_command_with_all_that_it_writes(tmp_path: Path) -> None:
    """An earlier run, then one that was killed and resumed (JSON); a teacher (simple)."""
    files = ["--output", tmp_path / "x.png", "--csv", tmp_path / "x.csv"]
    command = [*BERTKD, "curves", "plain.log", "--run", "BERT=teacher.log", *files]
    done = run_command(command, cwd=DATA)
    assert done.stdout == ""
    assert done.stderr.split(" | ", 3)[3] == (
        f"{tmp_path}/x.png: bleu, masked_accuracy, nll_loss, loss, kd_loss, lr of 2 runs; "
        f"numbers in {tmp_path}/x.csv\n"
    )
    assert (tmp_path / "x.csv").read_text("utf-8") == (DATA / "expected.csv").read_text("utf-8")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_command_refuses_to_replace_and_tells_all_mistakes(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(SIMPLE)
    command = [*BERTKD, "curves", "a.log", "--output", "x.png"]
    run_command(command, cwd=tmp_path)
    again = run_command([*command, "--run", "a=b", "--run", "c"], cwd=tmp_path, check=False)
    assert again.returncode == 2
    assert again.stderr == (
        "error: 4 problems:\n"
        "  1. `--run` must be NAME=LOG, but is 'c' instead.\n"
        "  2. Each run must have a name of its own, but a.log and b are both 'a'. "
        "Name one with --run NAME=b.\n"
        "  3. `x.png` exists already. Use another name, or --force to replace it.\n"
        "  4. `x.csv` exists already. Use another name, or --force to replace it.\n"
    )
    run_command([*command, "--force"], cwd=tmp_path)


@pytest.mark.parametrize("length", [10, 25, 60])
def test_names_fit_the_picture(tmp_path: Path, length: int) -> None:
    points = [Point("valid", 100, 1.0, {"bleu": 1.25})]
    plot({f"{k} {'x' * length}": points for k in range(9)}, tmp_path / "x.png")
    picture = imread(tmp_path / "x.png")  # (height, width, RGBA) from 0 to 1
    assert (picture[:, [0, 1, -2, -1]] == 1).all()


def test_command_on_a_log_of_nothing_that_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(_lines("train | epoch 001 | wps 9 | num_updates 100"))
    done = run_command([*BERTKD, "curves", "a.log"], cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: At least one log must have one of bleu, masked_accuracy, nll_loss,"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def test_command_without_a_log(tmp_path: Path) -> None:
    done = run_command([*BERTKD, "curves"], cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: At least one `LOG` or `--run NAME=LOG` must be given.\n",
    )
