"""fairseq finds the plugin: installed, from any folder by name; not installed, by the checkout's path."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import USER_DIR, fairseq_command

PARTS = ("bert_cmlm_cross_entropy", "bert_kd_label_smoothed_cross_entropy", "bert_wordpiece")
# What fairseq's own programs do with --user-dir, then the file that it was taken from.
IMPORT = """
import sys
from argparse import Namespace
from fairseq import tasks, utils
utils.import_user_module(Namespace(user_dir=sys.argv[1]))
import bertkd_fairseq
for task in ("bert_cmlm", "translation_bert_kd"):
    print(tasks.TASK_REGISTRY[task].__name__)
print(bertkd_fairseq.__file__)
"""


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
def test_tasks_are_registered_from_the_right_folder(user_dir: str, tmp_path: Path) -> None:
    python = fairseq_command("train")[0]
    *tasks, origin = run_clean([python, "-c", IMPORT, user_dir], tmp_path).split()
    assert tasks == ["BertCMLMTask", "TranslationBertKDTask"]
    wanted = USER_DIR if user_dir == str(USER_DIR) else installed_folder()
    assert Path(origin).resolve().parent == wanted.resolve()


def test_without_user_dir_fairseq_does_not_know_them(tmp_path: Path) -> None:
    assert PARTS[0] not in run_clean([*fairseq_command("train"), "--help"], tmp_path)
