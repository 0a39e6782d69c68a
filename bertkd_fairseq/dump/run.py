"""Make a teacher store, or estimate how long that takes, by one call each with a :class:`DumpConfig`."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bertkd_fairseq.dump.config import ERROR, DumpConfig, TeacherConfig
from bertkd_fairseq.dump.writer import TopKStoreWriter
from bertkd_fairseq.errors import ConfigurationError, DataError, StoreError, must_be, raise_all
from bertkd_fairseq.files import holds_something, real_path
from bertkd_fairseq.precision import AUTO, CHOICES, choose
from bertkd_fairseq.progress import Progress
from bertkd_fairseq.settings import named
from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.folder import (
    begun_settings,
    partial_of,
    remove_store,
    wait_until_begun,
)
from bertkd_fairseq.topk_store.layout import bytes_per_token

if TYPE_CHECKING:
    import torch

    from bertkd_fairseq.dump.job import DumpJob, TooLong

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dumped:
    """The result of a dump. ``store`` is None if other processes still have blocks to write."""

    store: TopKStore | None
    tokens_per_second: float
    seconds: float
    too_long: TooLong

    def summary(self) -> dict[str, Any]:
        """Return the facts that are printed and reported; empty without a store."""
        if self.store is None:
            return {}
        spent = {"tokens_per_second": round(self.tokens_per_second), "seconds": self.seconds}
        return {**asdict(self.store.summary()), **spent, **asdict(self.too_long)}


@dataclass(frozen=True)
class DumpEstimate:
    """What a dump would need: ``bytes`` on disk, and seconds, loading included."""

    tokens: int
    sentences: int
    bytes: int
    free_disk_bytes: int
    tokens_per_second: float
    estimated_seconds: int
    estimate_is_rough: bool
    source_cut: int
    no_teacher: int


def dump_topk(config: DumpConfig) -> Dumped:
    """Make the teacher store, or continue one that was begun with the same settings.

    :raises ConfigurationError: with every setting that can't work, before anything is loaded.
    :raises BertKDError: if teachers and data-bin don't fit, or the store can't be written.
    """
    raise_all([*config.problems(), *config.dest_problems()])
    start = time.monotonic()
    device = torch_device(config)
    job = _load(config, device)
    job.settings = replace(job.settings, precision=_precision(config, device.type))
    if config.force:
        remove_store(config.destdir)
    _check_disk(job, config)
    writer = TopKStoreWriter(
        config.destdir,
        k=job.settings.topk,
        sizes=job.target_sizes,
        crc32=job.pair_checksums(),
        symbols=job.symbols,
        block_size=config.block_size,
        settings=job.plan(device.type),
        create=config.shard_id == 0,
    )
    rate = _fill(writer, job, device, config)
    missing = writer.missing_blocks()
    if missing:
        still = (
            "done; other processes still work on %d blocks, and the last process finishes the store"
        )
        log.info(still, len(missing))
    store = None if missing else writer.finish()
    return Dumped(store, rate, round(time.monotonic() - start, 1), job.too_long())


def estimate_dump(config: DumpConfig) -> DumpEstimate:
    """Return what the dump would need. Its speed is measured on sentences from the whole split.

    :raises ConfigurationError: with every setting that can't work, before anything is loaded.
    :raises BertKDError: if teachers and data-bin don't fit.
    """
    raise_all(config.problems())
    from bertkd_fairseq.dump import estimate

    start = time.monotonic()
    device = torch_device(config)
    job = _load(config, device)
    job.settings = replace(job.settings, precision=choose(config.precision, device.type))
    loading = time.monotonic() - start
    count = min(estimate.SENTENCES, len(job.target_sizes))
    sample = np.linspace(0, len(job.target_sizes) - 1, count).astype(int)
    rate = estimate.measure_rate(job.dump(device), sample.tolist())
    tokens = int(job.target_sizes.sum())
    if rate.rough:
        log.warning(
            "the estimate is rough: whole batches are too slow here, so smaller ones were measured"
        )
    return DumpEstimate(
        tokens=tokens,
        sentences=len(job.target_sizes),
        bytes=_needed_bytes(job),
        free_disk_bytes=_free_bytes(config),
        tokens_per_second=round(rate.tokens_per_second, 1),
        estimated_seconds=round(loading + tokens / rate.tokens_per_second / config.num_shards),
        estimate_is_rough=rate.rough,
        **asdict(job.too_long()),
    )


def torch_device(config: TeacherConfig) -> torch.device:
    """Return the device that is asked for; if none is, a GPU if there is one, and else the CPU.

    :raises ConfigurationError: if there is no such device, or it can't be used here.
    """
    import torch

    option = named(config, "device")
    name = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda":  # without a number, each process takes its own GPU
        name = f"cuda:{config.local_rank}"
    try:
        device = torch.device(name)
    except RuntimeError:
        wanted = "a torch device, such as cpu or cuda:0"
        raise ConfigurationError(must_be(option, wanted, name)) from None
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigurationError(f"{option} {name} can't be used here: {reason}.") from error
    return device


def _load(config: DumpConfig, device: torch.device) -> DumpJob:
    from bertkd_fairseq.dump.job import DumpJob

    job = DumpJob(config.path, config.data_bin, config.row_settings(config.precision, device.type))
    pairs = job.too_long_pairs()
    too_long = pairs.source_cut | pairs.no_room
    if config.on_too_long == ERROR and too_long.any():
        raise DataError(
            f"{int(too_long.sum())} pairs are longer than the teacher's {job.positions} positions. The first "
            f"is sentence {int(too_long.argmax())} of {config.gen_subset}. "
            f"Choose another {named(config, 'on_too_long')}."
        )
    return job


def _precision(config: DumpConfig, device_type: str) -> str:
    """Return the precision that this dump began with, or else the one asked for, where ``auto`` is measured."""
    if config.precision == AUTO and not config.force:
        if config.shard_id > 0:  # all processes use the precision of the first one
            wait_until_begun(real_path(config.destdir))
        begun = begun_settings(config.destdir).get("precision")
        if begun in CHOICES:
            log.info("precision: %s, with which this dump began", begun)
            return str(begun)
    return choose(config.precision, device_type)


def _needed_bytes(job: DumpJob) -> int:
    tokens = int(job.target_sizes.sum())
    a_token = bytes_per_token(job.settings.topk, len(job.symbols))
    return tokens * a_token + 12 * len(job.target_sizes)


def _free_bytes(config: DumpConfig) -> int:
    folder = real_path(config.destdir).absolute().parent
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _check_disk(job: DumpJob, config: DumpConfig) -> None:
    dest = real_path(config.destdir)
    begun = holds_something(dest) or partial_of(dest).exists()
    needed, free = _needed_bytes(job), _free_bytes(config)
    if not begun and needed > free:
        name, wanted = f"free disk for {config.destdir}", f"at least {needed:,} bytes"
        raise StoreError(must_be(name, wanted, f"{free:,} bytes", "Make room first."))


def _fill(writer: TopKStoreWriter, job: DumpJob, device: torch.device, config: DumpConfig) -> float:
    """Write this process's share of the missing blocks, and return target tokens per second."""
    dump = job.dump(device)
    missing = writer.missing_blocks()
    if len(missing) < writer.num_blocks:
        numbers = (writer.partial, len(missing), writer.num_blocks)
        log.info("continuing %s: %d of %d blocks are missing", *numbers)
    mine = [block for block in missing if block % config.num_shards == config.shard_id]
    total = sum(int(job.target_sizes[writer.block_sentences(block)].sum()) for block in mine)
    with Progress("dump", total, "tokens") as progress:

        def fill(block: int) -> None:
            rows, scores = dump.scored_block(writer.block_sentences(block), progress.add)
            try:
                writer.write_block(block, rows, scores)
            except OSError as error:
                raise StoreError(
                    f"block {block} can't be written: {error}. "
                    "Fix the cause, then run the same command again. Finished blocks are kept."
                ) from error

        try:
            _run_all(fill, mine, config.blocks_at_once or (1 if device.type == "cpu" else 2))
        except KeyboardInterrupt:
            log.info(
                "interrupted; the finished blocks are kept, and the same command continues the dump"
            )
            raise
        return progress.rate


def _run_all(fill: Callable[[int], None], blocks: list[int], at_once: int) -> None:
    """Call ``fill`` for all blocks, ``at_once`` of them in threads. After an error, no further block is begun."""
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
