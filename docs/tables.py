"""Write the tables of README.md and docs/results.md from what `bertkd compare`, `inspect` and `curves` measured.

    python docs/tables.py            # replace every table
    python docs/tables.py --check    # exit code 1 if one of them isn't what its file says

A table stands between `<!-- table: FILE -->` and `<!-- end of table -->`, FILE as in docs/results: scores from the JSON
of `bertkd compare`, students from that of `bertkd inspect --student`, the rows or teachers of the ladder
(experiments.md), or a metric on valid from the CSV of `bertkd curves` (`<!-- table: FILE METRIC -->`).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bertkd_fairseq.analysis.inspect.agreement import COLUMNS, Agreement, TokenMeans, agreement_rows

Arms = dict[str, dict[int, dict[str, Any]]]
"""Rows of the ladder: of each arm, by seed."""

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs" / "results.md"]
TABLE = re.compile(
    r"(?P<head><!-- table: (?P<file>\S+)(?: (?P<metric>\w+))? -->\n).*?(?=<!-- end of table -->)",
    re.DOTALL,
)


def make_table(name: str, metric: str | None) -> str:
    """Return the table of a file in docs/results (of CSV, of one metric in it), as Markdown."""
    path = ROOT / "docs" / "results" / name
    text = path.read_text("utf-8")
    if metric:
        lines = on_valid(csv.DictReader(text.splitlines()), metric)
    else:
        record = json.loads(text)
        if "rows" in record:
            lines = ladder(record["rows"])
        elif "students" in record:
            lines = students(record)
        else:
            lines = teachers(record["teachers"]) if "teachers" in record else scores(record)
    return "".join(f"{line}\n" for line in lines)


def scores(record: dict[str, Any]) -> Iterator[str]:
    """Yield a row for every system: mean and spread over seeds, and the test against the first system."""
    columns = ["", "seeds", "sacreBLEU", "tokenised BLEU", "chrF", "length ratio"]
    columns += ["difference in sacreBLEU [95%]", "p, bootstrap", "p, randomisation"]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for system, score in record["scores"].items():
        bleu, against = score["bleu"], score["bleu"]["against_first"]
        cells = [system, str(len(bleu["runs"]))]
        cells += [_mean(score[metric]) for metric in ("bleu", "tokenized_bleu", "chrf")]
        cells.append(f"{bleu['length_ratio']:.3f}")
        if against:
            low, high = against["interval"]
            cells.append(f"{against['difference']:+.2f} [{low:+.2f}, {high:+.2f}]")
            cells += [_p(against["bootstrap_p"]), _p(against["randomization_p"])]
        else:
            cells += ["", "", ""]
        yield f"| {' | '.join(cells)} |"


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".removeprefix("0")


def _mean(score: dict[str, Any]) -> str:
    spread = score["spread"]
    return f"{score['score']:.2f}" + (f" ±{spread:.2f}" if spread is not None else "")


def students(record: dict[str, Any]) -> Iterator[str]:
    """Yield rows for every student: its tokens by what the teacher makes of them."""
    yield f"| student | {' | '.join(COLUMNS)} |"
    yield "|---" * (len(COLUMNS) + 1) + "|"
    k = len(record["statistics"]["gold_rank_counts"]) - 1
    for name, student in record["students"].items():
        runs = [
            Agreement(**{group: TokenMeans(**means) for group, means in run.items()})
            for run in student["runs"]
        ]
        for row in agreement_rows(runs, k):
            yield f"| {name} | {' | '.join(row)} |"


def on_valid(rows: Iterable[dict[str, str]], metric: str) -> Iterator[str]:
    """Yield a row for every run: a metric on valid after so many updates, its best in bold."""
    runs: dict[str, dict[int, float]] = {}
    for row in rows:
        if (row["split"], row["metric"]) == ("valid", metric):
            runs.setdefault(row["run"], {})[int(row["update"])] = float(row["value"])
    columns = sorted({updates for values in runs.values() for updates in values})
    yield f"| updates | {' | '.join(f'{updates:,}' for updates in columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for run, values in runs.items():
        best = (max if metric == "bleu" else min)(values.values())
        cells = [_cell(values.get(updates), best) for updates in columns]
        yield f"| {run} | {' | '.join(cells)} |"


def _cell(value: float | None, best: float) -> str:
    if value is None:
        return ""
    return f"**{value:.2f}**" if value == best else f"{value:.2f}"


def ladder(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a row for every arm: means over seeds, and the differences to another arm with the same seeds."""
    columns = ["arm", "seeds", "updates", "nll on valid", "BLEU on valid", "against"]
    columns += ["seeds of both", "nll", "p", "BLEU", "p", "minutes", "BLEU on test"]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    arms = by_arm(rows)
    for name, runs in arms.items():
        first = next(iter(runs.values()))
        both = len(gaps(arms, name, "seed"))
        cells = [name, str(len(runs)), f"{first['updates']:,}"]
        cells += [_over_seeds(runs, "valid_nll", 3), _over_seeds(runs, "valid_bleu", 2)]
        cells += [first["against"], str(both)] if both else ["", ""]
        for key, digits in (("valid_nll", 3), ("valid_bleu", 2)):
            found = gaps(arms, name, key)
            cells += [f"{fmean(found):+.{digits}f}" if found else "", _p(over_seeds_p(found))]
        cells += [f"{fmean(run['seconds'] for run in runs.values()) / 60:.0f}"]
        yield f"| {' | '.join([*cells, _over_seeds(runs, 'test_bleu', 2)])} |"
    if rows:
        yield ""
        machines = {f"{row['cpu']}, {row['threads']} thread(s), {row['precision']}" for row in rows}
        yield f"`{'`, `'.join(sorted({row['signature'] for row in rows}))}`; {'; '.join(sorted(machines))}."


def by_arm(rows: list[dict[str, Any]]) -> Arms:
    """Return the rows of the ladder by arm and seed."""
    arms: Arms = {}
    for row in rows:
        arms.setdefault(row["arm"], {})[row["seed"]] = row
    return arms


def gaps(arms: Arms, name: str, key: str) -> list[float]:
    """Return the differences of an arm to the one that it is compared with, for each seed that both have ``key`` of."""
    pairs = [(run, arms.get(run["against"], {}).get(seed, {})) for seed, run in arms[name].items()]
    return [
        run[key] - other[key]
        for run, other in pairs
        if run["against"] != name and key in run and key in other
    ]


def teachers(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a row for every teacher of the ladder: how good it is on the training text and on valid."""
    columns = ["corpus", "teacher", "split", "gold is the first", "gold is in the top K"]
    columns += ["perplexity of gold", "calibration error"]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        for split in ("train", "valid"):
            found = row[split]
            cells = [row["corpus"], row["teacher"], split, f"{found['accuracy']:.1f}%"]
            cells += [f"{found['gold_in_top_k']:.1f}%", f"{found['gold_perplexity']:.2f}"]
            yield f"| {' | '.join(cells)} | {found['calibration_error']:.1f} points |"


def _over_seeds(runs: dict[int, dict[str, Any]], key: str, digits: int) -> str:
    values = [run[key] for run in runs.values() if key in run]
    if not values:
        return ""
    return f"{fmean(values):.{digits}f}" + (
        f" ±{stdev(values):.{digits}f}" if len(values) > 1 else ""
    )


def over_seeds_p(gaps: Sequence[float]) -> float | None:
    """Return p of the paired t test over seeds, two-sided; None of a single seed, or where all differ alike."""
    if len(gaps) < 2 or stdev(gaps) == 0:
        return None
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(gaps, 0).pvalue)


def table_names(page: str) -> list[str]:
    """Return the files whose tables stand on a page."""
    return [found["file"] for found in TABLE.finditer(page)]


def with_tables(page: str) -> str:
    """Return a page with all its tables made anew."""
    return TABLE.sub(lambda found: found["head"] + make_table(found["file"], found["metric"]), page)


def main() -> int:
    """Replace the tables or, with ``--check``, say which pages are behind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing")
    args = parser.parse_args()
    code = 0
    for path in PAGES:
        before = path.read_text("utf-8")
        after = with_tables(before)
        if after == before:
            continue
        if args.check:
            name = path.relative_to(ROOT)
            print(f"{name} is behind its tables. Run `python docs/tables.py`.", file=sys.stderr)
            code = 1
        else:
            path.write_text(after, "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
