"""ROUGE-1, -2 and -L beside sacreBLEU's metrics: F1 of every sentence by rouge-score, and their mean."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from bertkd_fairseq.errors import must_be

KINDS = ("rouge1", "rouge2", "rougeL")
"""Names of the metrics, as rouge-score has them."""


def rouge_problems(name: str, metric: str | None) -> list[str]:
    """Return a message if ``metric``, given for the setting ``name``, is ROUGE and its package isn't installed."""
    if metric != "rouge" or importlib.util.find_spec("rouge_score"):
        return []
    hint = "To have it: pip install rouge-score"
    return [must_be(name, "a metric that can be had here", metric, hint)]


class Rouge:
    """One of :data:`KINDS`, with the methods that sacreBLEU's metrics have.

    A sentence's statistics are its F1 in percent, and 1: summed over sentences, they give the mean.
    """

    def __init__(self, kind: str, reference: Sequence[str], tokenizer: Any = None) -> None:
        """Take the references.

        :param tokenizer: one of sacreBLEU's. None: rouge-score's, which knows the letters a-z and digits alone, and
            Porter's stemmer; so English summaries are scored (``ROUGE-1.5.5.pl -m``).
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
    """What rouge-score takes for a tokeniser."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def tokenize(self, text: str) -> list[str]:
        return self._tokenizer(text.lower()).split()
