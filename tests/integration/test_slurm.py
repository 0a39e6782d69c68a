"""A recipe submitted to SLURM, with a stand-in for sbatch that writes down what it is asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.conftest import CHECKOUT

SCRIPT = CHECKOUT / "examples" / "stages" / "slurm.sh"
SBATCH = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$ASKED"
wc -l <"$ASKED"
"""


def test_jobs_wait_for_what_they_need(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text(SBATCH)
    sbatch.chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "ASKED": str(tmp_path / "asked"),
    }
    env |= {"RECIPE": "wmt14_ende", "WORK": str(tmp_path / "work"), "GPUS": "2", "DUMP_JOBS": "3"}
    env["EXPORT"] = "1"
    done = subprocess.run(
        [SCRIPT, "--partition=gpu"], env=env, capture_output=True, text=True, check=True
    )
    assert (
        done.stdout
        == "jobs: prepare 1, teacher 2, plain 3, dump 4, distilled 5, compare 6, export 7\n"
    )
    jobs = (tmp_path / "asked").read_text().splitlines()
    assert all("--partition=gpu" in job for job in jobs)
    needed = [job.partition("--dependency ")[2].split(" ")[0] for job in jobs]
    assert needed == [
        "",
        "afterok:1",
        "afterok:1",
        "afterok:2",
        "afterok:3:4",
        "afterok:5",
        "afterok:5",
    ]
    gpus = [job.partition("--gpus-per-node ")[2].split(" ")[0] for job in jobs]
    assert gpus == ["", "2", "2", "1", "2", "1", ""]
    recipe = CHECKOUT / "examples" / "wmt14_ende"
    assert jobs[3].endswith(
        f"--wrap GPUS=1 DUMP_JOBS=3 DUMP_JOB=$SLURM_ARRAY_TASK_ID {recipe}/03_dump.sh"
    )
    assert "--array 0-2" in jobs[3]
    scripts = [job.rsplit("/", 1)[1] for job in jobs]
    assert sorted(scripts) == sorted(path.name for path in recipe.glob("0*.sh"))
