"""``bertkd prepare``: parallel text to a data-bin."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from bertkd_fairseq.cli.reports import add_json, json_problems, write_json
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.text.cleaning import CleaningRules
from bertkd_fairseq.text.outputs import inside_problems
from bertkd_fairseq.text.prepare import Preparation, prepare

EXAMPLE = (
    "bertkd prepare --source-lang de --target-lang en --train data/train --valid data/valid "
    "--test data/test --tokenizer bert-base-multilingual-cased --dest data-bin"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd prepare``."""
    rules = CleaningRules()
    text = parser.add_argument_group("text, as PREFIX.LANG or PREFIX.LANG.gz")
    text.add_argument("--source-lang", required=True, metavar="LANG", help="source language code")
    text.add_argument("--target-lang", required=True, metavar="LANG", help="target language code")
    text.add_argument("--train", required=True, metavar="PREFIX", help="training pairs")
    text.add_argument("--valid", required=True, metavar="PREFIX", help="validation pairs")
    text.add_argument("--test", metavar="PREFIX", help="test pairs")
    text.add_argument("--lowercase", action="store_true", help="lowercase both languages")
    text.add_argument(
        "--keep-punctuation",
        action="store_true",
        help="don't normalise quotes, dashes and so on before tokenising",
    )
    cleaning = parser.add_argument_group("cleaning of training pairs, in Moses tokens")
    cleaning.add_argument("--min-length", type=int, default=rules.min_length, help="shortest side")
    cleaning.add_argument("--max-length", type=int, default=rules.max_length, help="longest side")
    cleaning.add_argument(
        "--max-ratio", type=float, default=rules.max_ratio, help="longer side over shorter side"
    )
    output = parser.add_argument_group("tokenizer and output")
    output.add_argument(
        "--tokenizer",
        required=True,
        metavar="PATH_OR_HUB_NAME",
        help="the teacher's fast WordPiece tokenizer",
    )
    output.add_argument("--dest", required=True, type=Path, metavar="DIR", help="the new data-bin")
    output.add_argument("--force", action="store_true", help="replace a data-bin at --dest")
    output.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare the data-bin and print the report."""
    problems = json_problems("bertkd prepare", args.json, args.dest)
    raise_all([*problems, *inside_problems("--dest", args.dest)])
    named = {"train": args.train, "valid": args.valid, "test": args.test}
    report = prepare(
        Preparation(
            source_lang=args.source_lang,
            target_lang=args.target_lang,
            prefixes={split: prefix for split, prefix in named.items() if prefix},
            tokenizer=args.tokenizer,
            dest=args.dest.absolute(),
            rules=CleaningRules(args.min_length, args.max_length, args.max_ratio),
            lowercase=args.lowercase,
            normalize=not args.keep_punctuation,
            workers=args.workers,
            force=args.force,
        )
    )
    write_json("bertkd prepare", args.json, report)
    print(format_report(report, args.dest))
    return 0


def format_report(report: dict[str, Any], dest: Path) -> str:
    """Return what :func:`bertkd_fairseq.text.prepare.prepare` found, as the lines to print."""
    source, target = langs = report["source_lang"], report["target_lang"]
    lines = [f"{'split':<6}{'read':>10}{'kept':>10}{source:>12}{target:>12}  dropped"]
    notes = []
    for split, counts in report["splits"].items():
        symbols = "".join(f"{counts['symbols'][lang]:>12,}" for lang in langs)
        dropped = ", ".join(f"{reason} {n:,}" for reason, n in counts["dropped"].items()) or "none"
        lines.append(f"{split:<6}{counts['read']:>10,}{counts['kept']:>10,}{symbols}  {dropped}")
        control = sum(counts["lines_with_control_characters"].values())
        if control:
            notes.append(f"{split}: {control:,} lines with tabs or control characters cleaned")
        if counts["pairs_over_512"]:
            notes.append(
                f"{split}: {counts['pairs_over_512']:,} pairs over BERT's 512 positions, "
                f"the longest {counts['longest_pair']:,}"
            )
        if sum(counts["unk"].values()):
            unk = ", ".join(f"{lang} {counts['unk'][lang]:,}" for lang in langs)
            notes.append(f"{split}: symbols not in the dictionary (<unk>): {unk}")
    lines += [f"dictionary: {report['dictionary']['size']:,} symbols, joined"]
    for side, counts in report["dictionary"]["coverage"].items():
        lines.append(f"  {side}: {_coverage(counts)}")
    tokenizer = report["tokenizer"]
    if tokenizer["lowercases"] or tokenizer["strips_accents"]:
        habits = {"lowercases": "lowercases", "strips_accents": "strips accents"}
        what = " and ".join(text for key, text in habits.items() if tokenizer[key])
        notes.append(f"the tokenizer {what}; symbols keep the characters of the text all the same")
    seconds = ", ".join(f"{step} {value:.1f}" for step, value in report["seconds"].items())
    return "\n".join([*lines, *notes, f"seconds: {seconds}", f"data-bin: {dest}"])


def _coverage(counts: dict[str, int]) -> str:
    share = 100 * counts["unknown_tokens"] / max(1, counts["tokens"])
    return (
        f"{counts['types']:,} types; the tokenizer has no piece for {counts['unknown_types']:,} "
        f"({share:.3f}% of the running symbols); {counts['shared_types']:,} share a piece"
    )
