"""Read the translations of several systems and score them against one reference.

All scores and tests are sacrebleu's own; this module only makes sure that every sentence is there,
that each metric gets the form of text it is defined on, and that systems are compared in pairs.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertkd_fairseq.data_bin import read_lines
from bertkd_fairseq.errors import DataError, raise_all
from bertkd_fairseq.segment import undo_segmentation

#: One line of fairseq-generate that holds a hypothesis: H- as generated, D- decoded.
_HYPOTHESIS = re.compile(r"([HD])-(\d+)\t([^\t]*)\t(.*)", re.DOTALL)
_SHOWN = 5

Decode = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class System:
    """The translations of one system in the order of the reference, in both forms."""

    name: str
    path: Path
    format: str  # "fairseq-generate" or "text"
    text: list[str]  # detokenised, for sacreBLEU and chrF
    tokenized: list[str]  # Moses words, for the tokenised BLEU of the paper


@dataclass(frozen=True)
class Score:
    """One metric of one system; what is measured against the first system is None for itself."""

    score: float
    signature: str
    mean: float  # of the bootstrap resamples
    interval: float  # half of the central 95%
    length_ratio: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Scores by system name, then by metric: ``tokenized_bleu``, ``bleu``, ``chrf``."""

    scores: dict[str, dict[str, Score]]
    num_resamples: int
    num_sentences: int
    lowercase: bool
    seed: str


def read_system(
    name: str, path: str | Path, count: int, *, tokenize: Decode, detokenize: Decode
) -> System:
    """Read output of ``fairseq-generate`` (recognised by its H- lines) or plain translations.

    ``tokenize`` turns raw text into Moses words, ``detokenize`` Moses words into raw text.

    :raises DataError: unless there is exactly one translation for each of ``count`` sentences.
    """
    lines = read_lines(path)
    found = [match.groups() for line in lines if (match := _HYPOTHESIS.fullmatch(line))]
    if not any(kind == "H" for kind, *_ in found):
        if len(lines) != count:
            raise DataError(
                f"`{path}` must have {count} lines, one for each reference, "
                f"but has {len(lines)} instead."
            )
        return System(name, Path(path), "text", lines, tokenize(lines))
    generated = _by_sentence(path, "H", found, count)
    if any(kind == "D" for kind, *_ in found):
        decoded = _by_sentence(path, "D", found, count)
    else:
        decoded = generated
    words = [undo_segmentation(line) for line in generated]
    # Decoded to raw text already? Only if D- is neither H- itself nor the words inside H-.
    text = detokenize(words) if decoded in (generated, words) else decoded
    return System(name, Path(path), "fairseq-generate", text, words)


def _by_sentence(
    path: str | Path, kind: str, found: Iterable[Sequence[str]], count: int
) -> list[str]:
    """Return the hypotheses of one kind by sentence id; each id below ``count`` exactly once."""
    pairs = [(int(id_), text) for line_kind, id_, _, text in found if line_kind == kind]
    times = Counter(id_ for id_, _ in pairs)
    missing = [i for i in range(count) if i not in times]
    twice = sorted(i for i, n in times.items() if n > 1)
    surplus = sorted(i for i in times if i >= count)
    problems = []
    if missing:
        problems.append(
            f"`{path}` has no {kind}- line for {_some(missing, count)}. Decode with "
            f"`--required-batch-size-multiple 1`: otherwise fairseq drops the last batch."
        )
    if twice:
        problems.append(
            f"`{path}` has several {kind}- lines for {_some(twice, count)}. It must hold one run "
            f"of fairseq-generate with `--nbest 1`."
        )
    if surplus:
        problems.append(
            f"`{path}` has {kind}- lines for {_some(surplus)} beyond the {count} references. "
            f"Is it the output for another split?"
        )
    raise_all(problems, DataError)
    texts = dict(pairs)
    return [texts[i] for i in range(count)]


def _some(ids: list[int], count: int | None = None) -> str:
    shown = ", ".join(map(str, ids[:_SHOWN])) + (", ..." if len(ids) > _SHOWN else "")
    of = "" if count is None else f" of {count}"
    return f"{len(ids)}{of} sentences (ids {shown})"


def compare_systems(
    systems: Sequence[System],
    reference: list[str],
    tokenized_reference: list[str],
    *,
    lowercase: bool,
    num_resamples: int = 1000,
) -> Comparison:
    """Score every system and test each against the first by paired bootstrap (Koehn, 2004)."""
    from sacrebleu.metrics import BLEU, CHRF

    tokenized = BLEU(tokenize="none", lowercase=lowercase, force=True)
    columns = {
        "tokenized_bleu": (tokenized, [s.tokenized for s in systems], tokenized_reference),
        "bleu": (BLEU(lowercase=lowercase), [s.text for s in systems], reference),
        "chrf": (CHRF(lowercase=lowercase), [s.text for s in systems], reference),
    }
    seed = os.environ.get("SACREBLEU_SEED", "12345")  # as sacrebleu reads it
    scores: dict[str, dict[str, Score]] = {system.name: {} for system in systems}
    for metric_name, (metric, hypotheses, wanted) in columns.items():
        column = _score_metric(metric, hypotheses, wanted, num_resamples)
        for system, score in zip(systems, column, strict=True):
            scores[system.name][metric_name] = score
    return Comparison(scores, num_resamples, len(reference), lowercase, seed)


def _score_metric(
    metric: Any, hypotheses: list[list[str]], reference: list[str], num_resamples: int
) -> list[Score]:
    """Return the score of each system by one sacrebleu metric, in order."""
    import numpy as np
    from sacrebleu.significance import PairedTest, _bootstrap_resample

    named: list[tuple[str, Sequence[str]]] = [(str(i), lines) for i, lines in enumerate(hypotheses)]
    test = PairedTest(named, {"": metric}, [reference], test_type="bs", n_samples=num_resamples)
    columns = test()[1]
    results: Any = next(column for name, column in columns.items() if name != "System")

    def resampled(lines: list[str]) -> Any:
        # The same seed, so the same sentences for every system: differences are paired.
        stats = metric._extract_corpus_statistics(lines, [reference])
        return np.array([s.score for s in _bootstrap_resample(stats, metric, num_resamples)[1]])

    baseline = resampled(hypotheses[0])
    scores = []
    for i, (result, lines) in enumerate(zip(results, hypotheses, strict=True)):
        whole = metric.corpus_score(lines, [reference])
        against: dict[str, Any] = {}
        if i:
            low, high = np.quantile(resampled(lines) - baseline, (0.025, 0.975))
            against = {
                "difference": float(result.score - results[0].score),
                "difference_interval": (float(low), float(high)),
                "p_value": float(result.p_value),
            }
        scores.append(
            Score(
                score=float(whole.score),
                signature=str(metric.get_signature()),
                mean=float(result.mean),
                interval=float(result.ci),
                length_ratio=float(whole.ratio) if hasattr(whole, "ratio") else None,
                **against,
            )
        )
    return scores


def format_table(comparison: Comparison) -> str:
    """Return the scores as a table of plain text, with signatures below."""
    names = list(comparison.scores)
    width = max(6, *map(len, names))
    header = f"{'system':<{width}}  {'tok BLEU':>8}  {'BLEU [95%]':>15}  {'chrF':>6}  {'length':>6}"
    lines = [header + (f"  {'difference [95%]':>22}  {'p':>6}" if len(names) > 1 else "")]
    for name in names:
        tok, bleu, chrf = (comparison.scores[name][m] for m in ("tokenized_bleu", "bleu", "chrf"))
        interval = f"{bleu.score:.2f} ±{bleu.interval:.2f}"
        line = f"{name:<{width}}  {tok.score:>8.2f}  {interval:>15}  {chrf.score:>6.2f}"
        line += f"  {bleu.length_ratio:>6.3f}"
        if bleu.difference_interval is not None and bleu.p_value is not None:
            low, high = bleu.difference_interval
            difference = f"{bleu.difference:+.2f} [{low:+.2f}, {high:+.2f}]"
            line += f"  {difference:>22}  {bleu.p_value:>6.4f}"
        lines.append(line)
    first = comparison.scores[names[0]]
    lines += ["", f"{comparison.num_sentences} sentences; paired bootstrap of BLEU against"]
    lines[-1] += f" {names[0]!r}, {comparison.num_resamples} resamples, seed {comparison.seed}"
    if comparison.lowercase:
        lines.append("Case is ignored in all scores (lowercased data-bin or --lowercase).")
    for title, key in (("tok BLEU", "tokenized_bleu"), ("BLEU", "bleu"), ("chrF", "chrf")):
        lines.append(f"{title + ':':<9} {first[key].signature}")
    return "\n".join(lines)
