"""What distillation costs in the loss: forward and backward, against fairseq's own loss in the same run.

    python benchmarks/bench_loss.py

(a) fairseq: log-softmax in float32 and `label_smoothed_nll_loss`, as its `label_smoothed_cross_entropy` does;
(b) plain KD: the same, and the distillation term written straight from its definition beside it;
(c) ours: `bert_kd_loss`, both terms at once.

Seconds are medians of `--repeats` passes, taken in turn; memory is the median peak of three, beyond the logits, their
gradient included. Where other work shares the machine, OMP_NUM_THREADS=1 and `--clock cpu` give steadier ratios.
"""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from measuring import CLOCKS, make_parser, write_json
from torch import Tensor

from bertkd_fairseq.loss import bert_kd_loss

TOKENS, K, PAD = 4096, 8, 1
ALPHA, TEMPERATURE, SMOOTHING = 0.5, 10.0, 0.1
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def fairseq_loss(logits: Tensor, target: Tensor, ids: Tensor, logprobs: Tensor) -> Tensor:
    """(a)"""
    log_p = logits.log_softmax(1, dtype=torch.float32)
    return label_smoothed_nll_loss(log_p, target[:, None], SMOOTHING, ignore_index=PAD)[0]


def plain_kd(logits: Tensor, target: Tensor, ids: Tensor, logprobs: Tensor) -> Tensor:
    """(b)"""
    log_p = logits.log_softmax(1, dtype=torch.float32)
    hard = label_smoothed_nll_loss(log_p, target[:, None], SMOOTHING, ignore_index=PAD)[0]
    weights = (logprobs.float() / TEMPERATURE).softmax(1)
    kd = -(weights * log_p.gather(1, ids)).sum(1)
    return ALPHA * kd[target.ne(PAD)].sum() + (1 - ALPHA) * hard


def ours(logits: Tensor, target: Tensor, ids: Tensor, logprobs: Tensor) -> Tensor:
    """(c)"""
    return bert_kd_loss(
        logits,
        target,
        ids,
        logprobs,
        alpha=ALPHA,
        temperature=TEMPERATURE,
        label_smoothing=SMOOTHING,
        ignore_index=PAD,
    ).loss


WAYS: dict[str, Callable[..., Tensor]] = {
    "fairseq": fairseq_loss,
    "plain KD": plain_kd,
    "ours": ours,
}


def make_batch(symbols: int, dtype: torch.dtype, device: str) -> Batch:
    """Return logits, target and a teacher's rows."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(TOKENS, symbols, generator=generator).to(device, dtype).requires_grad_()
    target = torch.randint(2, symbols, (TOKENS,), generator=generator).to(device)
    ids = torch.randint(2, symbols, (TOKENS, K), generator=generator).to(device)
    logprobs = torch.randn(TOKENS, K, generator=generator).sort(1, descending=True).values
    return logits, target, ids, logprobs.half().to(device)


def one_pass(way: Callable[..., Tensor], batch: Batch) -> None:
    """Forward and backward once."""
    batch[0].grad = None
    way(*batch).backward()
    if batch[0].is_cuda:
        torch.cuda.synchronize()


def peak_mib(way: Callable[..., Tensor], batch: Batch) -> float:
    """Return the peak memory of one pass beyond what was there before."""
    batch[0].grad = None
    if batch[0].is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        one_pass(way, batch)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _status("VmRSS")
    one_pass(way, batch)
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def measure(batch: Batch, repeats: int, clock: Callable[[], float]) -> dict[str, dict[str, float]]:
    """Return median seconds and peak MiB of every way."""
    peaks = {
        name: statistics.median([peak_mib(way, batch) for _ in range(4)][1:])  # the first warms up
        for name, way in WAYS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, way in WAYS.items():
            start = clock()
            one_pass(way, batch)
            seconds[name].append(clock() - start)
    return {
        name: {"seconds": statistics.median(values), "peak_mib": peaks[name]}
        for name, values in seconds.items()
    }


def main() -> None:
    """Print the table and, with ``--json``, write it."""
    parser = make_parser(__doc__)
    parser.add_argument("--symbols", type=int, nargs="+", default=[6_000, 10_000, 32_000])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    results = {}
    print(f"N = {TOKENS}, {args.device}, {torch.get_num_threads()} threads, {args.clock} clock")
    print(f"{'':<26}{'seconds':>9}{'to fairseq':>12}{'peak MiB':>10}{'to fairseq':>12}")
    for symbols in args.symbols:
        for dtype in (torch.float32, torch.bfloat16):
            case = f"V = {symbols}, {str(dtype).removeprefix('torch.')}"
            rows = measure(
                make_batch(symbols, dtype, args.device), args.repeats, CLOCKS[args.clock]
            )
            results[case] = rows
            print(case)
            for name, row in rows.items():
                time_ratio = row["seconds"] / rows["fairseq"]["seconds"]
                memory_ratio = row["peak_mib"] / rows["fairseq"]["peak_mib"]
                print(
                    f"  {name:<24}{row['seconds']:>9.4f}{time_ratio:>12.2f}"
                    f"{row['peak_mib']:>10.0f}{memory_ratio:>12.2f}"
                )
    write_json(args.json, results)


if __name__ == "__main__":
    main()
