"""``bertkd inspect``: signature and statistics of a teacher store."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.data_bin import DataBin
from bertkd_fairseq.errors import StoreError, raise_all
from bertkd_fairseq.store_statistics import StoreStatistics
from bertkd_fairseq.topk_store import TopKStore

EXAMPLE = "bertkd inspect topk --data-bin data-bin --verify"

_SENTENCES_AT_ONCE = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("store", help="teacher store made by `bertkd dump-topk`")
    parser.add_argument("--data-bin", help="compare with the target tokens of this data-bin")
    parser.add_argument(
        "--verify", action="store_true", help="read every byte and compare with the checksums"
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers here too")


def run(args: argparse.Namespace) -> int:
    """Print the signature, what was verified, and statistics where there is a data-bin."""
    store = TopKStore.open(args.store)
    size = sum(file.stat().st_size for file in store.path.iterdir())
    summary: dict[str, Any] = {
        "signature": store.meta["signature"],
        "sentences": len(store),
        "tokens": store.meta["num_tokens"],
        "bytes_per_token": round(size / store.meta["num_tokens"], 2),
    }
    if args.verify:
        _verify(store)
        summary["verified"] = "every byte"
    if args.data_bin:
        summary["statistics"] = _statistics(store, DataBin.open(args.data_bin))
    print("\n".join(_lines(summary)))
    if args.json:
        Path(args.json).write_text(json.dumps(summary, indent=1) + "\n")
    return 0


def _verify(store: TopKStore) -> None:
    problems = store.verify()
    if problems:
        raise StoreError(
            f"{store.path} differs from its checksums in {', '.join(problems[:5])}"
            f"{' and more' if len(problems) > 5 else ''}. "
            "Dump it again with `bertkd dump-topk --force`."
        )


def _statistics(store: TopKStore, data_bin: DataBin) -> dict[str, Any]:
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
    statistics = StoreStatistics()
    for start in range(0, len(store), _SENTENCES_AT_ONCE):
        sentences = np.arange(start, min(start + _SENTENCES_AT_ONCE, len(store)))
        gold = np.concatenate([pairs.tgt[sentence].numpy() for sentence in sentences])
        statistics.add(*store.sentences(sentences), gold, pairs.tgt_dict.eos())
    return statistics.summary()


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key:<{24 - len(indent)}} {value}")
    return lines
