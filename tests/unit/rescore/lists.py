"""N-best output made up for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st


class Said(NamedTuple):
    """A hypothesis: symbols, its positional scores in base 2 with EOS's, and D- text if there is any."""

    symbols: Sequence[str]
    positional: Sequence[float]
    decoded: str | None = None


def output(lists: dict[int, Sequence[Said]], further: bool = False) -> list[str]:
    """Return the lines that fairseq-generate prints, between those of its log."""
    lines = ["2026-01-01 00:00:00 | INFO | fairseq_cli.generate | loading model(s) from x"]
    for number, hypotheses in lists.items():
        lines += [f"S-{number}\tquelle {number}", f"T-{number}\ttarget {number}"]
        for said in hypotheses:
            score = sum(said.positional) / len(said.positional)
            lines.append(f"H-{number}\t{score}\t{' '.join(said.symbols)}")
            if said.decoded is not None:
                lines.append(f"D-{number}\t{score}\t{said.decoded}")
            lines.append(f"P-{number}\t{' '.join(f'{x:.4f}' for x in said.positional)}")
            if further:
                lines += [f"A-{number}\t0-0 1-1", f"I-{number}\t3", f"E-{number}_0\tx y"]
    return [*lines, "Generate test with beam=4: BLEU4 = 1.00"]


@st.composite
def said(draw: st.DrawFn) -> Said:
    """Any hypothesis, an empty one too."""
    symbols = draw(st.lists(st.sampled_from(["a", "b", "￭c", "\u2028d", "<unk>"]), max_size=5))
    numbers = st.integers(-200_000, 0).map(lambda n: n / 10_000)
    size = len(symbols) + 1
    return Said(symbols, draw(st.lists(numbers, min_size=size, max_size=size)), " ".join(symbols))


def nbest_lists() -> st.SearchStrategy[dict[int, list[Said]]]:
    """Lists of one to four hypotheses for the sentences 0, 1, ... in any order, one list of two at least."""

    def in_some_order(lists: list[list[Said]]) -> st.SearchStrategy[dict[int, list[Said]]]:
        return st.permutations(list(enumerate(lists))).map(dict)

    one = st.lists(said(), min_size=1, max_size=4)
    several = st.lists(said(), min_size=2, max_size=4)
    return st.tuples(several, st.lists(one, max_size=4)).flatmap(
        lambda drawn: in_some_order([drawn[0], *drawn[1]])
    )
