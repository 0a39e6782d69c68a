"""How like its reference a hypothesis is: chrF or BLEU of the one sentence, by sacreBLEU."""

from __future__ import annotations

from bertkd_fairseq.analysis.compare.target import target_of
from bertkd_fairseq.selection.config import BLEU
from bertkd_fairseq.selection.sentences import Ids, Side


class Likeness:
    """The metric for one language. Both sides are the data-bin's words, lowercased and tokenised as it has them."""

    def __init__(self, metric: str, side: Side, tokenized: bool) -> None:
        """Make it; ``tokenized``: the text came with spaces between its words, whatever the language."""
        from sacrebleu.metrics import BLEU as SentenceBLEU
        from sacrebleu.metrics import CHRF

        self._side = side
        self._metric = CHRF()
        if metric == BLEU:
            tokenizer = target_of(side.lang, None, tokenized).tokenizer
            self._metric = SentenceBLEU(effective_order=True, tokenize=tokenizer)

    def __call__(self, hypothesis: Ids, reference: Ids) -> float:
        """Return 0 to 100."""
        words = self._side.words
        return float(self._metric.sentence_score(words(hypothesis), [words(reference)]).score)

    @property
    def signature(self) -> str:
        """What the score depends on, as sacrebleu prints it; not before the first was counted."""
        return str(self._metric.get_signature())
