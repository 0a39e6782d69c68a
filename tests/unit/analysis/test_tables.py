"""Columns of text, aligned."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.analysis.tables import aligned

CELL = st.text("abc1 ", min_size=0, max_size=6)


def test_first_column_to_the_left_others_to_the_right() -> None:
    assert aligned(iter([("name", "n"), ("a", "1,000"), ("longer", "2")])) == [
        "name        n",
        "a       1,000",
        "longer      2",
    ]


@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[CELL] * n), min_size=1, max_size=5))
)
def test_columns_can_be_cut_out_again(table: list[tuple[str, ...]]) -> None:
    lines = aligned(table)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for line, row in zip(lines, table, strict=True):
        assert len(line) == sum(widths) + 2 * (len(widths) - 1)
        start = 0
        for column, width in enumerate(widths):
            cell = line[start : start + width]
            assert cell == (row[0].ljust(width) if column == 0 else row[column].rjust(width))
            start += width + 2
