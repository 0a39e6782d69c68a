"""``bertkd demo``: every stage through the very same commands, on a generated language pair."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from bertkd_fairseq.cli.options import inside_problems, write_whole
<<<<<<< HEAD
from bertkd_fairseq.demo.estimate import estimated_seconds
from bertkd_fairseq.demo.folder import make_folder
from bertkd_fairseq.demo.running import Record, run_stage, terminated_as_interrupted
from bertkd_fairseq.demo.stages import FULL, QUICK, log_file, plan
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.precision import AUTO, CHOICES
=======
from bertkd_fairseq.data_bin import TOKENIZER_FILES, data_bin_files
from bertkd_fairseq.errors import BertKDError, ConfigurationError, raise_all
from bertkd_fairseq.files import holds_something, only_process, place_problems, remove_own, writing
from bertkd_fairseq.miniature import SOURCE_LANG, TARGET_LANG
from bertkd_fairseq.store_folder import UNFINISHED_FILES
from bertkd_fairseq.topk_store import FILES as STORE_FILES
>>>>>>> files
from bertkd_fairseq.training_log import read_log

EXAMPLE = "bertkd demo --dest demo"

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd demo``."""
    parser.add_argument("--dest", default="demo", metavar="DIR", help="folder for all results")
    parser.add_argument("--seed", type=int, default=1, help="of corpus, teacher and students")
    parser.add_argument("--force", action="store_true", help="start over if DIR has a demo already")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="under a minute: shows that every stage runs here, far too short to learn",
    )
    parser.add_argument(
        "--precision",
        choices=[choice for choice in CHOICES if choice != "fp16"],
        default=AUTO,
        help="of all trainings and the dump; auto measures and takes bf16 only where it is faster. "
        "A demo that continues keeps the precision that it began with",
    )


def run(args: argparse.Namespace) -> int:
    """Run what isn't done yet, then print the tables and write ``DEST/demo.json``."""
    dest = Path(args.dest).resolve()
    sizes = QUICK if args.quick else FULL
    raise_all(inside_problems("--dest", dest))
    make_folder(dest, force=args.force)
    record = Record(dest)
    precision = _precision(args.precision, record)
    stages = plan(dest, sizes, args.seed, precision)
    if not all(record.is_done(stage) for stage in stages):
        about = estimated_seconds(stages, record, precision)
        log.info("this will take about %s here", _minutes(about))
    seconds = {}
<<<<<<< HEAD
    with terminated_as_interrupted():
        for i, stage in enumerate(stages, 1):
            log.info("[%d/%d] %s: %s", i, len(stages), stage.name, stage.purpose)
            seconds[stage.name] = run_stage(stage, record)
=======
    with only_process(dest, COMMAND):
        for i, stage in enumerate(stages, 1):
            log.info("[%d/%d] %s: %s", i, len(stages), stage.name, stage.purpose)
            seconds[stage.name] = _run_stage(stage, dest)
>>>>>>> files
    results = {
        "seed": args.seed,
        "quick": args.quick,
        "precision": precision,
        "seconds": seconds,
        **_results(dest),
    }
    _write_json(dest / "demo.json", results)
    print(_summary(results, dest))
    return 0


def _precision(asked: str, record: Record) -> str:
    """Return the precision that the demo began with, or the one asked for, measured where that is ``auto``."""
    import torch

    from bertkd_fairseq import precision

    if asked == AUTO and record.precision in precision.PRECISIONS:
        return str(record.precision)
    if not (asked == AUTO and torch.cuda.is_available()):  # on a GPU, trainings and dump differ
        asked = precision.choose(asked)
    record.precision = asked
    record.write()
    return asked


<<<<<<< HEAD
def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
=======
def _best(folder: Path) -> str:
    return str(folder / "checkpoint_best.pt")


def _log(dest: Path, name: str) -> Path:
    return dest / "logs" / f"{name}.log"


def _train(dest: Path, name: str, seed: int, updates: int) -> list[str]:
    """Return what both stages of training share."""
    every = str(max(1, updates // 5))
    return [
        sys.executable, "-m", "fairseq_cli.train", str(dest / "data-bin"),
        "--user-dir", str(PACKAGE), "--save-dir", str(dest / name), "--seed", str(seed),
        "--autocast-bf16", "--num-workers", "0", "--required-batch-size-multiple", "1",
        "--max-update", str(updates), "--log-format", "simple", "--log-interval", "20",
        "--validate-interval", "100000", "--validate-interval-updates", every,
        "--save-interval", "100000", "--save-interval-updates", every,
        "--keep-interval-updates", "1", "--no-epoch-checkpoints",
    ]  # fmt: skip


def _teacher(dest: Path, bert: str, sizes: Sizes, seed: int) -> list[str]:
    updates = sizes.teacher_updates
    return [
        *_train(dest, "teacher", seed, updates),
        "--task", "bert_cmlm", "--arch", "bert_cmlm_teacher", "--bert-model", bert,
        "--criterion", "bert_cmlm_cross_entropy", "--attention", "eager",
        "--optimizer", "bert_adamw", "--clip-norm", "1.0", "--lr", "1.5e-3",
        "--lr-scheduler", "polynomial_decay", "--warmup-updates", str(updates // 10 + 1),
        "--total-num-update", str(updates), "--max-tokens", "1024",
    ]  # fmt: skip


def _student(dest: Path, name: str, sizes: Sizes, seed: int, criterion: list[str]) -> list[str]:
    greedy = {"beam": 1, "max_len_a": 1.2, "max_len_b": 10}
    detok = {"undo_segmentation": True, "target_lang": TARGET_LANG}
    shape = ["--share-all-embeddings", "--dropout", "0.1"]
    for side in ("encoder", "decoder"):
        shape += [f"--{side}-layers", "2", f"--{side}-embed-dim", "128"]
        shape += [f"--{side}-ffn-embed-dim", "256", f"--{side}-attention-heads", "4"]
    return [
        *_train(dest, name, seed, sizes.student_updates),
        "--task", "translation_bert_kd", "--arch", "transformer_iwslt_de_en", *shape,
        "--criterion", *criterion, "--label-smoothing", "0.1",
        "--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--lr", "3e-3",
        "--lr-scheduler", "inverse_sqrt", "--warmup-updates", "150", "--max-tokens", "2048",
        "--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric",
        "--eval-bleu", "--eval-bleu-args", json.dumps(greedy),
        "--eval-bleu-detok", "bertkd_moses", "--eval-bleu-detok-args", json.dumps(detok),
    ]  # fmt: skip


def _generate(dest: Path, name: str) -> Stage:
    """Translate the test split."""
    argv = [
        sys.executable, "-m", "fairseq_cli.generate", str(dest / "data-bin"),
        "--user-dir", str(PACKAGE), "--path", _best(dest / name), "--gen-subset", "test",
        "--beam", "5", "--lenpen", "0.6", "--max-len-a", "1.2", "--max-len-b", "10",
        "--max-tokens", "8000", "--required-batch-size-multiple", "1", "--num-workers", "0",
        "--bpe", "bert_wordpiece", "--tokenizer", "bertkd_moses", "--log-format", "none",
        "--results-path", str(dest / name),
    ]  # fmt: skip
    return Stage(
        f"translate-{name}", f"fairseq-generate: {name}", argv, dest / name / "generate-test.txt"
    )


def demo_files() -> list[str]:
    """Return patterns of all that a demo writes, relative to its folder."""
    names = [stage.name for stage in plan(Path(), QUICK, seed=1)]
    folders: dict[str, Iterable[str]] = {
        "logs": [f"{name}.log" for name in names],
        "corpus": [f"{split}.{lang}" for split in SPLITS for lang in (SOURCE_LANG, TARGET_LANG)],
        "bert": ["config.json", "generation_config.json", "model.safetensors", *TOKENIZER_FILES],
        "data-bin": data_bin_files(SOURCE_LANG, TARGET_LANG, SPLITS),
        "topk": STORE_FILES,
        "topk.partial": UNFINISHED_FILES,
        **{name: TRAINING_FILES for name in ("teacher", "plain", "distilled")},
    }
    results = ["demo.json", "topk.json", "scores.json", "compare.html", "curves.png", "curves.csv"]
    return [RECORD, *results, *(f"{f}/{name}" for f, names in folders.items() for name in names)]


def _make_folder(dest: Path, force: bool) -> None:
    """Make the folder unless it is there; ``force`` removes the demo that is in it, and no foreign file.

    :raises ConfigurationError: if ``dest`` holds something else.
    :raises OutputError: if it can't be written.
    """
    raise_all(inside_problems("--dest", dest))
    if holds_something(dest) and not (dest / RECORD).is_file():
        raise ConfigurationError(
            f"`--dest` must be a new folder or one of an earlier demo, but {dest} is neither. "
            f"Name another."
        )
    if force or not dest.exists():
        raise_all(place_problems("--dest", dest))
    if force and holds_something(dest):
        with only_process(dest, COMMAND), suppress(FileNotFoundError):
            remove_own(dest, demo_files(), COMMAND)
    with writing(dest):
        (dest / "logs").mkdir(parents=True, exist_ok=True)
    if not (dest / RECORD).is_file():
        _write_json(dest / RECORD, {})


def remove_training(folder: Path) -> None:
    """Remove the checkpoints of a stage, if there are any.

    :raises ConfigurationError: if there is a foreign file; nothing is removed then.
    """
    with suppress(FileNotFoundError):
        remove_own(folder, TRAINING_FILES, COMMAND)


def _run_stage(stage: Stage, dest: Path) -> float:
    """Run a stage unless it is done, and return the seconds that it took.

    :raises StageError: if its command fails.
    """
    done = json.loads((dest / RECORD).read_text("utf-8"))
    earlier = done.get(stage.name, {})
    if earlier.get("argv") == stage.argv and stage.result.exists():
        log.info("  done before, in %.1f s", earlier["seconds"])
        return float(earlier["seconds"])
    start = time.monotonic()
    code = _run_command(stage, dest)
    seconds = round(time.monotonic() - start, 1)
    path = _log(dest, stage.name)
    if code or not stage.result.exists():
        tail = "\n".join(path.read_text("utf-8", errors="replace").splitlines()[-15:])
        raise StageError(
            f"stage {stage.name} failed with exit code {code}. The end of {path}:\n{tail}"
        )
    log.info("  done in %.1f s", seconds)
    # What comes later was made from an older result.
    names = list(done)
    kept = names[: names.index(stage.name)] if stage.name in names else names
    record = {name: done[name] for name in kept}
    _write_json(dest / RECORD, {**record, stage.name: {"argv": stage.argv, "seconds": seconds}})
    return seconds


def _run_command(stage: Stage, dest: Path) -> int:
    """Run the stage's command, showing the last line of its log now and then."""
    env = dict(os.environ)
    if "site-packages" not in PACKAGE.parts:  # a checkout: children must find it from any folder
        paths = (str(PACKAGE.parent), env.get("PYTHONPATH"))
        env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    path = _log(dest, stage.name)
    # A changed command must not continue from the checkpoints of another.
    if stage.result.suffix == ".pt":
        remove_training(stage.result.parent)
    with path.open("w", encoding="utf-8") as log_file:
        log_file.write(f"$ {shlex.join(stage.argv)}\n")
        log_file.flush()
        process = subprocess.Popen(stage.argv, stdout=log_file, stderr=log_file, env=env)
        while True:
            try:
                return process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                _show_progress(path)


def _show_progress(path: Path) -> None:
    lines = path.read_text("utf-8", errors="replace").splitlines()
    message = next((line for line in reversed(lines) if " | INFO | " in line), "")
    log.info("  %s", message.split(" | INFO | ")[-1][:110])
>>>>>>> files


def _results(dest: Path) -> dict[str, Any]:
    valid = [point for point in read_log(log_file(dest, "teacher")) if point.split == "valid"]
    best = min(valid, key=lambda point: point.values["loss"])
    return {
        "scores": json.loads((dest / "scores.json").read_text("utf-8")),
        "dump": json.loads((dest / "topk.json").read_text("utf-8")),
        "teacher": {key: best.values[key] for key in ("masked_accuracy", "ppl")},
        "curves": str(dest / "curves.png"),
        "report": str(dest / "compare.html"),
    }


def _write_json(path: Path, value: object) -> None:
    write_whole(path, json.dumps(value, indent=1) + "\n")


def _summary(results: dict[str, Any], dest: Path) -> str:
    """Return the tables that the demo ends with."""
    seconds = results["seconds"]
    lines = [f"{'stage':<19}  seconds", *(f"{n:<19}  {s:7.1f}" for n, s in seconds.items())]
    lines += [f"{'all':<19}  {sum(seconds.values()):7.1f}", ""]
    compared = log_file(dest, "compare").read_text("utf-8").splitlines()
    header = next(i for i, line in enumerate(compared) if line.startswith("system"))
    lines += [*compared[header:], ""]
    teacher, dump = results["teacher"], results["dump"]
    lines += [
        f"teacher on valid: masked accuracy {teacher['masked_accuracy']:.1f}% (the closing token "
        f"apart), perplexity {teacher['ppl']:.2f}",
        f"dump: {dump['bytes_per_token']} bytes a token, {dump['tokens']} tokens",
        f"report with plots: {results['report']}",
        f"curves: {results['curves']}",
        f"all numbers: {dest / 'demo.json'}",
    ]
    if results["quick"]:
        lines.append("--quick: far too short to learn anything; the scores mean nothing.")
    return "\n".join(lines)
