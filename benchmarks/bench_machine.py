"""Precision x threads x load: what a student's update, a teacher's and the dump take on this machine.

    python benchmarks/bench_machine.py DATA_BIN TEACHER.pt TOPK --bert BERT

Every cell is a process of its own, since threads read their settings when they start: one thread; all processors as
OpenMP has them wait by itself; all with the settings that bertkd gives (bertkd_fairseq/threads.py). Busy: beside as
many processes that compute as there are processors. Milliseconds are medians; a ratio is to one thread in float32
(or the first of `--precisions`) under the same load.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from measuring import write_json

from bertkd_fairseq.process import threads

WORK = ("student", "teacher", "dump")
PRECISIONS = ("fp32", "bf16")
WAYS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "all": {},
    "all, bertkd's settings": {
        name: value for name, value in threads.settings({}).items() if "THREADS" not in name
    },
}
SETTINGS = {name for way in WAYS.values() for name in way} | {"KMP_BLOCKTIME", "KMP_LIBRARY"}
TEACHER_OPTIONS = (
    "--task bert_cmlm --arch bert_cmlm_teacher --criterion bert_cmlm_cross_entropy --attention eager "
    "--optimizer bert_adamw --clip-norm 1.0 --lr 1e-4 --max-tokens 4096 --num-workers 0 --no-save"
)


def step_of(work: str, precision: str, args: argparse.Namespace) -> Callable[[], object]:
    """Return what is measured: one update, or the dump of one block of 32 sentences."""
    if work == "dump":
        import torch

        from bertkd_fairseq.dump.config import RowSettings
        from bertkd_fairseq.dump.job import DumpJob

        settings = RowSettings("train", 8, 7, precision, 2048, True)
        job = DumpJob(str(args.teacher), str(args.data_bin), settings)
        dump = job.dump(torch.device("cpu"))
        return lambda: dump.block(range(32), lambda tokens: None)
    from bench_train import Training

    if work == "teacher":
        options = [*TEACHER_OPTIONS.split(), "--bert-model", str(args.bert)]
    else:
        options = None
    args.device, args.precision = "cpu", precision
    return Training("distilled", args, options).update


def measure(args: argparse.Namespace) -> None:
    """Print the median seconds of one cell."""
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    step = step_of(args.cell, args.precision, args)
    seconds = []
    end = time.monotonic() + args.seconds
    while len(seconds) < 4 or (time.monotonic() < end and len(seconds) < 40):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
        if seconds[-1] > args.seconds:
            break
    print(statistics.median(seconds[2:] or seconds))


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many processes computing."""
    with ExitStack() as stack:
        for _ in range(processes):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def cell_seconds(work: str, precision: str, way: str, argv: list[str]) -> float:
    """Measure a cell in a process of its own."""
    env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, __file__, *argv, "--cell", work, "--precision", precision]
    done = subprocess.run(command, env={**env, **WAYS[way]}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the table and, with ``--json``, write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_bin", type=Path)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("topk", type=Path)
    parser.add_argument("--bert", required=True, help="what the teacher starts from")
    parser.add_argument("--seconds", type=float, default=6.0, help="a cell, beside loading")
    parser.add_argument("--work", nargs="+", choices=WORK, default=WORK)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        measure(args)
        return
    argv = [str(args.data_bin), str(args.teacher), str(args.topk), "--bert", args.bert]
    argv += ["--seconds", str(args.seconds)]
    results = {}
    print(f"{'':<9}{'':<6}{'':<24}{'quiet, ms':>10}{'ratio':>7}{'busy, ms':>10}{'ratio':>7}")
    for work in args.work:
        rows: dict[str, dict[str, float]] = {}
        for load, processes in (("quiet", 0), ("busy", threads.available_processors())):
            with busy(processes):
                for precision in args.precisions:
                    for way in WAYS:
                        row = rows.setdefault(f"{precision}, {way}", {})
                        row[load] = cell_seconds(work, precision, way, argv)
        base = rows[f"{args.precisions[0]}, one thread"]
        for name, row in rows.items():
            precision, way = name.split(", ", 1)
            cells = "".join(f"{1000 * row[x]:>10.0f}{row[x] / base[x]:>7.2f}" for x in row)
            print(f"{work:<9}{precision:<6}{way:<24}{cells}", flush=True)
        results[work] = rows
    write_json(args.json, results)


if __name__ == "__main__":
    main()
