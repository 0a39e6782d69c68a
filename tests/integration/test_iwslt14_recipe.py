"""The IWSLT14 recipe at ``SCALE=mini``: from an archive of the same layout to the tables."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
import torch

from bertkd_fairseq import compat
from bertkd_fairseq.demo.miniature import train_tiny_bert
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.lines import read_lines
from tests.conftest import CHECKOUT, run_command
from tests.iwslt14_archive import write_archive

RECIPE = CHECKOUT / "examples" / "iwslt14_deen"
# Decoding costs most of the time: what only repeats a command on other checkpoints is not run here.
GENERATE = """#!/usr/bin/env bash
case "$*" in
*average_best*|*plain/average*|*beam\\ 4*) ;;
*) exec {real} "$@" ;;
esac
for checkpoint in "$@"; do [[ $checkpoint != *.pt ]] || [[ -f $checkpoint ]] || exit 1; done
while [[ $1 != --results-path ]]; do shift; done
mkdir -p "$2" && cp "$WORK/plain/generate-test.txt" "$2"
"""


@pytest.fixture(scope="module")
def run_all(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], str]:
    """The folder of results, the environment, and what the scripts said."""
    folder = tmp_path_factory.mktemp("iwslt14")
    archive = folder / "de-en.tgz"
    pairs = write_archive(archive, num_train=600, num_test=12)
    bert = train_tiny_bert(sorted((folder / "de-en.tgz.text").glob("train.*")), folder / "bert")
    programs = folder / "bin"
    programs.mkdir()
    real = Path(sys.executable).parent / "fairseq-generate"
    (programs / "fairseq-generate").write_text(GENERATE.format(real=real))
    (programs / "fairseq-generate").chmod(0o755)
    path = (str(programs), str(Path(sys.executable).parent), os.environ["PATH"])
    env = {
        **{"SCALE": "mini", "ARCHIVE": str(archive), "BERT": str(bert), "AVERAGE": "3"},
        **{"WORK": str(folder / "work"), "PAIRS": " ".join(map(str, pairs))},
        **{"PYTHON": sys.executable, "PATH": os.pathsep.join(path)},
    }
    done = run_command(["bash", RECIPE / "run_all.sh"], cwd=folder, env=env)
    return folder / "work", env, done.stdout


def test_text_is_the_archives(run_all: tuple[Path, dict[str, str], str]) -> None:
    work, _, said = run_all
    assert "\npairs: train 574, valid 26, test 60\n" in said
    facts = DataBin.open(work / "data-bin").settings
    assert {name: split["kept"] for name, split in facts["splits"].items()} == {
        **{"train": 574, "valid": 26, "test": 60}
    }
    assert all(split["dropped"] == {} for split in facts["splits"].values())
    assert (facts["lowercase"], facts["normalize_punctuation"]) == (True, False)
    assert read_lines(work / "text" / "test.en") == read_lines(
        DataBin.open(work / "data-bin").reference("test", "en")
    )


def test_tables_of_single_checkpoints_and_of_averages(
    run_all: tuple[Path, dict[str, str], str],
) -> None:
    work, _, said = run_all
    names = ["", ".average_best", ".average_last", ".beam4"]
    for name in names:
        scores = json.loads((work / f"scores{name}.json").read_text("utf-8"))
        assert list(scores["scores"]) == ["plain", "distilled"]
        assert all(f"/{arm}{name}/" in scores["files"][arm][0][0] for arm in scores["files"])
    assert said.count("There are 60 sentences. The paired bootstrap") == len(names)
    headings = re.findall(r"^(\S+), beam (\d) \(scores(\S*)\.json\)\nsystem ", said, re.MULTILINE)
    assert sorted(headings) == [
        ("average_best.pt", "5", ".average_best"),
        ("average_last.pt", "5", ".average_last"),
        ("checkpoint_best.pt", "4", ".beam4"),
        ("checkpoint_best.pt", "5", ""),
    ]
    compat.apply()
    for arm in ("plain", "distilled"):
        last = torch.load(work / arm / "average_last.pt", weights_only=True)["averaged"]
        kept = sorted(file.name for file in (work / arm).glob("checkpoint_*_*.pt"))
        assert last == kept and len(kept) == 3
        best = torch.load(work / arm / "average_best.pt", weights_only=True)["averaged"]
        assert best == sorted(file.name for file in (work / arm).glob("checkpoint.best_*.pt"))


def test_single_beam_and_checkpoint_are_what_was_asked_for(
    run_all: tuple[Path, dict[str, str], str],
) -> None:
    work, _, _ = run_all
    for suffix, checkpoint, beam in (
        ("", "checkpoint_best", 5),
        (".beam4", "checkpoint_best", 4),
        (".average_last", "average_last", 5),
        (".average_best", "average_best", 5),
    ):
        done = (work / f"generate_distilled{suffix}.done").read_text()
        assert f"--path $WORK/distilled/{checkpoint}.pt " in done
        assert f"--beam {beam} --lenpen 0.6 " in done


def test_another_weight_keeps_nothing_of_the_student_before(
    run_all: tuple[Path, dict[str, str], str], tmp_path: Path
) -> None:
    """What multi30k_deen/README.md says to remove, done to a run with averages and another beam."""
    readme = (RECIPE.parent / "multi30k_deen" / "README.md").read_text("utf-8")
    [remove] = re.findall(r"\(cd work/alpha08 && (rm .*)\)", readme)
    for path in run_all[0].iterdir():  # names are enough
        (tmp_path / path.name).touch()
    run_command(["bash", "-c", remove], cwd=tmp_path)
    plain = ["", ".average_best", ".average_last", ".beam4"]
    kept = ["average_best_plain", "average_last_plain", *(f"generate_plain{x}" for x in plain)]
    kept += ["archive", "dump", "dump_valid", "lead", "plain", "prepare", "teacher"]
    assert sorted(path.stem for path in tmp_path.glob("*.done")) == sorted(kept)
    assert not list(tmp_path.glob("*distilled*")) and not list(tmp_path.glob("scores*"))


def test_other_archive_is_refused(run_all: tuple[Path, dict[str, str], str]) -> None:
    work, env, _ = run_all
    env = {**env, "PAIRS": "574 26 61", "WORK": str(work.parent / "other")}
    done = run_command(["bash", RECIPE / "01_prepare.sh"], env=env, check=False)
    assert done.returncode == 2
    assert "must give 574 / 26 / 61 pairs of train / valid / test, but gives 574 / 26 / 60" in (
        done.stderr
    )
    assert not (work.parent / "other" / "text").exists()


@pytest.mark.parametrize("wrong", ["1", "x", "-2"])
def test_number_of_averaged_checkpoints(tmp_path: Path, wrong: str) -> None:
    env = {"AVERAGE": wrong, "WORK": str(tmp_path), "PYTHON": sys.executable}
    env["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = run_command(["bash", RECIPE / "04_plain.sh"], env=env, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"error: `AVERAGE` must be 0 or a number of checkpoints from 2 on, but is {wrong} instead.\n"
    )


def test_mini_needs_an_archive() -> None:
    done = run_command(["bash", RECIPE / "01_prepare.sh"], env={"SCALE": "mini"}, check=False)
    assert done.returncode != 0
    assert "ARCHIVE: must be a miniature de-en.tgz, see tests/iwslt14_archive.py" in done.stderr
