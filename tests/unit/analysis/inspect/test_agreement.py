"""What students make of the teacher's tokens, against a count token by token."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.analysis.inspect.agreement import (
    Agreement,
    Predictions,
    StudentAgreement,
    TokenMeans,
    agreement_rows,
)
from bertkd_fairseq.topk_store.rows import TopKRows

EOS, K, SYMBOLS = 2, 3, 12


def naive(rows: TopKRows, gold: np.ndarray, predictions: Predictions) -> dict[str, list[dict]]:
    """Sort the tokens one at a time."""
    groups: dict[str, list[dict]] = {}
    for i, token in enumerate(gold.tolist()):
        if all(math.isinf(value) for value in rows.logprobs[i]):
            continue
        ids = rows.ids[i].tolist()
        if token == EOS:
            group = "eos"
        elif token == ids[0]:
            group = "first"
        elif token in ids:
            group = "later"
        else:
            group = "outside"
        fact = {
            "accuracy": 100 if predictions.prediction[i] == token else 0,
            "teachers_first": 100 if predictions.prediction[i] == ids[0] else 0,
            "confidence": 100 * float(predictions.confidence[i]),
            "nll_bits": -float(predictions.gold_logprob[i]) / math.log(2),
        }
        for name in (group, "all"):
            groups.setdefault(name, []).append(fact)
    return groups


@st.composite
def tokens(draw: st.DrawFn) -> tuple[TopKRows, np.ndarray, Predictions]:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 40))
    ids = np.stack([random.permutation(SYMBOLS)[:K] for _ in range(n)])
    logprobs = np.sort(np.log(random.uniform(0.01, 0.3, (n, K))))[:, ::-1].astype(np.float16)
    logprobs[random.uniform(size=n) < 0.2] = -np.inf
    rows = TopKRows(ids, logprobs, np.zeros(n, np.float16))
    gold = random.integers(0, SYMBOLS, n)
    predictions = Predictions(
        prediction=random.integers(0, SYMBOLS, n),
        confidence=random.uniform(size=n).astype(np.float32),
        gold_logprob=np.log(random.uniform(0.01, 1, n)).astype(np.float32),
    )
    return rows, gold, predictions


@given(tokens(), st.integers(0, 40))
def test_every_mean_is_that_of_the_tokens_one_by_one(
    case: tuple[TopKRows, np.ndarray, Predictions], cut: int
) -> None:
    rows, gold, predictions = case
    agreement = StudentAgreement()
    for part in (slice(0, cut), slice(cut, None)):  # what is added in parts is added up
        agreement.add(
            TopKRows(rows.ids[part], rows.logprobs[part], rows.log_tail[part]),
            gold[part],
            EOS,
            predictions[part],
        )
    wanted = naive(rows, gold, predictions)
    summary = asdict(agreement.summary())
    assert list(summary) == ["first", "later", "outside", "eos", "all"]
    for group, numbers in summary.items():
        facts = wanted.get(group, [])
        assert numbers["tokens"] == len(facts)
        for name in ("accuracy", "teachers_first", "confidence", "nll_bits"):
            if facts:
                mean = sum(fact[name] for fact in facts) / len(facts)
                np.testing.assert_allclose(numbers[name], mean, rtol=1e-12, atol=1e-12)
            else:
                assert numbers[name] is None


def test_the_table() -> None:
    plain = Agreement(
        first=TokenMeans(750, 83.84, 83.84, 79.6, 1.021),
        later=TokenMeans(150, 23.2, 50, 59.2, 4.836),
        outside=TokenMeans(0, None, None, None, None),
        eos=TokenMeans(100, 95.5, 97, 94.8, 0.278),
        all=TokenMeans(1000, 71.36, 75.5, 75.6, 12.237),
    )
    assert list(agreement_rows([plain], k=8)) == [
        ("the teacher's first", "75.0%", "83.8%", "83.8%", "79.6%", "1.02"),
        ("another of its top 8", "15.0%", "23.2%", "50.0%", "59.2%", "4.84"),
        ("none of these", "0.0%", "-", "-", "-", "-"),
        ("EOS", "10.0%", "95.5%", "97.0%", "94.8%", "0.28"),
        ("all", "100.0%", "71.4%", "75.5%", "75.6%", "12.24"),
    ]


def test_seeds_have_their_spread() -> None:
    numbers = TokenMeans(750, 83.84, 83.84, 79.6, 1.021)
    nothing = TokenMeans(0, None, None, None, None)
    one = Agreement(numbers, nothing, nothing, nothing, numbers)
    other = Agreement(
        TokenMeans(750, 84.84, 84.84, 79.4, 1.041), nothing, nothing, nothing, numbers
    )
    rows = list(agreement_rows([one, other], k=8))
    assert rows[0][1:] == ("100.0%", "84.3 ±0.7%", "84.3 ±0.7%", "79.5 ±0.1%", "1.03 ±0.01")
    assert rows[-1][1:] == ("100.0%", "83.8 ±0.0%", "83.8 ±0.0%", "79.6 ±0.0%", "1.02 ±0.00")
