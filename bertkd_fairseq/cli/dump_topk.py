"""``bertkd dump-topk``: from a trained teacher and a data-bin to a teacher store."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bertkd_fairseq.cli.reports import add_json, json_problems, write_json
from bertkd_fairseq.dump.writer import TopKStoreWriter
from bertkd_fairseq.errors import ConfigurationError, DataError, StoreError, must_be, raise_all
from bertkd_fairseq.files import holds_something, real_path
from bertkd_fairseq.masking import NUM_MASKS
from bertkd_fairseq.precision import AUTO, CHOICES, choose
from bertkd_fairseq.progress import Progress
from bertkd_fairseq.text.outputs import inside_problems
from bertkd_fairseq.topk_store.folder import (
    begun_settings,
    partial_of,
    remove_store,
    store_problems,
    wait_until_begun,
)
from bertkd_fairseq.topk_store.layout import SAMPLED, TARGETS, TOPK, bytes_per_token

if TYPE_CHECKING:
    import torch

    from bertkd_fairseq.dump.job import DumpJob

EXAMPLE = "bertkd dump-topk data-bin --path teacher/checkpoint_best.pt --dest topk --topk 8"

TOO_LONG = ("truncate-source", "no-teacher", "error")

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("data_bin", help="data-bin made by `bertkd prepare`")
    add("--path", required=True, help="teacher checkpoint of fairseq-train --task bert_cmlm")
    add("--dest", required=True, help="folder to create")
    add("--topk", type=int, default=None, help="entries to keep per token; 8 if not given (paper)")
    kinds = (
        "the likeliest entries (paper), or as many random draws as --num-samples, an unbiased estimate of the "
        "whole distribution (arXiv 2503.16870)"
    )
    add("--targets", choices=TARGETS, default=TOPK, help=kinds)
    draws = "draws per token with --targets sampled; 50 if not given"
    add("--num-samples", type=int, default=None, help=draws)
    add("--seed", type=int, default=None, help="of the draws; 1 if not given")
    add("--split", default="train", help="split to dump")
    masks = "masked copies of a pair, each masks one position in so many"
    add("--num-masks", type=int, default=NUM_MASKS, help=masks)
    too_long = "what becomes of pairs beyond the teacher's positions: cut the source, ask no teacher, or stop"
    add("--on-too-long", choices=TOO_LONG, default=TOO_LONG[0], help=too_long)
    budget = "positions a batch, padding included; 2048 on a CPU, where that fits the caches, 16384 elsewhere"
    add("--max-tokens", type=int, default=None, help=budget)
    block = "sentences a block, the unit of work: batches never cross one"
    add("--block-size", type=int, default=2048, help=block)
    precision = (
        "precision of the BERT body; its output layer is always fp32. auto: on a CPU, bf16 where a measurement finds "
        "it faster than fp32; on a GPU, bf16 or else fp16. A dump that continues keeps the precision that it began with"
    )
    add("--precision", choices=CHOICES, default=AUTO, help=precision)
    add("--device", default=None, help="torch device; cuda if there is one, else cpu")
    shards = "processes that share the work, each started with its own --shard-id; torchrun's if it started us"
    add("--num-shards", type=int, default=int(os.environ.get("WORLD_SIZE", 1)), help=shards)
    shard = "which of them this is, from 0"
    add("--shard-id", type=int, default=int(os.environ.get("RANK", 0)), help=shard)
    hand = "blocks in hand at once, so that reading and writing overlap a GPU's work; 1 on a CPU, 2 elsewhere"
    add("--blocks-in-hand", type=int, default=None, help=hand)
    add("--dry-run", action="store_true", help="only estimate size and time, on a few sentences")
    add("--force", action="store_true", help="replace DEST and what is left of an unfinished one")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Dump, or continue an interrupted dump, and print a summary."""
    _check_options(args)
    start = time.monotonic()
    device = _device(args)
    _fill_in(args, device.type)
    job = _load(args)
    job.settings = replace(job.settings, precision=_precision(args, device.type))
    if args.dry_run:
        _print(_estimate(job, device, args, loading=time.monotonic() - start), args)
        return 0
    if args.force:
        remove_store(args.dest)
    _check_disk(job, args)
    writer = TopKStoreWriter(
        args.dest,
        k=args.topk,
        sizes=job.target_sizes,
        crc32=job.pair_checksums(),
        symbols=job.symbols,
        block_size=args.block_size,
        settings=job.plan(device.type),
        create=args.shard_id == 0,
    )
    rate = _fill(writer, job, device, args)
    missing = writer.missing_blocks()
    if missing:
        log.info(
            "done; %d blocks are still with other processes, the last one finishes", len(missing)
        )
        return 0
    store = writer.finish()
    spent = {"tokens_per_second": round(rate), "seconds": round(time.monotonic() - start, 1)}
    _print({**store.summary(), **spent, **job.too_long()}, args)
    return 0


def _check_options(args: argparse.Namespace) -> None:
    names = (
        "topk",
        "num_samples",
        "num_masks",
        "max_tokens",
        "blocks_in_hand",
        "block_size",
        "num_shards",
    )
    values = {name: getattr(args, name) for name in names}
    problems = [
        must_be(f"--{name.replace('_', '-')}", "at least 1", value)
        for name, value in values.items()
        if value is not None and value < 1
    ]
    if args.seed is not None and args.seed < 0:
        problems.append(must_be("--seed", "at least 0", args.seed))
    for name in ("num_samples", "seed") if args.targets == TOPK else ("topk",):
        if getattr(args, name) is not None:
            option = f"--{name.replace('_', '-')}"
            problems.append(f"{option} has no meaning with --targets {args.targets}. Leave it out.")
    if not 0 <= args.shard_id < max(args.num_shards, 1):
        problems.append(must_be("--shard-id", f"from 0 to {args.num_shards - 1}", args.shard_id))
    if args.force and args.num_shards > 1:
        problems.append("--force can't be used by several processes. Remove the folder first.")
    # A dump that continues writes the summary of the whole again.
    problems += json_problems("bertkd dump-topk", args.json, args.dest)
    problems += inside_problems("--dest", args.dest)
    if not args.dry_run:
        problems += store_problems(args.dest, force=args.force)
    raise_all(problems)


def _fill_in(args: argparse.Namespace, device_type: str) -> None:
    """Set the options whose default depends on others or on the device (measured in docs/dump.md)."""
    if args.targets == SAMPLED:
        args.topk = args.num_samples or 50
        args.seed = 1 if args.seed is None else args.seed
    else:
        args.topk = args.topk or 8
    on_cpu = device_type == "cpu"
    args.max_tokens = args.max_tokens or (2048 if on_cpu else 16384)
    args.blocks_in_hand = args.blocks_in_hand or (1 if on_cpu else 2)


def _precision(args: argparse.Namespace, device_type: str) -> str:
    """Return the precision that this dump began with, or the one asked for, measured where that is ``auto``."""
    if args.precision == AUTO and not args.force and not args.dry_run:
        if args.shard_id > 0:  # all processes follow the first one
            wait_until_begun(real_path(args.dest))
        begun = begun_settings(args.dest).get("precision")
        if begun in CHOICES:
            log.info("precision: %s, with which this dump began", begun)
            return str(begun)
    return choose(args.precision, device_type)


def _load(args: argparse.Namespace) -> DumpJob:
    from bertkd_fairseq.dump.job import DumpJob, DumpSettings

    settings = DumpSettings(
        split=args.split,
        topk=args.topk,
        num_masks=args.num_masks,
        precision=args.precision,
        max_tokens=args.max_tokens,
        cut_sources=args.on_too_long != "no-teacher",
        seed=args.seed,
    )
    job = DumpJob(args.path, args.data_bin, settings)
    fitted = job.fitted()
    too_long = fitted.source_cut | fitted.no_room
    if args.on_too_long == "error" and too_long.any():
        raise DataError(
            f"{int(too_long.sum())} pairs are longer than the teacher's {job.max_positions} positions, the first "
            f"is sentence {int(too_long.argmax())} of {args.split}. Choose another --on-too-long."
        )
    return job


def _needed_bytes(job: DumpJob, args: argparse.Namespace) -> int:
    tokens = int(job.target_sizes.sum())
    return tokens * bytes_per_token(args.topk, len(job.symbols)) + 12 * len(job.target_sizes)


def _free_bytes(args: argparse.Namespace) -> int:
    folder = real_path(args.dest).absolute().parent
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _check_disk(job: DumpJob, args: argparse.Namespace) -> None:
    dest = real_path(args.dest)
    begun = holds_something(dest) or partial_of(dest).exists()
    needed, free = _needed_bytes(job, args), _free_bytes(args)
    if not begun and needed > free:
        wanted, seen = f"at least {needed:,} bytes", f"{free:,} bytes"
        raise StoreError(must_be(f"free disk for {args.dest}", wanted, seen, "Make room first."))


def _device(args: argparse.Namespace) -> torch.device:
    import torch

    name = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda":  # whichever; under torchrun every process has its own
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigurationError(
            must_be("--device", "a torch device, as cpu or cuda:0", name)
        ) from None
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigurationError(f"--device {name} can't be used here: {reason}.") from error
    return device


def _fill(
    writer: TopKStoreWriter, job: DumpJob, device: torch.device, args: argparse.Namespace
) -> float:
    """Write the missing blocks that are this process's and return target tokens per second."""
    dump = job.dump(device)
    missing = writer.missing_blocks()
    if len(missing) < writer.num_blocks:
        numbers = (writer.partial, len(missing), writer.num_blocks)
        log.info("continuing %s: %d of %d blocks are missing", *numbers)
    mine = [block for block in missing if block % args.num_shards == args.shard_id]
    total = sum(int(job.target_sizes[writer.block_sentences(block)].sum()) for block in mine)
    with Progress("dump", total, "tokens") as progress:

        def fill(block: int) -> None:
            rows = dump.block(writer.block_sentences(block), progress.add)
            try:
                writer.write_block(block, rows)
            except OSError as error:
                raise StoreError(
                    f"block {block} can't be written: {error}. The finished blocks are kept: "
                    "mend it and run the same command again."
                ) from error

        try:
            _run_all(fill, mine, args.blocks_in_hand)
        except KeyboardInterrupt:
            log.info("interrupted; the finished blocks are kept, the same command continues")
            raise
        return progress.rate


def _run_all(fill: Callable[[int], None], blocks: list[int], at_once: int) -> None:
    """Call ``fill`` for all blocks, ``at_once`` in threads; what fails or interrupts stops those not begun."""
    if at_once == 1:
        for block in blocks:
            fill(block)
        return
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for _ in pool.map(fill, blocks):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _estimate(
    job: DumpJob, device: torch.device, args: argparse.Namespace, *, loading: float
) -> dict[str, Any]:
    """Return what the dump would take beside ``loading`` seconds, its speed measured all over the split."""
    from bertkd_fairseq.dump import estimate as dump_estimate

    count = min(dump_estimate.SENTENCES, len(job.target_sizes))
    sample = np.linspace(0, len(job.target_sizes) - 1, count).astype(int)
    rate = dump_estimate.measure_rate(job.dump(device), sample.tolist())
    tokens = int(job.target_sizes.sum())
    seconds = round(loading + tokens / rate.tokens_per_second / args.num_shards)
    if rate.rough:
        log.warning("the estimate is rough: batches of this size are too slow here to try several")
    return {
        "tokens": tokens,
        "sentences": len(job.target_sizes),
        "bytes": _needed_bytes(job, args),
        "free_disk_bytes": _free_bytes(args),
        "tokens_per_second": round(rate.tokens_per_second, 1),
        "estimated_seconds": seconds,
        "estimate_is_rough": rate.rough,
        **job.too_long(),
    }


def _print(summary: dict[str, Any], args: argparse.Namespace) -> None:
    write_json("bertkd dump-topk", args.json, summary)
    print("\n".join(f"{name:<18} {value}" for name, value in summary.items()))
