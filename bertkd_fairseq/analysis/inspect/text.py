"""What was found in a teacher store as plain text: a section with a heading for each part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bertkd_fairseq.analysis.inspect import lead, teachers
from bertkd_fairseq.analysis.inspect.agreement import COLUMNS, agreement_rows
from bertkd_fairseq.analysis.inspect.calibration import Reliability
from bertkd_fairseq.analysis.inspect.run import Inspection, TokenEntries
from bertkd_fairseq.analysis.inspect.statistics import (
    DrawStatistics,
    MassPercentile,
    SoftTarget,
    TopKStatistics,
)
from bertkd_fairseq.analysis.tables import aligned


def format_inspection(found: Inspection) -> str:
    """Return the sections, with an empty line between them."""
    return "\n\n".join("\n".join(lines) for lines in _sections(found))


def format_sentence(tokens: Sequence[TokenEntries]) -> str:
    """Return a line for each target token: gold symbol, the teacher's entries with probabilities, the rest."""
    width = max(len(token.gold) for token in tokens)
    lines = []
    for token in tokens:
        entries = "  ".join(f"{entry.symbol} {entry.probability:.3f}" for entry in token.entries)
        teacher = entries or "no teacher"
        lines.append(f"{token.gold:<{width}} | {teacher} | rest {token.rest:.3f}")
    return "\n".join(lines)


def _sections(found: Inspection) -> Iterator[list[str]]:
    store = found.store
    facts = [
        ("signature", store.signature),
        ("sentences", f"{store.sentences:,}"),
        ("tokens", f"{store.tokens:,}"),
        ("bytes a token", f"{store.bytes_per_token:.2f}"),
    ]
    if found.verified:
        facts.append(("verified", "every byte"))
    yield ["Teacher store", *(f"{name:<14} {value}" for name, value in facts)]
    if isinstance(found.statistics, TopKStatistics):
        yield from _of_top_k(found.statistics, found.k)
    elif found.statistics is not None:
        yield from _of_draws(found.statistics)
    if found.teachers:
        yield ["Teachers", *aligned([teachers.COLUMNS, *teachers.teacher_rows(found.teachers)])]
    for name, student in found.students.items():
        yield [f"Student {name}", *aligned([COLUMNS, *agreement_rows(student.runs, found.k)])]
    leads = list(lead.lead_rows({name: each.runs for name, each in found.students.items()}))
    if leads:
        yield ["Predicted correctly, EOS apart", *aligned([lead.COLUMNS, *leads])]


def _of_top_k(statistics: TopKStatistics, k: int) -> Iterator[list[str]]:
    facts = [
        ("all target tokens, EOS included", f"{statistics.tokens:,}"),
        ("those without a teacher, left out below", f"{statistics.tokens_without_teacher:,}"),
        ("gold token is the teacher's first", f"{statistics.accuracy:.2f}%"),
        (f"gold token is in the top {k}", f"{statistics.gold_in_top_k:.2f}%"),
        ("EOS is the teacher's first where it is gold", f"{statistics.eos_accuracy:.2f}%"),
        (f"probability in the top {k}, mean", f"{statistics.mass_in_top_k:.2f}%"),
        *_perplexity(statistics),
    ]
    yield ["Against the gold tokens, EOS apart", *aligned(facts)]
    yield [
        "Rank of the gold token among the entries, EOS apart",
        *aligned(_ranks(statistics)),
    ]
    yield _percentiles(f"Probability in the top {k}", statistics.mass_percentiles)
    yield ["Soft target, EOS apart", *aligned(_softness(statistics.soft_targets))]
    yield [
        "Calibration of the prediction, EOS apart",
        *_reliability(statistics.calibration, statistics.accuracy),
    ]
    yield [
        "Calibration of the prediction, EOS alone",
        *_reliability(statistics.eos_calibration, statistics.eos_accuracy),
    ]


def _of_draws(statistics: DrawStatistics) -> Iterator[list[str]]:
    facts = [
        ("all target tokens, EOS included", f"{statistics.tokens:,}"),
        ("those without a teacher, left out below", f"{statistics.tokens_without_teacher:,}"),
        ("gold token is among the draws", f"{statistics.gold_among_draws:.2f}%"),
        ("probability of the drawn symbols, mean", f"{statistics.mass_of_drawn_symbols:.2f}%"),
        *_perplexity(statistics),
    ]
    yield ["Against the gold tokens, EOS apart", *aligned(facts)]
    yield _percentiles("Probability of the drawn symbols", statistics.mass_percentiles)


def _perplexity(statistics: TopKStatistics | DrawStatistics) -> Iterator[tuple[str, str]]:
    """Yield what a store of format 1 doesn't know."""
    if statistics.gold_perplexity is not None:
        yield "perplexity of the gold token", f"{statistics.gold_perplexity:.3f}"
    if statistics.gold_impossible:
        yield (
            "gold tokens without any probability, left out of it",
            f"{statistics.gold_impossible:,}",
        )


def _ranks(statistics: TopKStatistics) -> Iterator[tuple[str, ...]]:
    counts, bits = statistics.gold_rank_counts, statistics.gold_rank_bits
    yield "rank", "tokens", "share", *(["bits, mean"] if bits else [])
    names = [*map(str, range(1, len(counts))), "none of them"]
    for rank, (name, count) in enumerate(zip(names, counts, strict=True)):
        share = f"{100 * count / max(sum(counts), 1):.2f}%"
        mean = bits[rank] if bits else None
        yield name, f"{count:,}", share, *(["-" if mean is None else f"{mean:.2f}"] if bits else [])


def _percentiles(what: str, percentiles: Sequence[MassPercentile]) -> list[str]:
    table = [("share of the tokens", "probability up to")]
    table += [(f"{found.percentile}%", f"{found.mass:.1f}%") for found in percentiles]
    return [f"{what}, EOS apart", *aligned(table)]


def _softness(soft_targets: Sequence[SoftTarget]) -> Iterator[tuple[str, ...]]:
    yield "temperature", "weight of the top 1", "entropy, nats"
    for soft in soft_targets:
        yield f"{soft.temperature:g}", f"{soft.top_1_weight:.3f}", f"{soft.entropy_nats:.3f}"


def _reliability(reliability: Reliability, accuracy: float) -> list[str]:
    """Return the diagram without its empty bins, and what it comes to; ``accuracy`` of all bins together."""
    width = 100 / len(reliability.bins)
    table = [("confidence", "tokens", "mean confidence", "accuracy")]
    for index, part in enumerate(reliability.bins):
        if part.confidence is not None and part.accuracy is not None:
            edges = f"{index * width:.1f} to {(index + 1) * width:.1f}%"
            means = f"{part.confidence:.2f}%", f"{part.accuracy:.2f}%"
            table.append((edges, f"{part.tokens:,}", *means))
    tokens = sum(part.tokens for part in reliability.bins)
    table.append(("all", f"{tokens:,}", f"{reliability.mean_confidence:.2f}%", f"{accuracy:.2f}%"))
    error = reliability.expected_calibration_error
    return [*aligned(table), f"expected calibration error: {error:.2f} points"]
