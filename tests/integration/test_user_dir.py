"""fairseq finds the plugin: installed, from any folder by name; not installed, by the checkout's path."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, USER_DIR, fairseq_command, run_command

PARTS = ("bert_cmlm_cross_entropy", "bert_kd_label_smoothed_cross_entropy", "bert_wordpiece")
# What fairseq's own programs do with --user-dir, after whatever a script of the user's own imported before.
IMPORT = """
import importlib, sys
user_dir, folder, *before = sys.argv[1:]
sys.path.insert(0, folder)
for module in before:
    importlib.import_module(module)
from argparse import Namespace
from fairseq import utils
utils.import_user_module(Namespace(user_dir=user_dir))
"""
# Prints every part that the plugin has registered, and the folder that it was taken from.
REGISTERED = """
from fairseq import models, registry, tasks
import bertkd_fairseq
registries = {name: each["registry"] for name, each in registry.REGISTRIES.items()}
registries.update(task=tasks.TASK_REGISTRY, model=models.MODEL_REGISTRY)
for kind, parts in sorted(registries.items()):
    for name in sorted(parts):
        if parts[name].__module__.startswith("bertkd_fairseq."):
            print(kind, name)
print(bertkd_fairseq.__path__[0])
"""
EVERY_PART = [
    "bpe bert_wordpiece",
    "criterion bert_cmlm_cross_entropy",
    "criterion bert_kd_label_smoothed_cross_entropy",
    "model bert_cmlm_teacher",
    "optimizer bert_adamw",
    "task bert_cmlm",
    "task translation_bert_kd",
    "tokenizer bertkd_moses",
]


def run_clean(argv: list[str], cwd: Path) -> str:
    """Return the stdout of ``argv`` run in ``cwd``, with nothing importable but what is installed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        argv, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def installed_folder() -> Path:
    """Return the plugin's folder beside the installed fairseq."""
    fairseq = importlib.util.find_spec("fairseq")
    assert fairseq is not None
    assert fairseq.origin is not None
    return Path(fairseq.origin).parent.parent / "bertkd_fairseq"


@pytest.fixture
def user_dir(request: pytest.FixtureRequest) -> str:
    """``bertkd_fairseq`` where the plugin is installed, or the checkout's path."""
    if request.param == "checkout":
        return str(USER_DIR)
    if not installed_folder().is_dir():
        pytest.skip("needs a plain install beside fairseq: `make install`")
    return "bertkd_fairseq"


both = pytest.mark.parametrize("user_dir", ["installed", "checkout"], indirect=True)


@both
def test_help_offers_the_plugins_parts(user_dir: str, tmp_path: Path) -> None:
    text = run_clean([*fairseq_command("train"), "--help", "--user-dir", user_dir], tmp_path)
    for part in PARTS:
        assert part in text


@both
@pytest.mark.parametrize("before", [[], ["bertkd_fairseq.topk_store"]], ids=["alone", "after"])
def test_every_part_is_registered_from_the_right_folder(
    user_dir: str, before: list[str], tmp_path: Path
) -> None:
    checkout = user_dir == str(USER_DIR)
    path = str(CHECKOUT) if checkout and before else ""
    argv = [sys.executable, "-c", IMPORT + REGISTERED, user_dir, path, *before]
    *parts, folder = run_clean(argv, tmp_path).splitlines()
    assert parts == EVERY_PART
    wanted = USER_DIR if checkout else installed_folder()
    assert Path(folder).resolve() == wanted.resolve()


@pytest.mark.parametrize(
    ("module", "registered"),
    [("bertkd_fairseq.tasks", EVERY_PART), ("bertkd_fairseq.models", ["model bert_cmlm_teacher"])],
)
def test_importing_them_registers_without_user_dir(module: str, registered: list[str]) -> None:
    done = run_command([sys.executable, "-c", f"import {module}\n{REGISTERED}"])
    assert done.stdout.splitlines()[:-1] == registered


def test_another_folder_of_the_same_name_is_refused(tmp_path: Path) -> None:
    code = IMPORT.replace("utils.import", "print('reached', flush=True)\nutils.import")
    other = tmp_path / "bertkd_fairseq"
    other.mkdir()
    argv = [sys.executable, "-c", code, other, "", "bertkd_fairseq.topk_store"]
    done = run_command(argv, check=False)
    assert done.stdout == "reached\n"
    assert "is not globally unique" in done.stderr


def test_without_user_dir_fairseq_does_not_know_them(tmp_path: Path) -> None:
    assert PARTS[0] not in run_clean([*fairseq_command("train"), "--help"], tmp_path)
