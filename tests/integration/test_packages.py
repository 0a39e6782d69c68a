"""What is packed, what an install leaves working, and the empty stand-in for torchaudio."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bertkd_fairseq.installed import OLDEST_TORCH, PYTHONS
from tests.conftest import CHECKOUT, USER_DIR, run_command
from tests.integration.test_user_dir import run_clean

STAND_IN = CHECKOUT / "stand-in/torchaudio-0.8.0+empty.tar.gz"
SUMMARY = (
    "Nothing, in the place of torchaudio: fairseq-fixed asks for it, bertkd-fairseq never uses it. "
    "The real one: pip install --upgrade torchaudio"
)


@pytest.fixture(scope="module")
def egg_info(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which setuptools says what it would pack; nothing is built."""
    folder = tmp_path_factory.mktemp("packing")
    argv = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", str(folder)]
    run_clean(argv, CHECKOUT)
    return folder / "bertkd_fairseq.egg-info"


def test_sdist_has_every_file_of_the_checkout(egg_info: Path) -> None:
    if not (CHECKOUT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a git checkout")
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    listed = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    wanted = {name for name in listed.split("\0") if name and (CHECKOUT / name).exists()}
    packed = set((egg_info / "SOURCES.txt").read_text("utf-8").splitlines())
    assert {name for name in packed if ".egg-info/" not in name} == wanted


def test_builds_keep_the_commit(tmp_path: Path) -> None:
    """A wheel from a checkout has it, and one from a source distribution of that checkout."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(CHECKOUT / name, clone)
    ignored = shutil.ignore_patterns("__pycache__", "commit.txt")
    shutil.copytree(USER_DIR, clone / "bertkd_fairseq", ignore=ignored)
    git = ["git", "-C", str(clone), "-c", "user.name=x", "-c", "user.email=x@x"]
    for words in ("init -q", "add .", "commit -qm one"):
        subprocess.run([*git, *words.split()], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)

    def built(source: Path, name: str) -> str:
        out = tmp_path / name
        run_clean([sys.executable, "setup.py", "-q", "build", "--build-base", str(out)], source)
        return run_clean([sys.executable, "-m", "bertkd_fairseq.cli", "--version"], out / "lib")

    sdist = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(tmp_path / "dist")]
    built_here = built(clone, "here")
    run_clean(sdist, clone)
    with tarfile.open(next((tmp_path / "dist").glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    found = re.fullmatch(r"bertkd-fairseq \S+ \(commit (\w+)\)\n", built_here)
    assert found and head.stdout.startswith(found[1])
    assert built(unpacked, "there") == built_here


def test_pythons_are_the_same_everywhere(egg_info: Path) -> None:
    metadata = (egg_info / "PKG-INFO").read_text("utf-8")
    span = re.search(r"^Requires-Python: >=3\.(\d+),<3\.(\d+)$", metadata, re.MULTILINE)
    assert span
    oldest, newest = int(span[1]), int(span[2]) - 1
    assert ((3, oldest), (3, newest)) == PYTHONS
    torch = ".".join(map(str, OLDEST_TORCH))
    requires = (egg_info / "requires.txt").read_text("utf-8")
    assert re.search(rf"^torch>={re.escape(torch)}$", requires, re.MULTILINE)
    minors = re.findall(r"^Classifier: .* :: 3\.(\d+)$", metadata, re.MULTILINE)
    assert [int(minor) for minor in minors] == list(range(oldest, newest + 1))
    for name in ("Makefile", "README.md"):
        text = (CHECKOUT / name).read_text("utf-8")
        assert f"Python 3.{oldest} to 3.{newest}" in text, name
    assert f"(3, {oldest}) <= sys.version_info < (3, {newest + 1})" in (
        CHECKOUT / "Makefile"
    ).read_text("utf-8")
    runs = (CHECKOUT / "tests/pythons.sh").read_text("utf-8")
    assert f"ALL=({' '.join(f'3.{minor}' for minor in range(oldest, newest + 1))})\n" in runs


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_refuses_another_python(tmp_path: Path) -> None:
    python = tmp_path / "python3.9"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.18\nexit 1\n')
    python.chmod(0o755)
    argv = ["make", "install", f"PYTHON={python}", f"VENV={tmp_path / 'env'}"]
    done = run_command(argv, cwd=CHECKOUT, check=False)
    assert done.stderr.splitlines()[0] == (
        "error: `PYTHON` must be Python 3.10 to 3.13, but is Python 3.9.18 instead. "
        "Name another: make PYTHON=python3.12"
    )
    assert done.returncode == 2
    assert not (tmp_path / "env").exists()


def test_stand_in_for_torchaudio_is_empty() -> None:
    with tarfile.open(STAND_IN) as archive:
        texts = {
            member.name: archive.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in archive
        }
    folder = STAND_IN.name.removesuffix(".tar.gz")
    assert texts == {
        f"{folder}/PKG-INFO": (
            f"Metadata-Version: 2.1\nName: torchaudio\nVersion: 0.8.0+empty\nSummary: {SUMMARY}\n"
        ),
        f"{folder}/pyproject.toml": (
            '[build-system]\nrequires = ["setuptools>=61"]\nbuild-backend = "setuptools.build_meta"\n\n'
            f'[project]\nname = "torchaudio"\nversion = "0.8.0+empty"\ndescription = "{SUMMARY}"\n\n'
            "[tool.setuptools]\npackages = []\npy-modules = []\n"
        ),
    }


def test_stand_in_is_what_fairseq_asks_for() -> None:
    asked = map(Requirement, importlib.metadata.requires("fairseq-fixed") or [])
    versions = [each.specifier for each in asked if each.name == "torchaudio"]
    assert all(specifier.contains("0.8.0+empty") for specifier in versions)


def test_transformers_works_without_this_package(tmp_path: Path) -> None:
    """It doesn't beside a torchaudio that can't be imported: set up with constraints.txt, as README says."""
    code = "import sys; from transformers import BertModel; print('bertkd_fairseq' in sys.modules)"
    assert run_clean([sys.executable, "-c", code], tmp_path) == "False\n"
