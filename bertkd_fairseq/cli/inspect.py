"""``bertkd inspect``: signature, statistics and single sentences of a teacher store; students beside it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bertkd_fairseq.analysis.inspect.agreement import StudentAgreement, agreement_table
from bertkd_fairseq.analysis.inspect.plot import plot_statistics
from bertkd_fairseq.analysis.inspect.statistics import StoreStatistics
from bertkd_fairseq.analysis.inspect.students import Student
from bertkd_fairseq.cli.reports import named_files, write_json
from bertkd_fairseq.errors import ConfigurationError, StoreError, must_be, raise_all
from bertkd_fairseq.text.data_bin import DataBin, check_split
from bertkd_fairseq.text.outputs import output_problems
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
    add(
        "--student",
        action="append",
        default=[],
        metavar="NAME=CHECKPOINT",
        help="how often this student is right where the teacher is and where it isn't; repeat for several",
    )
    add("--plot", metavar="FILE", help="draw the statistics to this PNG")
    add("--json", metavar="FILE", help="write the numbers here too")
    add("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for."""
    students, problems = named_files("--student", "NAME=CHECKPOINT", args.student)
    raise_all(problems + _problems(args, students))
    store = TopKStore.open(args.store)
    raise_all(_top_k_problems(args, store))
    if args.verify:  # first: what has changed must not lead the rest astray
        _verify(store)
    pairs = _open_pairs(store, DataBin.open(args.data_bin)) if args.data_bin else None
    if args.sentence is not None:
        lines = _sentence(store, args.sentence, pairs)
    else:
        loaded = [(name, Student(path, args.data_bin, _langs(store))) for name, path in students]
        lines = _report(args, store, pairs, loaded)
    print("\n".join(lines))
    return 0


def _problems(args: argparse.Namespace, students: list[tuple[str, str]]) -> list[str]:
    """Return what is wrong with the options, without opening anything."""
    problems = output_problems({"--plot": args.plot, "--json": args.json}, force=args.force)
    problems += [
        f"there is no checkpoint at {path}. Train a student first."
        for _, path in students
        if not Path(path).is_file()
    ]
    for options, given in (("--plot and --json", args.plot or args.json), ("--student", students)):
        if args.sentence is not None and given:
            problems.append(f"--sentence shows one sentence alone: leave out {options}.")
    for option, given in (("--plot", args.plot), ("--student", students)):
        if given and not args.data_bin:
            problems.append(f"{option} needs --data-bin, to know the target tokens.")
    return problems


def _top_k_problems(args: argparse.Namespace, store: TopKStore) -> list[str]:
    """Return what draws at random can't show."""
    options = (("--plot draws", args.plot), ("--student counts by", args.student))
    return [
        f"{option} the teacher's top K, but the targets of {store.path} are sampled. Leave it out."
        for option, given in options
        if given and store.sampled
    ]


def _sentence(store: TopKStore, index: int, pairs: Any) -> list[str]:
    if not 0 <= index < len(store):
        raise ConfigurationError(must_be("--sentence", f"from 0 to {len(store) - 1}", index))
    return sentence_table(store, index, pairs.tgt[index].numpy() if pairs else None)


def _report(
    args: argparse.Namespace, store: TopKStore, pairs: Any, students: list[tuple[str, Student]]
) -> list[str]:
    """Write the files that were asked for and return the lines to print."""
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
    lines = _lines(summary)
    if students:
        summary["students"] = _agreements(store, pairs, students)
        runs = {name: student["runs"] for name, student in summary["students"].items()}
        lines += agreement_table(runs, store.k)
    write_json("bertkd inspect", args.json, summary)
    return lines


def sentence_table(store: TopKStore, index: int, gold: np.ndarray | None) -> list[str]:
    """Return a line per target token: the gold symbol (if known) and the teacher's, with probabilities."""
    symbols = store.symbols()
    rows = store.sentences(np.array([index]))
    golds = [""] * len(rows.ids) if gold is None else [symbols[token] for token in gold]
    width = max(map(len, golds))
    lines = []
    for token, ids, values, tail in zip(golds, rows.ids, rows.logprobs, rows.log_tail, strict=True):
        entries = [
            f"{symbols[i]} {math.exp(value):.3f}" for i, value in zip(ids, values, strict=True)
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
    from fairseq.data import Dictionary
    from fairseq.tasks.translation import load_langpair_dataset

    from bertkd_fairseq.data.store_match import mismatches

    path, split, langs = str(data_bin.path), store.meta["split"], _langs(store)
    check_split(path, split, langs)
    sides: list[Any] = []
    for lang in langs:
        sides += [lang, Dictionary.load(f"{path}/dict.{lang}.txt")]
    how = {"combine": False, "dataset_impl": None, "upsample_primary": 1, "left_pad_source": True}
    how |= {"left_pad_target": False, "max_source_positions": None, "max_target_positions": None}
    pairs = load_langpair_dataset(path, split, *sides, **how)
    raise_all(mismatches(store, path, split, langs, pairs), StoreError)
    return pairs


def _langs(store: TopKStore) -> tuple[str, str]:
    return store.meta["source_lang"], store.meta["target_lang"]


def _statistics(store: TopKStore, pairs: Any) -> StoreStatistics:
    statistics = StoreStatistics()
    for sentences, gold in _chunks(pairs):
        statistics.add(store.sentences(sentences), gold, pairs.tgt_dict.eos())
    return statistics


def _agreements(
    store: TopKStore, pairs: Any, students: list[tuple[str, Student]]
) -> dict[str, dict[str, list[Any]]]:
    """Return, by name, the students' files and what each makes of the teacher's tokens."""
    agreements: dict[str, dict[str, list[Any]]] = {}
    for name, student in students:
        agreement = StudentAgreement()
        answers = student.answers(pairs, name)
        for sentences, gold in _chunks(pairs):
            rows = slice(store.offsets[sentences[0]], store.offsets[sentences[-1] + 1])
            agreement.add(store.sentences(sentences), gold, pairs.tgt_dict.eos(), answers[rows])
        entry = agreements.setdefault(name, {"files": [], "runs": []})
        entry["files"].append(student.path)
        entry["runs"].append(agreement.summary())
    return agreements


def _chunks(pairs: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the numbers of consecutive sentences and their target tokens, some thousands at once."""
    for start in range(0, len(pairs), _SENTENCES_AT_ONCE):
        sentences = np.arange(start, min(start + _SENTENCES_AT_ONCE, len(pairs)))
        yield sentences, np.concatenate([pairs.tgt[sentence].numpy() for sentence in sentences])


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key:<{24 - len(indent)}} {value}")
    return lines
