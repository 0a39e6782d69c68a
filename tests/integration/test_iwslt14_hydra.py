"""``examples/iwslt14_deen/hydra`` says what the recipe's command lines say."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from bertkd_fairseq.analysis.curves.training_log import read_log
from tests.conftest import CHECKOUT, USER_DIR, fairseq_command, run_command

RECIPE = CHECKOUT / "examples" / "iwslt14_deen"
SCRIPTS = {"teacher": "02_teacher.sh", "plain": "04_plain.sh", "distilled": "05_distilled.sh"}
SETTINGS = Path(__file__).parent / "hydra_settings.py"
RECORD = '#!/usr/bin/env bash\nprintf "%s\\0" "$@" >>"$RECORD"\n'
SIZES = {"LAYERS": 1, "DIM": 32, "FFN": 64, "HEADS": 2, "STUDENT_MAX_TOKENS": 1000}
SIZES |= {"TEACHER_UPDATES": 4, "TEACHER_WARMUP": 2, "TEACHER_MAX_TOKENS": 1000, "LOG_EVERY": 1}
SIZES |= {"PLAIN_UPDATES": 4, "PLAIN_WARMUP": 2, "KD_UPDATES": 4, "KD_WARMUP": 2}
# The same in the YAML's words; no validation, which needs a target language that is English here.
COMMON = ["common.fp16=false", "common.log_format=json", "common.log_interval=1"]
COMMON += ["dataset.max_tokens=1000", "optimization.max_update=4", "lr_scheduler.warmup_updates=2"]
STUDENT = [
    f"model.{side}_{key}={value}"
    for side in ("encoder", "decoder")
    for key, value in {
        **{"layers": 1, "embed_dim": 32, "ffn_embed_dim": 64, "attention_heads": 2}
    }.items()
]
MINI = {
    "teacher": ["common.fp16_no_flatten_grads=false", "lr_scheduler.total_num_update=4"],
    **{"plain": STUDENT, "distilled": STUDENT},
}


def recorded(name: str, folder: Path, **env: object) -> list[str]:
    """Return the arguments that a script of the recipe gives to fairseq-train."""
    (folder / "fairseq-train").write_text(RECORD)
    (folder / "fairseq-train").chmod(0o755)
    path = (str(folder), str(Path(sys.executable).parent), os.environ["PATH"])
    env |= {"PATH": os.pathsep.join(path), "RECORD": folder / "argv", "PYTHON": sys.executable}
    given = {key: str(value) for key, value in env.items()}
    run_command(["bash", RECIPE / SCRIPTS[name]], env=given)
    return (folder / "argv").read_text("utf-8").split("\0")[:-1]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_setting_is_the_command_lines(name: str, tmp_path: Path) -> None:
    # auto is measured by the scripts, where there is no GPU.
    env = {"WORK": str(tmp_path / "work"), "USER_DIR": str(USER_DIR), "PRECISION": "fp32"}
    arguments = recorded(name, tmp_path, **env)
    command = [sys.executable, SETTINGS, RECIPE / "hydra" / f"{name}.yaml", *arguments]
    done = run_command(command, env=env)
    assert json.loads(done.stdout.splitlines()[-1]) == {"different": [], "missing": []}
    # And the comparison can tell: another seed, and a setting that the YAML lacks.
    if name == "plain":
        done = run_command([*command, "--seed", "2", "--clip-norm", "1.0"], env=env)
        found = json.loads(done.stdout.splitlines()[-1])
        assert found == {"different": [["common", "seed", 1, 2]], "missing": ["clip_norm"]}


def test_scripts_pass_on_what_saves_memory_and_what_is_averaged(tmp_path: Path) -> None:
    env = {"WORK": tmp_path / "work", "STUDENT_MAX_TOKENS": 3000, "STUDENT_UPDATE_FREQ": 2}
    arguments = recorded("plain", tmp_path, **env, AVERAGE=5)
    wanted = {"--max-tokens": "3000", "--update-freq": "2"}
    wanted |= {"--keep-interval-updates": "5", "--keep-best-checkpoints": "5"}
    assert {flag: arguments[arguments.index(flag) + 1] for flag in wanted} == wanted


@pytest.mark.parametrize("name", SCRIPTS)
def test_first_losses_are_the_command_lines(
    name: str, tmp_path: Path, data_bin: Path, tiny_bert: Path, topk: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "data-bin").symlink_to(data_bin)
    (work / "topk").symlink_to(topk)
    env = {"WORK": str(work), "USER_DIR": str(USER_DIR), "BERT": str(tiny_bert)}
    env["PRECISION"] = "fp32"
    extra = {"TEACHER_EXTRA": "", "STUDENT_EXTRA": ""}
    arguments = recorded(name, tmp_path, **env, **SIZES, **extra)
    command = [*fairseq_command("train"), *arguments, "--log-format", "json"]
    plain = run_command([*command, "--disable-validation", "--no-save"])
    config = ["--config-dir", RECIPE / "hydra", "--config-name", name]
    more = ["dataset.disable_validation=true", "checkpoint.no_save=true"]
    hydra = run_command(
        [*fairseq_command("hydra_train"), *config, *COMMON, *MINI[name], *more],
        env=env,
        cwd=tmp_path,
    )
    losses = []
    for said in (plain.stdout, hydra.stdout):
        (tmp_path / "log").write_text(said)
        values = [p.values for p in read_log(tmp_path / "log") if p.split == "train_inner"]
        losses.append([(value["loss"], value["gnorm"]) for value in values])
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert not (tmp_path / "outputs").exists()
