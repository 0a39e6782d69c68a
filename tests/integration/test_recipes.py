"""The recipes under ``examples``, run on the miniature pair with tiny sizes."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_command
from tests.integration.recipe import EXAMPLES, settings_of

RECIPES = ["gigaword", "iwslt14_deen", "iwslt15_envi", "multi30k_deen", "wmt14_ende"]
SCRIPTS = sorted(path.name for path in (EXAMPLES / "multi30k_deen").glob("*.sh"))
OWN = {"gigaword/01_prepare.sh", "iwslt14_deen/01_prepare.sh"}
STAGES = [
    *("prepare", "teacher", "dump", "plain", "dump_valid", "lead", "distilled"),
    *("generate_plain", "generate_distilled", "compare", "curves"),
]


def _environment(corpus: Path, bert: Path, work: Path) -> dict[str, str]:
    sizes = {"LAYERS": 1, "DIM": 32, "FFN": 32, "HEADS": 2, "TEACHER_UPDATES": 4}
    sizes |= {"PLAIN_UPDATES": 4, "VALIDATE_EVERY": 2, "LOG_EVERY": 1, "RESAMPLES": 20}
    return {
        **{"DATA": str(corpus), "BERT": str(bert), "WORK": str(work), "SRC": "src", "TGT": "tgt"},
        **{"TEACHER_WARMUP": "1", "PYTHON": sys.executable},
        # As in the paper.
        **{"SUBWORD": "wordpiece", "ENSEMBLE": "0", "AVERAGE": "0"},
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        **{name: str(size) for name, size in sizes.items()},
    }


def _run(
    script: str, recipe: str = "multi30k_deen", **kwargs: object
) -> subprocess.CompletedProcess:
    return run_command(["bash", EXAMPLES / recipe / script], **kwargs)


def test_recipes_have_the_same_scripts() -> None:
    assert [
        *("01_prepare.sh", "02_teacher.sh", "03_dump.sh", "04_plain.sh", "05_distilled.sh"),
        *("06_compare.sh", "07_export.sh", "config.sh", "run_all.sh", "select.sh", "student.sh"),
    ] == SCRIPTS
    assert sorted(path.parent.name for path in EXAMPLES.glob("*/config.sh")) == RECIPES
    for path in (*EXAMPLES.glob("*/*.sh"), *EXAMPLES.glob("*/ladder/*.sh")):
        run_command(["bash", "-n", path])
        if path.name[0].isdigit() or path.name in ("run_all.sh", "select.sh", "student.sh"):
            assert "\nset -euo pipefail\n" in path.read_text("utf-8")
            assert os.access(path, os.X_OK)


def test_a_stage_that_recipes_share_is_written_once() -> None:
    for recipe in RECIPES:
        for script in SCRIPTS:
            path = EXAMPLES / recipe / script
            own = script == "config.sh" or f"{recipe}/{script}" in OWN
            assert own or path.readlink() == Path("..", "stages", script), path


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck here")
def test_shellcheck_has_nothing_to_say() -> None:
    files = [path for path in EXAMPLES.glob("*/*.sh") if not path.is_symlink()]
    run_command(["shellcheck", "--shell", "bash", "--exclude", "SC1091,SC2034,SC2154", *files])


@pytest.fixture(scope="module")
def work(
    tmp_path_factory: pytest.TempPathFactory, miniature_corpus: Path, tiny_bert: Path
) -> tuple[Path, dict[str, str], str]:
    """Everything run once: the folder, the environment, what the scripts said."""
    folder = tmp_path_factory.mktemp("recipe")
    env = _environment(miniature_corpus, tiny_bert, folder / "work")
    done = _run("run_all.sh", cwd=folder, env=env)
    return folder / "work", env, done.stdout


def test_run_all_ends_with_the_scores_of_every_test_sentence(work: tuple) -> None:
    folder, _, said = work
    assert [line.split(":")[0] for line in said.splitlines() if ": running" in line] == STAGES
    assert "\nsystem " in said and "There are 61 sentences. The paired bootstrap" in said
    scores = json.loads((folder / "scores.json").read_text("utf-8"))
    assert list(scores["scores"]) == ["plain", "distilled"] and scores["lowercase"] is True
    assert (folder / "compare.html").read_text("utf-8").endswith("</html>\n")
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    lead = json.loads((folder / "lead.json").read_text("utf-8"))
    assert list(lead["students"]) == ["plain"] and lead["statistics"]["tokens"] == lead["tokens"]
    shown = said.split("\nPredicted correctly, EOS apart\n")[1].splitlines()[1:3]
    assert [line.split()[0] for line in shown] == ["teacher", "plain"]
    seconds = [line.split("\t")[0] for line in (folder / "seconds.tsv").read_text().splitlines()]
    assert seconds == STAGES


def test_complete_stages_skip_themselves(work: tuple) -> None:
    folder, env, _ = work
    before = {path: os.stat(path).st_mtime_ns for path in folder.rglob("*")}
    said = _run("run_all.sh", cwd=folder, env=env).stdout
    skipped = [line.split(":")[0] for line in said.splitlines() if "complete, skipped" in line]
    assert skipped == STAGES
    assert before == {path: os.stat(path).st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.skipif(
    importlib.util.find_spec("ctranslate2") is None, reason="CTranslate2 isn't installed"
)
def test_the_student_is_exported_and_scored_beside_fairseq(work: tuple) -> None:
    folder, env, _ = work
    said = _run("run_all.sh", cwd=folder, env={**env, "EXPORT": "1"}).stdout
    run = [line.split(":")[0] for line in said.splitlines() if ": running" in line]
    kinds = ("float32", "int8")
    exported = [f"{stage}_{kind}" for kind in kinds for stage in ("export", "translate")]
    assert run == [*exported, "compare_export"]
    scores = json.loads((folder / "export" / "scores.json").read_text("utf-8"))["scores"]
    assert list(scores) == ["fairseq", *kinds]
    for kind in kinds:
        assert (folder / "export" / kind / "model.bin").is_file()
        assert len((folder / "export" / f"test.{kind}.tgt").read_text().splitlines()) == 61


def test_another_student_goes_on_from_its_checkpoint(work: tuple) -> None:
    folder, env, _ = work
    more = {**env, "SEED": "2", "KD_ALPHA": "0.3", "KD_TEMPERATURE": "1"}
    for updates in ("2", "4"):
        _run("student.sh", cwd=folder, env={**more, "UPDATES": updates})
        name = f"alpha0.3.T1.seed2.{updates}"
        assert "H-60\t" in (folder / name / "generate-test.txt").read_text("utf-8")
    log = (folder / "logs" / "alpha0.3.T1.seed2.4.log").read_text("utf-8")
    assert "num_updates=3, " in log and "num_updates=2, " not in log and "kd_loss=" in log
    _run("student.sh", cwd=folder, env={**more, "KD_ALPHA": "0", "UPDATES": "2"})
    log = (folder / "logs" / "plain.seed2.2.log").read_text("utf-8")
    assert "num_updates=2, " in log and "kd_loss=" not in log


def test_plain_students_teach_beside_bert(work: tuple, tmp_path: Path) -> None:
    """The baseline, another of the next seed, and BERT, which has the weight that it is given."""
    folder, env, _ = work
    shutil.copytree(folder, tmp_path / "work")
    for name in ("topk", "dump.done", "dump.json"):
        path = tmp_path / "work" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    more = {**env, "WORK": str(tmp_path / "work"), "ENSEMBLE": "2", "BERT_WEIGHT": "0.5"}
    said = _run("03_dump.sh", env=more).stdout
    stages = [line.split(":")[0] for line in said.splitlines() if ": running" in line]
    assert stages == ["plain.seed2.4", "dump"]
    command = (tmp_path / "work" / "dump.done").read_text("utf-8")
    students = "$WORK/plain/checkpoint_best.pt:$WORK/plain.seed2/checkpoint_best.pt"
    assert f"--path $WORK/teacher/checkpoint_best.pt:{students} " in command
    assert " --weights 0.5\\,0.25\\,0.25 " in command
    # With means of checkpoints, these are taken.
    shown = 'source "$1"; teacher_models; echo "${MODELS[@]}"'
    means = {**more, "AVERAGE": "2"}
    config = EXAMPLES / "multi30k_deen" / "config.sh"
    path = run_command(["bash", "-c", shown, "_", config], env=means).stdout.split()[1].split(":")
    assert [name.removeprefix(more["WORK"]) for name in path] == [
        "/teacher/checkpoint_best.pt",
        "/plain/average_last.pt",
        "/plain.seed2/average_last.4.pt",
    ]


def test_a_student_of_chosen_hypotheses(work: tuple) -> None:
    """N-best lists in parts, rescored with tuned weights, chosen, dumped; their store joins that of the reference."""
    folder, env, _ = work
    more = {**env, "NBEST": "2", "PARTS": "2", "SELECT_EXTRA": "--max-length 900"}
    done = _run("select.sh", cwd=folder, env=more)
    stages = [line.split(":")[0] for line in done.stdout.splitlines() if ": running" in line]
    assert stages == [
        *("nbest_plain.train.0", "nbest_plain.train.1", "nbest_plain.valid.0"),
        *("rescore_plain.teacher", "select_teacher.data-bin", "dump_teacher.1"),
    ]
    report = json.loads((folder / "selected" / "teacher" / "data-bin.json").read_text("utf-8"))
    assert (report["split"], report["counts"]["hypotheses"]) == ("train1", 1200)
    _run("student.sh", cwd=folder, env={**env, "SELECTED": "teacher", "UPDATES": "2"})
    (log,) = (folder / "logs").glob("teacher.alpha*.2.log")
    assert "num_updates=2, " in log.read_text("utf-8") and "kd_loss=" in log.read_text("utf-8")


def test_complete_stage_with_other_settings_is_refused(work: tuple) -> None:
    folder, env, _ = work
    done = _run("05_distilled.sh", cwd=folder, env={**env, "KD_ALPHA": "0.2"}, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: distilled is complete in {folder}, but with other settings (see "
        f"{folder}/distilled.done). Use another WORK, or remove the results of this stage and of "
        "all later ones.\n"
    )


def test_table_is_the_last_attempts(work: tuple) -> None:
    folder, env, _ = work
    (folder / "compare.done").unlink()
    said = _run("06_compare.sh", cwd=folder, env=env).stdout
    assert (folder / "logs" / "compare.log").read_text("utf-8").count("\nsystem ") == 2
    assert said.count("\nsystem ") == 1
    assert "\ncheckpoint_best.pt, beam 5 (scores.json)\nsystem " in said


def test_missing_hypothesis_fails_the_recipe(work: tuple) -> None:
    folder, env, _ = work
    output = folder / "plain" / "generate-test.txt"
    lines = output.read_text("utf-8").splitlines()
    output.write_text("\n".join(x for x in lines if not x.startswith(("H-60\t", "D-60\t"))))
    (folder / "compare.done").unlink()
    done = _run("06_compare.sh", cwd=folder, env=env, check=False)
    assert done.returncode == 2
    assert "has no H- line for 1 of 61 sentences (ids 60)" in done.stderr
    assert "error: compare failed with exit code 2" in done.stderr


def test_missing_data_variable_is_named() -> None:
    done = _run("01_prepare.sh", env={"DATA": "", "BERT": "x"}, check=False)
    assert done.returncode != 0
    assert "DATA: must name the folder with train, valid and test" in done.stderr


@pytest.mark.parametrize(
    ("recipe", "etas"),
    [
        ("iwslt14_deen", (1, 2)),
        ("iwslt15_envi", (1, 2)),
        ("wmt14_ende", (4, 2)),
        ("gigaword", (1, 2)),
    ],
)
def test_learning_rates_of_the_paper_are_noams_peak(
    tmp_path: Path, recipe: str, etas: tuple[int, int]
) -> None:
    """Section 4.2: lr = eta * 512^-0.5 * warmup^-0.5 at the end of the warm-up; appendix A has the etas."""
    names = "PLAIN_LR PLAIN_WARMUP KD_LR KD_WARMUP"
    values = [float(value) for value in settings_of(recipe, names, tmp_path).values()]
    for eta, rate, warmup in zip(etas, values[::2], values[1::2], strict=True):
        assert rate == pytest.approx(eta * (512 * warmup) ** -0.5, rel=0.01)
