"""``bertkd inspect``: signature, statistics and single sentences of a teacher store."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np

from bertkd_fairseq.cli.options import output_problems, write_whole
from bertkd_fairseq.data_bin import DataBin
from bertkd_fairseq.errors import ConfigurationError, StoreError, must_be, raise_all
from bertkd_fairseq.store_plot import plot_statistics
from bertkd_fairseq.store_statistics import StoreStatistics
from bertkd_fairseq.topk_store import TopKStore

EXAMPLE = "bertkd inspect topk --data-bin data-bin --verify --plot topk.png"

_SENTENCES_AT_ONCE = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("store", help="teacher store made by `bertkd dump-topk`")
    add(
        "--data-bin", help="the data-bin it was made for: adds statistics against the target tokens"
    )
    add("--verify", action="store_true", help="read every byte and compare with the checksums")
    add("--sentence", type=int, metavar="I", help="show this sentence, token by token, from 0")
    add("--plot", metavar="FILE", help="draw the statistics to this PNG")
    add("--json", metavar="FILE", help="write the numbers here too")
    add("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for."""
    problems = output_problems(force=args.force, plot=args.plot, json=args.json)
    if args.sentence is not None and (args.plot or args.json):
        problems.append("--sentence shows one sentence alone: leave out --plot and --json.")
    if args.plot and not args.data_bin:
        problems.append("--plot needs --data-bin, to know the target tokens.")
    raise_all(problems)
    store = TopKStore.open(args.store)
    if store.sampled and args.plot:
        raise ConfigurationError(
            f"--plot draws the teacher's top K, but the targets of {store.path} are sampled. Leave it out."
        )
    if args.verify:  # first: what has changed must not lead the rest astray
        _verify(store)
    pairs = _open_pairs(store, DataBin.open(args.data_bin)) if args.data_bin else None
    if args.sentence is not None:
        if not 0 <= args.sentence < len(store):
            raise ConfigurationError(
                must_be("--sentence", f"from 0 to {len(store) - 1}", args.sentence)
            )
        gold = pairs.tgt[args.sentence].numpy() if pairs else None
        print("\n".join(sentence_table(store, args.sentence, gold)))
        return 0
    summary: dict[str, Any] = store.summary()
    if args.verify:
        summary["verified"] = "every byte"
    if pairs:
        statistics = _statistics(store, pairs)
        summary["statistics"] = (
            statistics.summary_of_draws() if store.sampled else statistics.summary()
        )
        if args.plot:
            title = store.meta["signature"]
            plot_statistics(summary["statistics"], statistics.mass_counts, args.plot, title)
    if args.json:
        write_whole(args.json, json.dumps(summary, indent=1) + "\n")
    print("\n".join(_lines(summary)))
    return 0


def sentence_table(store: TopKStore, index: int, gold: np.ndarray | None) -> list[str]:
    """Return a line per target token: the gold symbol (if known) and the teacher's, with probabilities."""
    symbols = store.symbols()
    ids, logprobs = store.sentence(index)
    tails = store.log_tail[store.offsets[index] : store.offsets[index + 1]]
    golds = [""] * len(ids) if gold is None else [symbols[token] for token in gold]
    width = max(map(len, golds))
    lines = []
    for token, row, values, tail in zip(golds, ids, logprobs, tails, strict=True):
        entries = [
            f"{symbols[i]} {math.exp(value):.3f}" for i, value in zip(row, values, strict=True)
        ]
        teacher = "no teacher" if np.isneginf(values).all() else "  ".join(entries)
        lines.append(f"{token:<{width}} | {teacher} | rest {math.exp(tail):.3f}")
    return lines


def _verify(store: TopKStore) -> None:
    problems = store.verify()
    if problems:
        raise StoreError(
            f"{store.path} differs from its checksums in {', '.join(problems[:5])}"
            f"{' and more' if len(problems) > 5 else ''}. "
            "Dump it again with `bertkd dump-topk --force`."
        )


def _open_pairs(store: TopKStore, data_bin: DataBin) -> Any:
    """Return the split that the store belongs to, or say why it doesn't."""
    from fairseq.data import Dictionary, LanguagePairDataset, data_utils

    from bertkd_fairseq.data.alignment import data_hashes, mismatches

    split, langs = store.meta["split"], (store.meta["source_lang"], store.meta["target_lang"])
    sides: list[Any] = []
    for lang in langs:
        dictionary = Dictionary.load(str(data_bin.path / f"dict.{lang}.txt"))
        prefix = str(data_bin.path / f"{split}.{'-'.join(langs)}.{lang}")
        dataset = data_utils.load_indexed_dataset(prefix, dictionary)
        sides += [dataset, dataset.sizes, dictionary]
    pairs = LanguagePairDataset(*sides)
    hashes = data_hashes(str(data_bin.path), split, *langs, pairs)
    raise_all(mismatches(store, hashes, str(data_bin.path), pairs), StoreError)
    return pairs


def _statistics(store: TopKStore, pairs: Any) -> StoreStatistics:
    statistics = StoreStatistics()
    for start in range(0, len(store), _SENTENCES_AT_ONCE):
        sentences = np.arange(start, min(start + _SENTENCES_AT_ONCE, len(store)))
        gold = np.concatenate([pairs.tgt[sentence].numpy() for sentence in sentences])
        rows = store.sentences(sentences)
        statistics.add(rows, gold, pairs.tgt_dict.eos())
    return statistics


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key:<{24 - len(indent)}} {value}")
    return lines
