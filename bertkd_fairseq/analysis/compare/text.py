"""Write a comparison as plain text. The other reports share its tables and notes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from bertkd_fairseq.analysis.compare.comparison import LONGEST_NGRAM, Comparison, Example
from bertkd_fairseq.analysis.compare.scoring import METRICS, Difference, Score
from bertkd_fairseq.analysis.tables import aligned

REFERENCE = "reference"
"""The reference's name in tables of systems. No system may have this name."""

_WIDTH = 90  # of paragraphs, in characters

Table = list[list[str]]
"""Rows of cells, the header first."""


def score_table(comparison: Comparison) -> Table:
    """Return a row per system: every metric (with its spread over runs), length ratio and brevity penalty."""
    interval = "BLEU 95%"
    rows = [["system", "runs", *_metrics(comparison).values(), interval, "length", "BP"]]
    for name, scores in comparison.scores.items():
        bleu = scores["bleu"]
        rows.append(
            [name, str(len(bleu.runs)), *(_with_spread(scores[m]) for m in _metrics(comparison))]
        )
        rows[-1] += ["-" if bleu.interval is None else f"±{bleu.interval:.2f}"]
        rows[-1] += [f"{bleu.length_ratio:.3f}"]
        rows[-1] += [f"{bleu.brevity_penalty:.3f}"]
    return rows


def difference_table(comparison: Comparison) -> Table:
    """Return a row per system and metric: the difference to the first system, and the tests of that difference."""
    rows = [["difference", "metric", "value [95%]", "bootstrap p", "randomisation p"]]
    for name, scores in comparison.scores.items():
        for metric, title in _metrics(comparison).items():
            if found := scores[metric].against_first:
                tests = map(_p, (found.bootstrap_p, found.randomization_p))
                rows.append([name, title, _with_interval(found), *tests])
    return rows


def length_table(comparison: Comparison) -> Table:
    """Return a row per length bucket: BLEU of every system, and the differences to the first."""
    names = list(comparison.scores)
    unit = comparison.target.lengths.split()[-1]
    rows = [[unit, "sentences", *names, *(f"{name} - {names[0]}" for name in names[1:])]]
    for bucket in comparison.length_buckets:
        scores = [bucket.bleu[name] for name in names]
        rows.append([bucket.name, str(bucket.num_sentences), *map(_with_spread, scores)])
        rows[-1] += [_with_interval(score.against_first) for score in scores if score.against_first]
    return rows


def length_title(comparison: Comparison) -> str:
    """Return the heading above the table of lengths."""
    in_characters = "" if comparison.target.has_words else ", in characters"
    return f"BLEU by length of the reference{in_characters}"


def repetition_table(comparison: Comparison) -> Table:
    """Return a row for each system and for the reference: the percentage of repeated n-grams."""
    rates = [(REFERENCE, comparison.reference_repetition), *comparison.repetition.items()]
    header = ["", *(f"{n}-grams" for n in range(1, LONGEST_NGRAM + 1))]
    return [header, *([name, *(f"{rate:.2f}" for rate in row)] for name, row in rates)]


def score_notes(comparison: Comparison) -> list[str]:
    """Return what a reader has to know about the scores and tests, each note a paragraph."""
    first = next(iter(comparison.scores))
    trials = comparison.trials
    runs = [len(scores["bleu"].runs) for scores in comparison.scores.values()]
    notes = [
        f"There are {comparison.num_sentences} sentences. The paired bootstrap ({trials.resamples} resamples) and "
        f"approximate randomisation ({trials.randomization} trials) test each system against {first!r}, with seed "
        f"{trials.seed}. 95% is the central range over the resamples. Both p are computed as in sacrebleu. That of the "
        f"bootstrap, as in Moses, is about .4 even for the smallest difference."
    ]
    if max(runs) > 1:
        notes.append(
            "A score is the mean over runs, ± their standard deviation (n - 1). When a test draws or swaps a sentence, "
            "it takes its translations by all runs together. The tests ask: would these trained models differ on other "
            "sentences? They do not ask whether retrained models would; the spread over runs shows that."
        )
    if len(set(runs)) > 1:
        notes.append(
            "Systems with different numbers of runs aren't compared by randomisation: some runs have no counterpart."
        )
    notes += comparison.target.notes
    if comparison.lowercase:
        notes.append(
            "Case is ignored in all scores, because of a lowercased data-bin or --lowercase."
        )
    return notes


def _metrics(comparison: Comparison) -> dict[str, str]:
    """Return the name in files and the name in reports of each metric that was computed."""
    return {metric: title for metric, title in METRICS.items() if metric in comparison.signatures}


def signature_lines(comparison: Comparison) -> list[str]:
    """Return the signature of every metric, in sacrebleu's form."""
    return [f"{METRICS[metric] + ':':<9} {text}" for metric, text in comparison.signatures.items()]


def example_title(example: Example) -> str:
    """Return the number of an example's sentence, and its chrF by both systems."""
    first, other = example.chrf.values()
    return f"sentence {example.index}: chrF {first:.1f} -> {other:.1f} ({example.difference:+.1f})"


def example_lines(example: Example) -> list[tuple[str, str]]:
    """Return the lines of an example, each a label and a text: source, reference and all translations."""
    lines = [] if example.source is None else [("source", example.source)]
    lines.append((REFERENCE, example.reference))
    for name, translations in example.translations.items():
        several = len(translations) > 1
        for run, text in enumerate(translations, 1):
            lines.append((f"{name} {run}" if several else name, text))
    return lines


def examples_title(first: str, system: str) -> str:
    """Return the heading above the examples of one system."""
    return f"{system} against {first}: where the sentence's chrF differs most"


def format_comparison(comparison: Comparison) -> str:
    """Return the whole report as text. Details come first, because a terminal shows the end."""
    first = next(iter(comparison.scores))
    sections = [
        [examples_title(first, system), *_format_examples(examples)]
        for system, examples in examples_by_system(comparison).items()
    ]
    lengths = [length_title(comparison), *aligned(length_table(comparison))]
    repeated = f"n-grams of {comparison.target.ngrams} repeated within a sentence, %"
    sections += [lengths, [repeated, *aligned(repetition_table(comparison))]]
    sections.append(aligned(score_table(comparison)))
    if len(comparison.scores) > 1:
        sections.append(aligned(difference_table(comparison)))
    notes = [line for note in score_notes(comparison) for line in textwrap.wrap(note, _WIDTH)]
    sections.append(notes + signature_lines(comparison))
    return "\n\n".join("\n".join(lines) for lines in sections)


def examples_by_system(comparison: Comparison) -> dict[str, list[Example]]:
    """Return the examples of each system that has any."""
    found: dict[str, list[Example]] = {}
    for example in comparison.examples:
        found.setdefault(example.system, []).append(example)
    return found


def _format_examples(examples: Iterable[Example]) -> list[str]:
    lines = []
    for example in examples:
        labelled = example_lines(example)
        width = max(len(label) for label, _ in labelled)
        lines += ["", example_title(example)]
        lines += [f"  {label:<{width}}  {text}" for label, text in labelled]
    return lines


def _with_spread(score: Score) -> str:
    return f"{score.score:.2f}" + ("" if score.spread is None else f" ±{score.spread:.2f}")


def _with_interval(difference: Difference) -> str:
    interval = difference.interval
    bounds = "-" if interval is None else f"{interval[0]:+.2f}, {interval[1]:+.2f}"
    return f"{difference.difference:+.2f} [{bounds}]"


def _p(p: float | None) -> str:
    return "-" if p is None else f"{p:.4f}"
