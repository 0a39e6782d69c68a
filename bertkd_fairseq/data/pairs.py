"""A split of a data-bin as fairseq's pairs of sentences, in data-bin order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fairseq.data import Dictionary
from fairseq.tasks.translation import load_langpair_dataset

from bertkd_fairseq.data.one_at_a_time import OneAtATime
from bertkd_fairseq.text.data_bin import LAZY, check_split, readable_format


def load_pairs(
    data_bin: str | Path,
    split: str,
    langs: tuple[str, str],
    dictionaries: tuple[Dictionary, Dictionary],
    *,
    left_pad_source: bool,
    combine: bool = False,
) -> Any:
    """Return the split as fairseq's ``LanguagePairDataset``, nothing cut or left out.

    :param langs: source and target language, as are ``dictionaries``.
    :param left_pad_source: pad sources on the left, as students expect it.
    :param combine: join a ``train1`` beside ``train``, as fairseq-train does.
    :raises DataError: if the split is missing or damaged.
    """
    check_split(data_bin, split, langs)
    (source_lang, target_lang), (source_dictionary, target_dictionary) = langs, dictionaries
    data_format = readable_format(data_bin, split, langs)
    pairs = load_langpair_dataset(
        str(data_bin),
        split,
        source_lang,
        source_dictionary,
        target_lang,
        target_dictionary,
        combine=combine,
        dataset_impl=data_format,
        upsample_primary=1,
        left_pad_source=left_pad_source,
        left_pad_target=False,
        max_source_positions=None,
        max_target_positions=None,
    )
    if data_format == LAZY:
        pairs.src, pairs.tgt = OneAtATime(pairs.src), OneAtATime(pairs.tgt)
    return pairs
