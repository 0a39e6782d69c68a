"""The picture of a store fits a screen, and nothing in it lies over another or is cut off."""

from __future__ import annotations

import numpy as np
import pytest

from bertkd_fairseq.analysis.figures import report_look
from bertkd_fairseq.analysis.inspect.plot import draw
from bertkd_fairseq.analysis.inspect.statistics import StoreStatistics
from bertkd_fairseq.topk_store.rows import TopKRows
from tests.unit.analysis.pictures import check_texts

EOS = 2
SIGNATURE = "bertkd-topk|fmt:2|k:8|masks:7|precision:bf16|teacher:cef48310|data:afdf1b9d|tokens:412707|version:0.1.0"


@pytest.mark.parametrize("k", [1, 8, 30])
def test_texts_keep_apart(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    n, symbols = 400, 40
    logits = generator.normal(size=(n, symbols)) * 3
    logprobs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    ids = np.argsort(-logprobs, axis=1)[:, :k]
    kept = np.take_along_axis(logprobs, ids, 1)
    gold = np.where(generator.random(n) < 0.6, ids[:, 0], generator.integers(2, symbols, size=n))
    gold_logprob = np.take_along_axis(logprobs, gold[:, None], 1)[:, 0]
    statistics = StoreStatistics()
    tail = np.log1p(-np.exp(kept).sum(1).clip(max=1 - 1e-9))
    statistics.add(TopKRows(ids, kept, tail, gold_logprob), gold, EOS)
    with report_look():
        figure = draw(statistics, SIGNATURE)
        texts = check_texts(figure, monkeypatch)
    assert max(figure.get_size_inches() * 150) <= 1500
    softest = statistics.soft_targets()[-1]
    assert f"{softest.top_1_weight:.2f}  weight of the top 1" in texts
    assert f"{softest.entropy_nats:.2f}  entropy (nats)" in texts
