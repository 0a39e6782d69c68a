"""Compute sacreBLEU of hypotheses chosen from n-best lists, as ``bertkd compare`` would score them."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np

from bertkd_fairseq.analysis.compare.target import target_of
from bertkd_fairseq.analysis.compare.translations import both_forms
from bertkd_fairseq.errors import DataError, raise_all
from bertkd_fairseq.rescore.nbest import NBest
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.lines import read_lines


class ListBLEU:
    """BLEU's statistics of every hypothesis. A call adds up those of the chosen hypotheses."""

    def __init__(self, nbest: NBest, data_bin: DataBin, split: str) -> None:
        """Compute the statistics against the reference of ``split`` in the data-bin.

        :raises DataError: if the data-bin has no reference for these sentences.
        """
        from sacrebleu.metrics import BLEU

        lang = data_bin.target_lang
        self.reference = read_lines(data_bin.reference(split, lang))
        raise_all(nbest.sentence_problems(len(self.reference)), DataError)
        target = target_of(lang, None, data_bin.was_tokenized)
        self.metric = BLEU(
            lowercase=data_bin.lowercase,
            tokenize=target.tokenizer,
            references=[[self.reference[one.number] for one in nbest.sentences]],
        )
        columns = zip_longest(*_texts(nbest, data_bin), fillvalue="")
        statistics = [self.metric._extract_corpus_statistics(list(c), None) for c in columns]
        self._statistics = np.array(statistics)  # (longest list, sentences, width)

    def __call__(self, chosen: np.ndarray) -> float:
        """Return BLEU of one hypothesis for each sentence; ``chosen`` (sentences,) are their places in the lists."""
        rows = self._statistics[chosen, np.arange(len(chosen))]
        return float(self.metric._compute_score_from_stats(rows.sum(0)).score)

    @property
    def signature(self) -> str:
        """The signature of the score, as sacrebleu prints it."""
        return str(self.metric.get_signature())


def _texts(nbest: NBest, data_bin: DataBin) -> list[list[str]]:
    """Return the raw text of every hypothesis, as a list for each sentence."""
    moses = data_bin.words(data_bin.target_lang)
    generated = [each.symbols for each in nbest]
    decoded = [each.decoded for each in nbest if each.decoded is not None]
    text, _ = both_forms(
        generated,
        decoded if len(decoded) == len(generated) else generated,
        lambda lines: [moses.tokenize(line) for line in lines],
        lambda lines: [moses.detokenize(line) for line in lines],
    )
    ends = np.cumsum(nbest.sizes).tolist()
    return [text[end - size : end] for end, size in zip(ends, nbest.sizes.tolist(), strict=True)]
