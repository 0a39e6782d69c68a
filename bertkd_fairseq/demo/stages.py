"""What the demo runs: the commands of every stage, as the docs show them for real data."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.demo.language import SOURCE_LANG, TARGET_LANG
from bertkd_fairseq.installed import method_options, user_dir

SPLITS = ("train", "valid", "test")

# What the stages leave in the demo's folder for a reader.
DUMPED = "topk.json"
SCORES, COMPARED, TABLES = "scores.json", "compare.html", "compare.txt"
CURVES = "curves.png"


@dataclass(frozen=True)
class Sizes:
    """How much of everything: set once, never for a result to come out."""

    train: int
    valid: int
    test: int
    bert_steps: int
    teacher_updates: int
    student_updates: int
    resamples: int


FULL = Sizes(1500, 200, 1000, 3000, 500, 400, 1000)
QUICK = Sizes(300, 30, 31, 5, 6, 6, 50)


@dataclass(frozen=True)
class Stage:
    """One command and the file that is there when it is done.

    ``products`` are removed before the command is run for the first time. Where ``counted`` is given, its last match
    in the log, or the number of its matches where it has no group, says how many ``unit`` of ``total`` are done.
    """

    name: str
    purpose: str
    argv: list[str]
    result: Path
    products: tuple[Path, ...] = ()
    total: int = 0
    unit: str = ""
    counted: str = ""
    watched: Path | None = None  # where to count, if not in the log

    def count(self, text: str) -> int | None:
        """Return how many are done, or None if ``text`` doesn't say."""
        if not self.counted:
            return None
        found = re.findall(self.counted, text, re.MULTILINE)
        if not found:
            return None
        return int(found[-1]) if re.compile(self.counted).groups else len(found)


def log_file(dest: Path, name: str) -> Path:
    """Return where the stage of that name logs."""
    return dest / "logs" / f"{name}.log"


def plan(dest: Path, sizes: Sizes, seed: int, precision: str, bertkd: Sequence[str]) -> list[Stage]:
    """Return the stages in order, as the docs show them for real data.

    ``bertkd``: how to call that command here; the command line, which is on a higher floor, knows it.
    """
    bert, data_bin, topk = (str(dest / name) for name in ("bert", "data-bin", "topk"))
    counts = f"{sizes.train},{sizes.valid},{sizes.test}"
    language = [sys.executable, "-m", "bertkd_fairseq.demo.miniature", "--destdir", str(dest)]
    language += ["--pairs", counts, "--steps", str(sizes.bert_steps), "--seed", str(seed)]
    language += ["--precision", precision]
    prepare = [*bertkd, "prepare", "--source-lang", SOURCE_LANG, "--target-lang", TARGET_LANG]
    for split in SPLITS:
        prepare += [f"--{split}", str(dest / "corpus" / split)]
    prepare += ["--tokenizer", bert, "--destdir", data_bin, "--force"]
    dump = [*bertkd, "dump-topk", data_bin, "--path", _best(dest / "teacher"), "--destdir", topk]
    dump += ["--topk", "8", "--precision", precision, "--json", str(dest / DUMPED)]
    kd = ["bert_kd_label_smoothed_cross_entropy", "--kd-alpha", "0.5", "--kd-temperature", "10"]
    students = {
        "plain": ("the student without a teacher", ["label_smoothed_cross_entropy"]),
        "distilled": ("the same student with the teacher's top 8", [*kd, "--teacher-topk", topk]),
    }
    compare = [*bertkd, "compare", "--data-bin", data_bin, "--resamples", str(sizes.resamples)]
    curves = [*bertkd, "curves", "--force", "--output", str(dest / CURVES)]
    for name in students:
        compare += ["--system", f"{name}={dest / name / 'generate-test.txt'}"]
        curves += ["--run", f"{name}={log_file(dest, name)}"]
    compare += ["--force", "--json", str(dest / SCORES)]
    compare += ["--html", str(dest / COMPARED), "--text", str(dest / TABLES)]
    curves += ["--run", f"teacher={log_file(dest, 'teacher')}", "--title", "bertkd demo"]
    return [
        Stage(
            "language", "make up two languages, pretrain a tiny BERT on both", language,
            dest / "bert" / "config.json", (dest / "corpus", dest / "bert"),
            total=sizes.bert_steps, unit="steps", counted=r"tiny BERT: step (\d+) of",
        ),
        Stage("prepare", "bertkd prepare", prepare, dest / "data-bin" / "bertkd.json"),
        _training(
            dest, "teacher", "BERT learns to fill masked target tokens", sizes.teacher_updates,
            [*_train(dest, "teacher", sizes.teacher_updates, seed, precision),
             *_teacher(bert, sizes.teacher_updates)],
        ),
        Stage(
            "dump", "bertkd dump-topk: the teacher's top 8 at every target token", dump,
            dest / "topk" / "meta.json", (dest / "topk", dest / "topk.partial"),
        ),
        *(_training(
            dest, name, purpose, sizes.student_updates,
            [*_train(dest, name, sizes.student_updates, seed, precision), *_student(criterion)],
        ) for name, (purpose, criterion) in students.items()),
        *(_generate(dest, name, sizes.test) for name in students),
        Stage("compare", "bertkd compare", compare, dest / SCORES),
        Stage("curves", "bertkd curves", curves, dest / CURVES),
    ]  # fmt: skip


def _best(folder: Path) -> str:
    return str(folder / "checkpoint_best.pt")


def _training(dest: Path, name: str, purpose: str, updates: int, argv: list[str]) -> Stage:
    """Return a training as a stage, which continues from its last checkpoint."""
    return Stage(
        *(name, f"fairseq-train: {purpose}", argv, Path(_best(dest / name)), (dest / name,)),
        total=updates,
        unit="updates",
        counted=r"num_updates=(\d+)",
    )


def _train(dest: Path, name: str, updates: int, seed: int, precision: str) -> list[str]:
    """Return what all trainings share."""
    every = str(max(2, updates // 5))
    return [
        sys.executable, "-m", "fairseq_cli.train", str(dest / "data-bin"),
        "--user-dir", str(user_dir()), "--save-dir", str(dest / name), "--seed", str(seed),
        "--precision", precision, "--num-workers", "0",
        "--max-update", str(updates), "--log-format", "simple", "--log-interval", "20",
        "--validate-interval", "100000", "--validate-interval-updates", every,
        "--save-interval", "100000", "--save-interval-updates", every,
        "--keep-interval-updates", "1", "--no-epoch-checkpoints",
    ]  # fmt: skip


def _teacher(bert: str, updates: int) -> list[str]:
    return [
        *method_options("teacher"), "--bert-model", bert, "--attention", "eager",
        "--lr", "1.5e-3", "--warmup-updates", str(updates // 10 + 1),
        "--total-num-update", str(updates), "--max-tokens", "1024",
    ]  # fmt: skip


def _student(criterion: list[str]) -> list[str]:
    greedy = {"beam": 1, "max_len_a": 1.2, "max_len_b": 10}
    detok = {"undo_segmentation": True, "target_lang": TARGET_LANG}
    shape = ["--dropout", "0.1"]
    for side in ("encoder", "decoder"):
        shape += [f"--{side}-layers", "2", f"--{side}-embed-dim", "128"]
        shape += [f"--{side}-ffn-embed-dim", "256", f"--{side}-attention-heads", "4"]
    return [
        "--task", "translation_bert_kd", *method_options("student"), *shape, "--criterion", *criterion,
        "--lr", "3e-3", "--warmup-updates", "150", "--max-tokens", "2048",
        "--eval-bleu-args", json.dumps(greedy), "--eval-bleu-detok-args", json.dumps(detok),
    ]  # fmt: skip


def _generate(dest: Path, name: str, sentences: int) -> Stage:
    """Translate the test split."""
    argv = [
        sys.executable, "-m", "fairseq_cli.generate", str(dest / "data-bin"),
        "--user-dir", str(user_dir()), "--path", _best(dest / name), "--gen-subset", "test",
        "--beam", "5", *method_options("generate"), "--max-tokens", "8000", "--num-workers", "0",
        "--log-format", "none",
        "--results-path", str(dest / name),
    ]  # fmt: skip
    result = dest / name / "generate-test.txt"
    return Stage(
        *(f"translate-{name}", f"fairseq-generate: {name}", argv, result, (result,)),
        total=sentences,
        unit="sentences",
        counted="^H-",
        watched=result,
    )
