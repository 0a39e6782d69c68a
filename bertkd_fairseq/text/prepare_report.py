"""What ``bertkd prepare`` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any


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
