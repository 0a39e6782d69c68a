"""What people get wrong, through every command: one message, exit code 2, nothing half-written."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.conftest import BERTKD, USER_DIR, command_environment, fairseq_command, run_command
from tests.integration import spoil
from tests.integration.mistakes import PAGE, Mistake, page, read_table
from tests.warm_commands import WarmCommands

COMMANDS, MISTAKES = read_table()
# Without a network, which the hub's client notices only after half a minute, and without a GPU.
NOWHERE = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
YAML = """\
common: {user_dir: bertkd_fairseq}
task: {_name: translation_bert_kd, data: data-bin, teacher_topk: topk}
model: {_name: transformer, share_all_embeddings: true, encoder_layers: 1, decoder_layers: 1}
criterion: {_name: bert_kd_label_smoothed_cross_entropy, kd_alpha: 0.5, label_smoothing: 0.1}
optimizer: {_name: adam}
lr_scheduler: {_name: fixed}
optimization: {lr: [1e-3], max_update: 2}
dataset: {max_tokens: 1000, num_workers: 0}
checkpoint: {save_dir: save}
hydra: {run: {dir: .}, output_subdir: null}
"""


def argv_of(command: str) -> list[str]:
    """Return the words of a row's command."""
    first, *rest = shlex.split(command)
    return [*shlex.split(COMMANDS.get(first, first)), *rest]


@pytest.fixture(scope="module")
def commands() -> Iterator[WarmCommands]:
    with WarmCommands({**command_environment(), **NOWHERE}) as warm:
        yield warm


@pytest.fixture(scope="module")
def workplace(
    tmp_path_factory: pytest.TempPathFactory,
    miniature_corpus: Path,
    tiny_bert: Path,
    data_bin: Path,
    teacher: Path,
    topk: Path,
    commands: WarmCommands,
) -> Path:
    """A folder with everything that commands need, by short names."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name, source in (("text", miniature_corpus), ("bert", tiny_bert), ("topk", topk)):
        shutil.copytree(source, folder / name)
    shutil.copytree(data_bin, folder / "data-bin")
    shutil.copy(teacher, folder / "teacher.pt")
    shutil.copy(miniature_corpus / "test.tgt", folder / "plain.txt")
    (folder / "bertkd_fairseq").symlink_to(USER_DIR)
    (folder / "empty").touch()
    (folder / "yaml").mkdir()
    (folder / "yaml" / "student.yaml").write_text(YAML)
    for name, mode in (("folder", 0o755), ("locked", 0o555)):
        (folder / name).mkdir(mode)
    done = commands.run(argv_of("STUDENT --save-dir student"), cwd=folder)
    assert done.returncode == 0, done.stderr
    shutil.move(folder / "student" / "checkpoint_last.pt", folder / "student.pt")
    shutil.rmtree(folder / "student")
    lists = "--beam 4 --nbest 4 --required-batch-size-multiple 1"
    for split in ("valid", "test"):
        done = commands.run(argv_of(f"GENERATE --gen-subset {split} {lists}"), cwd=folder)
        assert done.returncode == 0, done.stderr
        (folder / f"{split}.out").write_text(done.stdout, "utf-8")
    return folder


@pytest.fixture
def here(workplace: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the workplace for one command."""
    folder = Path(shutil.copytree(workplace, tmp_path / "here", symlinks=True))
    yield folder
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)
    shutil.rmtree(folder)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of every file, by its path."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            stat = os.lstat(os.path.join(parent, name))
            path = os.path.relpath(os.path.join(parent, name), folder)
            found[path] = (stat.st_size, stat.st_mtime_ns)
    return found


def check(done: subprocess.CompletedProcess[str], row: Mistake, folder: Path) -> None:
    """Check exit code and the whole message."""
    said = done.stderr.replace(str(folder), "$PWD")
    assert "Traceback" not in said, said
    pattern = re.escape(f"error: {row.error}\n").replace("<hash>", "[0-9a-f]{8}")
    assert re.fullmatch(rf"(?s)(?:.*\n)??{pattern}", said), said[-3000:]
    assert done.returncode == 2


@pytest.mark.parametrize("row", MISTAKES, ids=lambda row: f"{row.section}: {row.mistake}")
def test_mistake(row: Mistake, here: Path, commands: WarmCommands) -> None:
    subprocess.run(["sh", "-ec", row.before], cwd=here, check=True)
    kept = getattr(spoil, row.spoil)(here) if row.spoil else None
    before = contents(here)
    how = {"cwd": here, "input": row.input}
    done = commands.run(argv_of(row.command), **how, file_limit=row.file_limit)
    check(done, row, here)
    changed = [path for path, stat in contents(here).items() if before.get(path) != stat]
    assert [path for path in changed if not fnmatchcase(path, row.leaves)] == []
    assert before.keys() <= contents(here).keys()
    if row.also_as_process:
        check(as_process(argv_of(row.command), **how), row, here)
    del kept


def as_process(argv: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
    """Run a command in an interpreter of its own."""
    if argv[0] == "bertkd":
        command = list(BERTKD)
    else:
        command = fairseq_command(argv[0].removeprefix("fairseq-").replace("-", "_"))
    return run_command([*command, *argv[1:]], check=False, env=NOWHERE, **kwargs)


def test_commands_without_a_mistake_succeed(
    workplace: Path, tmp_path: Path, commands: WarmCommands
) -> None:
    """So that what the rows add is what they fail by."""
    folder = shutil.copytree(workplace, tmp_path / "here", symlinks=True)
    other = {"TEACHER": ["--save-dir", "teacher"], "DUMP": ["--destdir", "store"]}
    other["HYDRA"] = ["checkpoint.save_dir=hydra"]
    for name in COMMANDS:
        done = commands.run([*argv_of(name), *other.get(name, ())], cwd=folder, input="a b c\n")
        assert done.returncode == 0, (name, done.stderr[-3000:])


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text("utf-8") == page(COMMANDS, MISTAKES)
