"""Score ROUGE-1, ROUGE-2 and ROUGE-L like sacreBLEU's metrics: the mean of every sentence's F1 by rouge-score."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from bertkd_fairseq.errors import must_be

KINDS = ("rouge1", "rouge2", "rougeL")
"""Names of the metrics in rouge-score."""


def rouge_problems(name: str, metric: str | None) -> list[str]:
    """Return a message if ``metric``, given for the setting ``name``, is ROUGE and its package isn't installed."""
    if metric != "rouge" or importlib.util.find_spec("rouge_score"):
        return []
    hint = "Install its package: pip install rouge-score"
    return [must_be(name, "a metric whose package is installed", metric, hint)]


class Rouge:
    """One of :data:`KINDS`, with the methods that sacreBLEU's metrics have.

    The statistics of a sentence are its F1 in percent and the number 1. Their sums over sentences give the mean.
    """

    def __init__(self, kind: str, reference: Sequence[str], tokenizer: Any = None) -> None:
        """Score against the sentences of ``reference``.

        :param tokenizer: a tokeniser of sacreBLEU. If None, English is scored as usual for summaries
            (``ROUGE-1.5.5.pl -m``): rouge-score's tokeniser keeps only the letters a-z and digits, and words are
            stemmed by Porter's stemmer.
        """
        from rouge_score.rouge_scorer import RougeScorer

        self._kind, self._reference = kind, reference
        cut = _Tokenizer(tokenizer) if tokenizer else None
        self._scorer = RougeScorer([kind], use_stemmer=not tokenizer, tokenizer=cut)
        self._words = (
            f"tok:{tokenizer.signature()}|stem:no" if tokenizer else "tok:rouge|stem:porter"
        )

    def get_signature(self) -> str:
        """Return what the score depends on, in the form of sacreBLEU's signatures."""
        return f"nrefs:1|case:lc|{self._words}|mean:sentences|version:{version('rouge-score')}"

    def _extract_corpus_statistics(
        self, run: Sequence[str], references: None
    ) -> list[tuple[float, float]]:
        pairs = zip(self._reference, run, strict=True)
        return [(100 * self._scorer.score(*pair)[self._kind].fmeasure, 1.0) for pair in pairs]

    def _compute_score_from_stats(self, sums: Any) -> Any:
        from sacrebleu.metrics.base import Score

        return Score(self._kind, float(sums[0] / sums[1]))


class _Tokenizer:
    """A tokeniser of sacreBLEU in the form that rouge-score expects."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def tokenize(self, text: str) -> list[str]:
        return self._tokenizer(text.lower()).split()
