"""What ``bertkd prepare`` prints."""

from __future__ import annotations

from pathlib import Path

from bertkd_fairseq.teacher_input import MAX_POSITIONS
from bertkd_fairseq.text.facts import Coverage, SplitFacts, TokenizerFacts
from bertkd_fairseq.text.prepare import Prepared
from bertkd_fairseq.text.segmentation.learnt import MODEL_FILES

_KEEPS_MORE = {
    "too_short": "--min-length",
    "too_few_characters": "--min-length",
    "too_long": "--max-length",
    "too_many_characters": "--max-characters",
    "ratio": "--max-ratio",
}
"""The option that keeps more pairs, by the reason why they were dropped."""


def format_report(prepared: Prepared, destdir: Path) -> str:
    """Return what was found in the text, as the lines to print; ``destdir`` as the user wrote it."""
    facts = prepared.facts
    source, target = facts.langs
    lines = [f"{'split':<6}{'read':>10}{'kept':>10}{source:>12}{target:>12}  dropped"]
    notes = []
    for name, split in facts.splits.items():
        symbols = "".join(f"{split.symbols[lang]:>12,}" for lang in facts.langs)
        dropped = ", ".join(f"{reason} {n:,}" for reason, n in split.dropped.items()) or "none"
        lines.append(f"{name:<6}{split.read:>10,}{split.kept:>10,}{symbols}  {dropped}")
        notes += [f"{name}: {note}" for note in _notes_on(split)]
    lines += [f"dictionary: {facts.dictionary.size:,} symbols, joined"]
    lines += [f"  {side}: {_covered(found)}" for side, found in facts.dictionary.coverage.items()]
    if facts.tokenizer and (habits := _habits(facts.tokenizer)):
        notes.append(
            f"the tokenizer {habits}; symbols keep the characters of the text all the same"
        )
    seconds = ", ".join(f"{step} {value:.1f}" for step, value in prepared.seconds.items())
    if model := MODEL_FILES.get(facts.subword):
        notes.append(f"{facts.subword}: the model is {destdir / model}")
    return "\n".join([*lines, *notes, f"seconds: {seconds}", f"data-bin: {destdir}"])


def _notes_on(split: SplitFacts) -> list[str]:
    notes = []
    lost = split.read - split.kept
    options = sorted({_KEEPS_MORE[reason] for reason in split.dropped if reason in _KEEPS_MORE})
    if options and 10 * lost >= split.read:
        notes.append(
            f"{lost:,} of {split.read:,} pairs were dropped; to keep more of them, change {', '.join(options)}"
        )
    if control := sum(split.lines_with_control_characters.values()):
        notes.append(f"{control:,} lines with tabs or control characters cleaned")
    if split.pairs_over_512:
        notes.append(
            f"{split.pairs_over_512:,} pairs over BERT's {MAX_POSITIONS} positions, "
            f"the longest {split.longest_pair:,}"
        )
    if sum(split.unk.values()):
        unk = ", ".join(f"{lang} {n:,}" for lang, n in split.unk.items())
        notes.append(f"symbols not in the dictionary (<unk>): {unk}")
    return notes


def _habits(tokenizer: TokenizerFacts) -> str:
    habits = {"lowercases": tokenizer.lowercases, "strips accents": tokenizer.strips_accents}
    return " and ".join(habit for habit, is_so in habits.items() if is_so)


def _covered(found: Coverage) -> str:
    share = 100 * found.unknown_tokens / max(1, found.tokens)
    return (
        f"{found.types:,} different symbols; the tokenizer has no piece for {found.unknown_types:,} "
        f"({share:.3f}% of the running symbols); {found.shared_types:,} share a piece"
    )
