"""Measure how like its reference a hypothesis is: sacreBLEU's chrF or BLEU of the sentence."""

from __future__ import annotations

from bertkd_fairseq.analysis.compare.target import target_of
from bertkd_fairseq.selection.config import BLEU
from bertkd_fairseq.selection.sentences import Ids, Side


class Likeness:
    """The metric for one language. It compares words as the data-bin has them, lowercased and tokenised."""

    def __init__(self, metric: str, side: Side, tokenized: bool) -> None:
        """Make the metric. ``tokenized``: the text had spaces between its words already, whatever the language."""
        from sacrebleu.metrics import BLEU as SentenceBLEU
        from sacrebleu.metrics import CHRF

        self._side = side
        self._metric = CHRF()
        if metric == BLEU:
            tokenizer = target_of(side.lang, None, tokenized).tokenizer
            self._metric = SentenceBLEU(effective_order=True, tokenize=tokenizer)

    def __call__(self, hypothesis: Ids, reference: Ids) -> float:
        """Return the score of a hypothesis against its reference, from 0 to 100."""
        words = self._side.words
        return float(self._metric.sentence_score(words(hypothesis), [words(reference)]).score)

    @property
    def signature(self) -> str:
        """sacreBLEU's signature: what the score depends on. Ask for it only after the first score was computed."""
        return str(self._metric.get_signature())
