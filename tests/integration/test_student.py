"""Stage 3 through the real commands: distil, refuse what doesn't fit, decode where there is no store."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from bertkd_fairseq.analysis.inspect import run as inspect
from bertkd_fairseq.analysis.inspect.agreement import Agreement, TokenMeans, agreement_rows
from bertkd_fairseq.cli import main
from bertkd_fairseq.compat import load_safely
from bertkd_fairseq.topk_store import TopKStore
from tests.changed_bytes import changed_byte
from tests.conftest import BERTKD, USER_DIR, fairseq_command, run_command
from tests.integration.conftest import (
    COMMON,
    DISTILL,
    STUDENT,
    logged,
    torchrun,
    train_command,
)

BLEU = (
    *("--eval-bleu", "--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"),
    *("--eval-bleu-args", '{"beam": 1, "max_len_a": 1.2, "max_len_b": 10}'),
    *("--eval-bleu-detok", "bertkd_moses"),
    *("--eval-bleu-detok-args", '{"undo_segmentation": true, "target_lang": "en"}'),
)


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq makes ./checkpoints even with --no-save."""
    monkeypatch.chdir(tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def student(
    tmp_path_factory: pytest.TempPathFactory, data_bin: Path, topk: Path
) -> tuple[Path, str]:
    """Folder of a distilled student, trained with BLEU validation and a data-loader worker, and its log."""
    save_dir = tmp_path_factory.mktemp("student")
    options = (
        "--teacher-topk",
        topk,
        "--max-update",
        20,
        "--num-workers",
        2,
        "--save-dir",
        save_dir,
    )
    done = run_command(train_command(data_bin, *STUDENT, *DISTILL, *options, *BLEU))
    return save_dir, done.stdout


def test_training_logs_the_parts_of_the_loss(student: tuple[Path, str]) -> None:
    updates = logged(student[1])
    for key in ("loss", "nll_loss", "kd_loss"):
        assert updates[-1][key] < updates[0][key], key


def test_validation_has_no_teacher_and_chooses_by_bleu(student: tuple[Path, str]) -> None:
    valid = logged(student[1], "valid")[-1]
    assert "valid_kd_loss" not in valid
    assert valid["valid_best_bleu"] == max(
        line["valid_bleu"] for line in logged(student[1], "valid")
    )


@pytest.mark.parametrize("task", ["translation", "translation_bert_kd"])
def test_a_student_decodes_every_sentence_where_no_store_exists(
    data_bin: Path, student: tuple[Path, str], task: str
) -> None:
    generate = [*fairseq_command("generate"), data_bin, "--path", student[0] / "checkpoint_best.pt"]
    options = ["--task", task, "--beam", 5, "--lenpen", 0.6, "--required-batch-size-multiple", 1]
    plugin = ["--user-dir", USER_DIR, "--bpe", "bert_wordpiece"]
    output = run_command([*generate, *options, *plugin], cwd="/").stdout
    assert sorted(int(i) for i in re.findall(r"^D-(\d+)\t", output, re.MULTILINE)) == list(
        range(61)
    )
    assert not re.findall(r"^D-.*(##|￭)", output, re.MULTILINE)


def test_inspect_counts_as_fairseq_validate_does(
    tmp_path: Path,
    data_bin: Path,
    topk: Path,
    student: tuple[Path, str],
) -> None:
    checkpoint = student[0] / "checkpoint_best.pt"
    command = [*fairseq_command("validate"), data_bin, "--path", checkpoint, "--user-dir", USER_DIR]
    options = ("--valid-subset", "train", "--max-tokens", 1000, "--log-format", "json")
    loss = ("--criterion", "label_smoothed_cross_entropy", "--report-accuracy")
    done = run_command([*command, *options, *COMMON[:2], "--task", "translation", *loss])
    wanted = logged(done.stdout + done.stderr, "train")[-1]

    students = ("--student", f"one={checkpoint}", "--student", f"two={checkpoint}")
    command = [*BERTKD, "inspect", topk, "--data-bin", data_bin, "--json", tmp_path / "x.json"]
    output = run_command([*command, *students, "--student", f"two={checkpoint}"]).stdout
    summary = json.loads((tmp_path / "x.json").read_text())
    (one,), two = (summary["students"][name]["runs"] for name in ("one", "two"))
    assert summary["students"]["two"]["files"] == [str(checkpoint)] * 2
    assert two == [one, one]  # seeds
    assert one["all"]["tokens"] == summary["tokens"]
    assert one["eos"]["tokens"] == 600
    assert one["all"]["accuracy"] == pytest.approx(wanted["train_accuracy"], abs=6e-4)
    assert one["all"]["nll_bits"] == pytest.approx(wanted["train_nll_loss"], abs=6e-4)
    # The share of tokens for which the teacher is right is what the statistics say.
    hits = one["first"]["tokens"] / (one["all"]["tokens"] - 600)
    assert 100 * hits == pytest.approx(summary["statistics"]["accuracy"], abs=0.006)
    assert one["first"]["accuracy"] == one["first"]["teachers_first"]
    for name, runs in (("one", [one]), ("two", two)):
        typed = [Agreement(**{group: TokenMeans(**run[group]) for group in run}) for run in runs]
        cells = [
            line.split("  ") for line in output.partition(f"\nStudent {name}\n")[2].splitlines()
        ]
        printed = [tuple(cell.strip() for cell in line if cell) for line in cells[1:6]]
        assert printed == list(agreement_rows(typed, 4))


def test_how_large_the_parts_are_that_inspect_reads_changes_nothing(
    tmp_path: Path,
    data_bin: Path,
    topk: Path,
    student: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["inspect", str(topk), "--data-bin", str(data_bin)]
    command += ["--student", f"one={student[0] / 'checkpoint_best.pt'}"]
    runs = []
    for at_once in (10_000, 7):  # in one process, so that the model computes the same
        monkeypatch.setattr(inspect, "_SENTENCES_AT_ONCE", at_once)
        path = tmp_path / f"{at_once}.json"
        assert main([*command, "--json", str(path)]) == 0
        runs += json.loads(path.read_text())["students"]["one"]["runs"]
    for group, numbers in runs[0].items():
        assert runs[1][group] == pytest.approx(numbers, rel=1e-9)


def test_inspect_refuses_what_is_no_student_of_this_store(
    tmp_path: Path, data_bin: Path, topk: Path, teacher: Path, student: tuple[Path, str]
) -> None:
    command = [*BERTKD, "inspect", topk, "--data-bin", data_bin, "--student"]
    done = run_command([*command, f"teacher={teacher}"], check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "error: `--student` must be a left-to-right sequence-to-sequence student, "
        f"but is the BertCMLMTeacher in {teacher} instead. Name the checkpoint of a student.",
    )
    path = tmp_path / "student.pt"
    checkpoint = load_safely(student[0] / "checkpoint_best.pt")
    task = checkpoint["cfg"]["task"]
    task["source_lang"], task["target_lang"] = "tgt", "src"
    torch.save(checkpoint, path)
    done = run_command([*command, f"reverse={path}"], check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "error: `--student` must be a model from src to tgt like the store, but is one from tgt to src, "
        f"{path}, instead. Name a student of the same task, or the store of its teacher.",
    )
    task["source_lang"], task["target_lang"] = "src", "tgt"
    checkpoint["cfg"]["model"].max_source_positions = 8
    torch.save(checkpoint, path)
    done = run_command([*command, f"short={path}"], check=False)
    assert done.returncode == 2
    assert re.fullmatch(
        rf"error: `source sentence \d+` must be at most 8 tokens for {path}, but is \d+ tokens instead. "
        "Ask a student with more --max-source-positions.",
        done.stderr.splitlines()[-1],
    )


def test_alpha_zero_trains_exactly_as_fairseqs_criterion(
    tmp_path: Path, data_bin: Path, topk: Path
) -> None:
    # No dropout, so that both see the same network; three updates, so that gradients count too.
    options = (*STUDENT, "--dropout", 0, "--max-update", 3, "--disable-validation", "--no-save")
    theirs = ("--task", "translation", "--criterion", "label_smoothed_cross_entropy")
    ours = (*DISTILL, "--teacher-topk", topk, "--kd-alpha", 0)
    plain = logged(run_command(train_command(data_bin, *options, *theirs)).stdout)
    distilled = logged(run_command(train_command(data_bin, *options, *ours)).stdout)
    assert len(plain) == len(distilled) == 3
    for first, second in zip(plain, distilled, strict=True):
        for key in ("loss", "nll_loss", "gnorm", "num_updates"):
            assert second[key] == pytest.approx(first[key], abs=1.1e-3), (
                key
            )  # the last printed digit


SELECTED = (
    *("--kd-token-selection", "student-loss", "--kd-better-only"),
    *("--kd-loss-correction", 1, "--kd-rank-first", 1),
)


@pytest.mark.parametrize("more", [(), SELECTED])
def test_two_processes_equal_one_with_update_freq(
    tmp_path: Path, data_bin: Path, topk: Path, more: tuple[object, ...]
) -> None:
    options = (*STUDENT, *DISTILL, "--teacher-topk", topk, "--dropout", 0, "--max-update", 4, *more)
    save_dir = ("--save-dir", tmp_path / "two")
    one = run_command(train_command(data_bin, *options, "--update-freq", 2, "--no-save")).stdout
    two = run_command(torchrun(2, train_command(data_bin, *options, *BLEU, *save_dir))).stdout
    for first, second in zip(logged(one), logged(two), strict=True):
        keys = (
            "loss",
            "nll_loss",
            "kd_loss",
            "gnorm",
            *(("kd_selected", "kd_rank_loss") if more else ()),
        )
        for key in keys:
            assert second[key] == pytest.approx(first[key], abs=2e-3), key
    # In several processes the counts of BLEU are saved as floats: such a checkpoint has to load too.
    generate = [
        *fairseq_command("generate"),
        data_bin,
        "--path",
        tmp_path / "two" / "checkpoint_best.pt",
    ]
    run_command([*generate, "--user-dir", USER_DIR, "--max-len-b", 20])


@pytest.mark.parametrize("alpha", [0, 0.5])
def test_a_process_that_runs_out_of_batches_stays_in_step(
    tmp_path: Path, data_bin: Path, topk: Path, alpha: float
) -> None:
    """fairseq lets it repeat a batch, after a validation one of those, which has no teacher."""
    options = (*STUDENT, *DISTILL, "--teacher-topk", topk, "--kd-alpha", alpha, "--max-epoch", 1)
    odd = ("--batch-size", 200, "--max-tokens", 100_000, "--save-dir", tmp_path)
    lines = logged(run_command(torchrun(2, train_command(data_bin, *options, *odd))).stdout)
    sizes = [line["wpb"] for line in lines]
    # Three batches for two processes, every token once.
    assert (len(sizes), sum(sizes)) == (2, TopKStore.open(topk).meta["num_tokens"])


def start(data_bin: Path | str, *options: object) -> tuple[int, str]:
    """Begin training and return exit code and the last message."""
    command = train_command(data_bin, *STUDENT, *DISTILL, "--max-update", 1, "--no-save", *options)
    done = run_command(command, check=False)
    assert "Traceback" not in done.stderr
    assert not logged(done.stdout)
    return done.returncode, done.stderr[done.stderr.index("error:") :]


def test_a_damaged_block_is_named(tmp_path: Path, data_bin: Path, topk: Path) -> None:
    """By a data-loader worker, which is the first to read it."""
    copy = Path(shutil.copytree(topk, tmp_path / "topk"))
    with changed_byte(copy / "logprobs.npy", -1, 1):
        assert start(data_bin, "--teacher-topk", copy, "--num-workers", 1) == (
            2,
            f"error: the teacher store {copy} is damaged: block 0 (sentences 0 to 599) of ids.npy, logprobs.npy, "
            "log_tail.npy or gold_logprob.npy differs from its checksum in meta.json. "
            "Dump it again with `bertkd dump-topk --force`.\n",
        )


def test_several_folders_take_a_store_each(data_bin: Path, topk: Path) -> None:
    both = f"{data_bin}:{data_bin}"
    options = (
        *STUDENT,
        *DISTILL,
        "--teacher-topk",
        f"{topk}:{topk}",
        "--max-epoch",
        2,
        "--no-save",
    )
    assert logged(run_command(train_command(both, *options)).stdout)
