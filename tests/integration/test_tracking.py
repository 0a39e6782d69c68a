"""What TensorBoard, Weights & Biases and Azure ML get from real trainings: the names that docs/tracking.md lists."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from tests.conftest import CHECKOUT, run_command
from tests.integration.conftest import DISTILL, STUDENT, TEACHER, logged, train_command

UPDATES = 3
#: Stand-ins for the two clients, which need an account: they write down what fairseq calls.
STAND_INS = {
    "wandb.py": """
        import json, os
        def _note(*call):
            with open(os.environ["CALLS"], "a") as file:
                print(json.dumps(["wandb", *call]), file=file)
        def init(project, reinit, name):
            _note("init", project, name)
        def log(values, step):
            _note("log", values, step)
        class config:
            def update(settings):
                _note("config", settings["criterion"]["_name"])
    """,
    "azureml/core.py": """
        import json, os
        class Run:
            get_context = classmethod(lambda cls: cls())
            def log_row(self, name, step, **values):
                with open(os.environ["CALLS"], "a") as file:
                    print(json.dumps(["azureml", "log", {name: list(values.items())}, step]), file=file)
    """,
}


@pytest.fixture(scope="module")
def documented() -> dict[str, dict[str, tuple[str, str]]]:
    """The rows of each table of the page: name, then when training and validation log it."""
    page = (CHECKOUT / "docs" / "tracking.md").read_text("utf-8")
    tables: dict[str, dict[str, tuple[str, str]]] = {}
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| `(\w+)` \|.*\| *([^|]*?) *\| *([^|]*?) *\|$", section, re.MULTILINE)
        if rows:
            tables[section.split("\n")[0]] = {name: (train, valid) for name, train, valid in rows}
    assert set(tables) == {"The teacher", "The student", "Every training"}
    return tables


def events(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Yield tag, step and value of every scalar in a folder of TensorBoard's (TFRecord: length, CRC, bytes, CRC)."""
    for file in folder.iterdir():
        data, start = file.read_bytes(), 0
        while start < len(data):
            (length,) = struct.unpack_from("<Q", data, start)
            event = Event.FromString(data[start + 12 : start + 12 + length])
            start += length + 16
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    yield value.tag, event.step, value.simple_value


def names(folder: Path) -> dict[str, set[str]]:
    """Return the tags of each of TensorBoard's runs."""
    return {run.name: {tag for tag, _, _ in events(run)} for run in folder.iterdir()}


def wanted(
    tables: dict[str, dict[str, tuple[str, str]]], role: str, *conditions: str
) -> dict[str, set[str]]:
    """Return the tags that the page promises of a training to which ``conditions`` apply."""
    rows = {**tables[role], **tables["Every training"]}
    train = {name for name, (when, _) in rows.items() if when in ("always", *conditions)}
    valid = {name for name, (_, when) in rows.items() if when in ("always", *conditions)}
    return {"train_inner": train, "train": train, "valid": valid}


def test_teacher(tmp_path: Path, data_bin: Path, tiny_bert: Path, documented: dict) -> None:
    options = ("--bert-model", tiny_bert, "--max-update", UPDATES, "--no-save")
    tracked = ("--tensorboard-logdir", tmp_path / "tb")
    output = run_command(train_command(data_bin, *TEACHER, *options, *tracked)).stdout
    assert names(tmp_path / "tb") == wanted(documented, "The teacher", "with clipping")
    _agrees_with_the_log(tmp_path / "tb", output, ("loss", "ppl", "masked_accuracy"))


def test_student_with_every_option_that_logs_more(
    tmp_path: Path, data_bin: Path, topk: Path, documented: dict
) -> None:
    chosen = ("--kd-token-selection", "student-loss", "--kd-augment", 0.2, "--kd-rank-first", 1)
    options = ("--teacher-topk", topk, "--simcut-alpha", 3, "--report-accuracy", *chosen)
    command = (*STUDENT, *DISTILL, *options, "--max-update", UPDATES, "--no-save")
    tracked = ("--tensorboard-logdir", tmp_path / "tb")
    output = run_command(train_command(data_bin, *command, *tracked)).stdout
    conditions = {when for role in documented.values() for row in role.values() for when in row}
    # BLEU needs a decoding, and is in the other student's training.
    conditions -= {"", "with `--eval-bleu`", "with clipping"}
    assert names(tmp_path / "tb") == wanted(documented, "The student", *conditions)
    _agrees_with_the_log(tmp_path / "tb", output, ("kd_rank_loss", "kd_selected", "kd_augmented"))


def _agrees_with_the_log(folder: Path, output: str, keys: tuple[str, ...]) -> None:
    """Check values and updates of the scalars against the log, which rounds them."""
    lines = {int(line["num_updates"]): line for line in logged(output)}
    found = {(tag, step): value for tag, step, value in events(folder / "train_inner")}
    assert {step for _, step in found} == set(lines) == set(range(1, UPDATES + 1))
    for key in keys:
        for step, line in lines.items():
            assert found[key, step] == pytest.approx(line[key], abs=6e-3, rel=1e-4), (key, step)


def test_weights_and_biases_and_azure_get_what_tensorboard_gets(
    tmp_path: Path, data_bin: Path, topk: Path, documented: dict
) -> None:
    """Names are ``train_inner/kd_loss`` there. The clients are stand-ins that write down what fairseq calls."""
    for name, code in STAND_INS.items():
        path = tmp_path / "stand_ins" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r"^ {8}", "", code, flags=re.MULTILINE))
    options = ("--teacher-topk", topk, "--max-update", UPDATES, "--no-save", "--eval-bleu")
    tracked = (
        "--wandb-project",
        "kd",
        "--azureml-logging",
        "--tensorboard-logdir",
        tmp_path / "tb",
    )
    environment = {
        "PYTHONPATH": f"{CHECKOUT}:{tmp_path / 'stand_ins'}",
        "CALLS": tmp_path / "calls",
    }
    command = train_command(data_bin, *STUDENT, *DISTILL, *options, *tracked)
    run_command(command, env=environment)
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert ["wandb", "init", "kd", "checkpoints"] in calls  # the last part of --save-dir
    assert ["wandb", "config", "bert_kd_label_smoothed_cross_entropy"] in calls
    shown = wanted(documented, "The student", "with `--eval-bleu`")
    promised = {f"{split}/{name}" for split, found in shown.items() for name in found}
    training = {name for name in promised if name.startswith("train")}
    for client, all_of in (("wandb", promised), ("azureml", training)):
        sent = [rest for who, what, *rest in calls if (who, what) == (client, "log")]
        assert {name for values, _ in sent for name in values} == all_of, client
        assert {step for _, step in sent} == set(range(1, UPDATES + 1))
