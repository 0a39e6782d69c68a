"""What the teacher reads."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.teacher_input import fit_source, fitted_lengths, input_length, pack_pairs

BOS, PAD, EOS = 0, 1, 2
sentence = st.lists(st.integers(3, 50), max_size=8).map(lambda ids: np.array([*ids, EOS]))


@given(pairs=st.lists(st.tuples(sentence, sentence), min_size=1, max_size=5), data=st.data())
def test_packing_follows_its_definition(pairs, data) -> None:
    masks = [
        np.array(data.draw(st.lists(st.booleans(), min_size=len(t), max_size=len(t))))
        for _, t in pairs
    ]
    packed = pack_pairs([s for s, _ in pairs], [t for _, t in pairs], masks, bos=BOS, pad=PAD)
    answers = []
    for row, ((source, target), mask) in enumerate(zip(pairs, masks, strict=True)):
        whole = [BOS, *source, *target]
        assert len(whole) == input_length(len(source), len(target))
        rest = packed.tokens.shape[1] - len(whole)
        assert packed.tokens[row].tolist() == whole + [PAD] * rest
        assert (
            packed.token_types[row].tolist()
            == [0] * (1 + len(source)) + [1] * len(target) + [0] * rest
        )
        assert (
            packed.masked[row].tolist()
            == [False] * (1 + len(source)) + mask.tolist() + [False] * rest
        )
        answers += target[mask].tolist()
    assert packed.gold.tolist() == answers


def test_sources_are_not_cut_where_that_is_not_wanted() -> None:
    source = np.array([5, 6, 7, EOS])
    assert fit_source(source, 3, 7, cut_sources=False) is None
    assert fit_source(source, 3, 8, cut_sources=False) is source


@given(source=sentence, target_length=st.integers(1, 20), max_positions=st.integers(3, 30))
def test_a_fitted_source_is_a_prefix_with_its_eos(
    source, target_length: int, max_positions: int
) -> None:
    fitted = fit_source(source, target_length, max_positions)
    room = max_positions - 1 - target_length
    if fitted is None:
        assert room < 2
        return
    assert input_length(len(fitted), target_length) <= max_positions
    assert fitted[-1] == EOS
    assert fitted[:-1].tolist() == source[: len(fitted) - 1].tolist()
    # Nothing is cut without need.
    assert len(fitted) == min(len(source), room)


@given(
    lengths=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=8),
    max_positions=st.integers(3, 24),
    cut=st.booleans(),
)
def test_fitted_lengths_say_what_fit_source_does(lengths, max_positions: int, cut: bool) -> None:
    sources = [np.array([*[5] * (source - 1), EOS]) for source, _ in lengths]
    fitted = fitted_lengths(*np.array(lengths).T, max_positions, cut_sources=cut)
    for row, (source, (_, target_length)) in enumerate(zip(sources, lengths, strict=True)):
        kept = fit_source(source, target_length, max_positions, cut_sources=cut)
        assert fitted.no_room[row] == (kept is None)
        assert fitted.source_cut[row] == (kept is not None and len(kept) < len(source))
        read = source if kept is None else kept
        assert fitted.positions[row] == input_length(len(read), target_length)
