"""``bertkd dump-topk``: from a trained teacher and a data-bin to a teacher store."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq import __version__
from bertkd_fairseq.errors import (
    BertKDError,
    ConfigurationError,
    DataError,
    must_be,
    raise_all,
)
from bertkd_fairseq.fingerprint import hash_file
from bertkd_fairseq.masking import NUM_MASKS
from bertkd_fairseq.progress import Progress
from bertkd_fairseq.teacher_input import fitted_lengths
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_writer import TopKStoreWriter, remove_store

EXAMPLE = "bertkd dump-topk data-bin --path teacher/checkpoint_best.pt --dest topk --topk 8"

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data_bin", help="data-bin made by `bertkd prepare`")
    parser.add_argument(
        "--path", required=True, help="teacher checkpoint of fairseq-train --task bert_cmlm"
    )
    parser.add_argument("--dest", required=True, help="folder to create")
    parser.add_argument("--topk", type=int, default=8, help="entries to keep per token (paper: 8)")
    parser.add_argument("--split", default="train", help="split to dump")
    parser.add_argument(
        "--num-masks",
        type=int,
        default=NUM_MASKS,
        help="masked copies of a pair, one position in so many each",
    )
    parser.add_argument(
        "--max-tokens", type=int, default=8192, help="positions a batch, padding included"
    )
    parser.add_argument(
        "--block-size", type=int, default=2048, help="sentences a block: batches never cross one"
    )
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16", "fp16"],
        default="fp32",
        help="precision of the BERT body; its output layer is always fp32",
    )
    parser.add_argument(
        "--device", default=None, help="torch device; cuda if there is one, else cpu"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace DEST and what is left of an unfinished one"
    )
    parser.add_argument("--json", metavar="FILE", help="write the summary here too")


def run(args: argparse.Namespace) -> int:
    """Dump, or continue an interrupted dump, and print a summary."""
    _check_options(args)
    if args.force:
        remove_store(args.dest)
    elif Path(args.dest).exists():
        raise ConfigurationError(
            f"{args.dest} exists already. Use --force to dump it again, or another --dest."
        )
    start = time.monotonic()
    teacher, task = load_teacher(args.path, args.data_bin)
    pairs = task.load_pairs(args.data_bin, args.split)
    _check_topk(args.topk, teacher)
    max_positions = min(teacher.max_positions(), task.cfg.max_positions)
    writer = TopKStoreWriter(
        args.dest,
        k=args.topk,
        sizes=pairs.tgt_sizes,
        num_symbols=len(task.target_dictionary),
        block_size=args.block_size,
        settings=_settings(args, task, pairs, max_positions),
    )
    rate = _fill(writer, args, teacher, task, pairs, max_positions)
    store = writer.finish({"versions": _versions()})
    _report(store, args, rate, time.monotonic() - start)
    return 0


def load_teacher(path: str, data_bin: str) -> tuple[Any, Any]:
    """Return the teacher in ``path`` and its task, set up on ``data_bin``.

    :raises BertKDError: if the file is missing, refused, or holds no teacher.
    """
    if not os.path.exists(path):
        raise ConfigurationError(
            f"there is no checkpoint at {path}. Train a teacher with --task bert_cmlm first."
        )
    # Importing the task applies compat and registers every part of the plugin.
    from fairseq import checkpoint_utils

    from bertkd_fairseq.tasks.bert_cmlm import BertCMLMTask

    try:
        models, _, task = checkpoint_utils.load_model_ensemble_and_task(
            [path], arg_overrides={"data": data_bin}
        )
    except BertKDError:
        raise
    except Exception as error:
        raise DataError(f"{path} can't be loaded as a fairseq checkpoint: {error!r}.") from error
    if not isinstance(task, BertCMLMTask):
        raise ConfigurationError(
            must_be("--path", "a checkpoint of --task bert_cmlm", f"one of {type(task).__name__}")
        )
    return models[0], task


def _check_options(args: argparse.Namespace) -> None:
    at_least = {"topk": 1, "num_masks": 1, "max_tokens": 1, "block_size": 1}
    raise_all(
        must_be(f"--{name.replace('_', '-')}", f"at least {low}", getattr(args, name))
        for name, low in at_least.items()
        if getattr(args, name) < low
    )


def _check_topk(topk: int, teacher: Any) -> None:
    choices = int((~teacher.never_predicted).sum())
    if topk > choices:
        raise ConfigurationError(
            must_be("--topk", f"at most {choices}, the symbols of the dictionary", topk)
        )


def _settings(
    args: argparse.Namespace, task: Any, pairs: Any, max_positions: int
) -> dict[str, Any]:
    """Return whatever determines the rows; a dump continues only where all of it is equal."""
    from bertkd_fairseq.data.alignment import data_hashes

    fitted = fitted_lengths(pairs.src_sizes, pairs.tgt_sizes, max_positions)
    return {
        "split": args.split,
        "source_lang": task.cfg.source_lang,
        "target_lang": task.cfg.target_lang,
        "num_masks": args.num_masks,
        "precision": args.precision,
        "max_tokens": args.max_tokens,
        "max_positions": max_positions,
        "too_long": {
            "source_cut": int(np.sum(fitted.source_cut)),
            "no_teacher": int(np.sum(fitted.no_room)),
        },
        "teacher": {"sha256": hash_file(args.path), "arch": "bert_cmlm_teacher"},
        "hashes": data_hashes(
            args.data_bin,
            args.split,
            task.cfg.source_lang,
            task.cfg.target_lang,
            pairs.tgt_sizes,
            task.source_dictionary,
            task.target_dictionary,
        ),
    }


def _fill(
    writer: TopKStoreWriter,
    args: argparse.Namespace,
    teacher: Any,
    task: Any,
    pairs: Any,
    max_positions: int,
) -> float:
    """Write every missing block and return target tokens per second."""
    import torch

    from bertkd_fairseq.dump import TeacherDump, set_precision

    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    set_precision(teacher, args.precision)
    teacher.to(device).eval()
    dump = TeacherDump(
        teacher,
        lambda sentence: pairs.src[sentence].numpy(),
        lambda sentence: pairs.tgt[sentence].numpy(),
        bos=task.source_dictionary.bos(),
        pad=task.source_dictionary.pad(),
        topk=args.topk,
        num_masks=args.num_masks,
        max_positions=max_positions,
        max_tokens=args.max_tokens,
        device=device,
    )
    missing = writer.missing_blocks()
    total = int(writer.offsets[-1])
    to_do = int(sum(np.sum(pairs.tgt_sizes[writer.block_sentences(block)]) for block in missing))
    if to_do < total:
        log.info(
            "continuing %s: %d of %d blocks are missing",
            writer.partial,
            len(missing),
            writer.num_blocks,
        )
    with Progress("dump", total, "tokens", done=total - to_do) as progress:
        for block in missing:
            writer.write_block(block, dump.block(writer.block_sentences(block), progress.add))
        return progress.rate


def _versions() -> dict[str, str]:
    import fairseq
    import torch
    import transformers

    modules = {"fairseq": fairseq, "torch": torch, "transformers": transformers, "numpy": np}
    versions = {name: str(module.__version__) for name, module in modules.items()}
    return {"bertkd_fairseq": __version__, "python": platform.python_version(), **versions}


def _report(store: TopKStore, args: argparse.Namespace, rate: float, seconds: float) -> None:
    meta = store.meta
    size = sum(file.stat().st_size for file in store.path.iterdir())
    summary = {
        "signature": meta["signature"],
        "tokens": meta["num_tokens"],
        "sentences": meta["num_sentences"],
        "bytes_per_token": round(size / meta["num_tokens"], 2),
        "tokens_per_second": round(rate),
        "seconds": round(seconds, 1),
        **meta["too_long"],
    }
    print("\n".join(f"{name:<18} {value}" for name, value in summary.items()))
    if args.json:
        Path(args.json).write_text(json.dumps(summary, indent=1) + "\n")
