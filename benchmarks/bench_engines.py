"""How fast a student translates, and how large it is: fairseq, CTranslate2 in float32 and in int8, side by side.

    OMP_NUM_THREADS=1 python benchmarks/bench_engines.py student.pt data-bin --input test.de --json engines.json

All translate the same batches of symbols, in turns, each ``--repeats`` times after one pass to warm up: symbols of the
translation a second, medians, and the ratio to fairseq in the same run. Text processing and loading aren't counted.
Where other work shares the machine, ``--clock cpu`` is steadier; the load then is told with the numbers.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from measuring import CLOCKS, write_json

from bertkd_fairseq.compat import load_safely
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.lines import read_lines
from bertkd_fairseq.text.raw import RawText
from bertkd_fairseq.translation.config import ExportConfig, TranslateConfig
from bertkd_fairseq.translation.engines import Engine
from bertkd_fairseq.translation.export import export
from bertkd_fairseq.translation.run import batches, make_engine

BASE = "fairseq"
EXPORTS = {"CTranslate2 float32": "float32", "CTranslate2 int8": "int8"}
BUSY = 0.5  # of the processors


def translated(engine: Engine, sentences: list[list[str]], plan: list[list[int]]) -> dict[int, Any]:
    """Return the translation of every sentence, as symbols."""
    found: dict[int, Any] = {}
    for batch in plan:
        found |= zip(batch, engine.translate([sentences[i] for i in batch]), strict=True)
    return found


def parameters(checkpoint: Path) -> int:
    """Return the bytes of a checkpoint's parameters in float32; tied ones count once."""
    model = load_safely(checkpoint, map_location="cpu")["model"]
    tensors = {(t.data_ptr(), t.shape): 4 * t.numel() for t in model.values()}
    return sum(tensors.values())


def main() -> None:
    """Measure and print a table."""
    description, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data_bin", type=Path)
    parser.add_argument("--input", type=Path, required=True, help="raw text of the source language")
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    load = os.getloadavg()[0]
    data_bin = DataBin.open(args.data_bin)
    text = RawText(data_bin)
    sentences = text.symbols(read_lines(args.input)[: args.sentences])
    plan = list(batches(sentences, args.max_tokens))
    search = {"beam": args.beam, "threads": args.threads, "max_tokens": args.max_tokens}
    clock = CLOCKS[args.clock]
    with ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base = TranslateConfig(path=args.checkpoint, data_bin=args.data_bin, **search)
        engines = {BASE: stack.enter_context(make_engine(base, data_bin))}
        sizes = {BASE: parameters(args.checkpoint)}
        for name, quantization in EXPORTS.items():
            folder = export(
                ExportConfig(
                    path=args.checkpoint,
                    data_bin=args.data_bin,
                    destdir=room / quantization,
                    quantization=quantization,
                )
            )
            config = TranslateConfig(path=folder, **search)
            engines[name] = stack.enter_context(make_engine(config, data_bin))
            sizes[name] = (folder / "model.bin").stat().st_size
        said = {name: translated(engine, sentences, plan) for name, engine in engines.items()}
        rates: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(args.repeats):
            for name, engine in engines.items():
                start = clock()
                translated(engine, sentences, plan)
                symbols = sum(map(len, said[name].values()))
                rates[name].append(symbols / (clock() - start))
    results = {
        name: {
            "tokens_per_second": statistics.median(rates[name]),
            "slowest": min(rates[name]),
            "fastest": max(rates[name]),
            "ratio": statistics.median(rates[name]) / statistics.median(rates[BASE]),
            "bytes": sizes[name],
            "other_translations": sum(said[name][i] != said[BASE][i] for i in said[BASE]),
        }
        for name in engines
    }
    settings = {
        **{"sentences": sum(map(bool, sentences)), "beam": args.beam, "repeats": args.repeats},
        **{"threads": args.threads, "clock": args.clock, "load": load},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
    facts = "{sentences} sentences, beam {beam}, {threads} threads, medians of {repeats}, {clock}"
    print(facts.format(**settings) + f" clock, {settings['device']}")
    if load > BUSY * (os.cpu_count() or 1):
        print(f"Other work shares the machine (load {load:.1f}): not the numbers of a quiet one.")
    print(
        f"{'engine':<20} {'tokens/s':>9} {'(from':>8} {'to)':>8} {'ratio':>6} {'MB':>7} {'other':>6}"
    )
    for name, row in results.items():
        print(
            f"{name:<20} {row['tokens_per_second']:9.0f} {row['slowest']:8.0f} {row['fastest']:8.0f} "
            f"{row['ratio']:6.2f} {row['bytes'] / 1e6:7.1f} {row['other_translations']:6d}"
        )
    write_json(args.json, {"settings": settings, "engines": results})


if __name__ == "__main__":
    main()
