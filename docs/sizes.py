"""Write the table of docs/scaling.md: what a corpus takes on disk, and how long its dump lasts.

python docs/sizes.py            # write the table
python docs/sizes.py --check    # exit code 1 if the page has another
"""

from __future__ import annotations

import re
import sys
from math import prod
from pathlib import Path

from current import write_or_check

from bertkd_fairseq.topk_store.layout import store_layout

PAGE = Path(__file__).resolve().parent / "scaling.md"
_TABLE = re.compile(r"(?<=<!-- table: sizes -->\n).*?(?=<!-- end of table -->)", re.DOTALL)

CORPORA = {"IWSLT14 De-En": 160_000, "WMT14 En-De": 4_500_000, "a crawl": 1_000_000_000}
TOKENS_A_PAIR = 25
"""Target tokens of a pair, EOS included, as news have about; captions have 15."""
SYMBOLS, K = 40_000, 8
MEASURED = 933
"""Tokens a second of the dump on both cores of a small CPU, BERT of 6 layers and 384 units, bfloat16 (docs/dump.md)."""
ASSUMED = 20_000
"""Tokens a second of one GPU, assumed and not measured."""
SHARES = 8


def store_bytes(pairs: int, tokens: int, k: int = K, symbols: int = SYMBOLS) -> int:
    """Return what the arrays of a store take, without their headers of 128 bytes, the dictionary and ``meta.json``."""
    layout = store_layout(tokens, pairs, k, symbols).values()
    return sum(prod(shape) * dtype.itemsize for shape, dtype in layout)


def dump_seconds(tokens: int, tokens_per_second: float, processes: int = 1) -> float:
    """Return how long a dump takes; processes share no work, so it falls with their number."""
    return tokens / (tokens_per_second * processes)


def table() -> str:
    """Return the table of docs/scaling.md."""
    head = ["corpus", "pairs", "target tokens", "store"]
    head += [f"at {MEASURED} tokens/s", f"at {ASSUMED:,} tokens/s", f"{SHARES} such processes"]
    lines = [head, ["---"] * len(head)]
    for name, pairs in CORPORA.items():
        tokens = pairs * TOKENS_A_PAIR
        times = [(MEASURED, 1), (ASSUMED, 1), (ASSUMED, SHARES)]
        spent = [_time(dump_seconds(tokens, rate, processes)) for rate, processes in times]
        lines.append(
            [name, _count(pairs), _count(tokens), _size(store_bytes(pairs, tokens)), *spent]
        )
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _count(number: int) -> str:
    for unit, name in ((10**9, "billion"), (10**6, "million")):
        if number >= unit:
            return f"{number / unit:g} {name}"
    return f"{number:,}"


def _size(number: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB")):
        if number >= unit:
            return f"{number / unit:.2f} {name}"
    return f"{number / 1e6:.0f} MB"


def _time(seconds: float) -> str:
    for unit, name in ((86400 * 365, "years"), (86400, "days"), (3600, "h")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds / 60:.1f} min"


def main(argv: list[str]) -> int:
    """Write or check the table; return the exit code."""
    after = _TABLE.sub(lambda _: table(), PAGE.read_text("utf-8"))
    return write_or_check(PAGE, after, argv, "has another table. Run: python docs/sizes.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
