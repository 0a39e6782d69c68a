"""Raw text in, raw text out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bertkd_fairseq.errors import DataError, must_be, raise_all
from bertkd_fairseq.progress import Progress
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.raw import RawText
from bertkd_fairseq.translation.config import CTRANSLATE2, ExportConfig, TranslateConfig
from bertkd_fairseq.translation.engines import CTranslate2Engine, Engine, FairseqEngine, Sentence


def translate(config: TranslateConfig, lines: Sequence[str]) -> list[str]:
    """Return the translation of each of ``lines``, raw text; of an empty line, an empty one.

    Which lines come together changes nothing but rounding: a batch holds sentences of one length.

    :raises ConfigurationError: with every setting that can't work.
    :raises DataError: for lines that are too long for the model.
    :raises BertKDError: if model or data-bin can't be read or don't fit each other.
    """
    raise_all(config.problems())
    data_bin = DataBin.open(config.data_bin or config.path)
    text = RawText(data_bin)
    with make_engine(config, data_bin) as engine:
        sentences = text.symbols(lines)
        raise_all(_too_long(sentences, engine.max_source), DataError)
        found = [""] * len(lines)
        with Progress("translating", sum(map(bool, sentences)), "lines") as progress:
            for batch in batches(sentences, config.max_tokens):
                translations = engine.translate([sentences[i] for i in batch])
                for i, symbols in zip(batch, translations, strict=True):
                    found[i] = text.text(symbols)
                progress.add(len(batch))
    return found


@contextmanager
def make_engine(config: TranslateConfig, data_bin: DataBin) -> Iterator[Engine]:
    """Give what ``config`` asks for; a checkpoint for CTranslate2 is exported to a folder that goes at the end.

    :raises BertKDError: if the model can't be read or doesn't fit ``data_bin``.
    """
    if config.chosen_engine != CTRANSLATE2:
        yield FairseqEngine(config, data_bin)
    elif config.path.is_dir():
        yield CTranslate2Engine(config, config.path, DataBin.open(config.path))
    else:
        from bertkd_fairseq.translation.export import export  # loads torch

        with tempfile.TemporaryDirectory() as room:
            folder = Path(room) / "export"
            export(ExportConfig(path=config.path, data_bin=data_bin.path, destdir=folder))
            yield CTranslate2Engine(config, folder, DataBin.open(folder))


def batches(sentences: Sequence[Sentence], max_tokens: int) -> Iterator[list[int]]:
    """Give the numbers of the sentences, longest first, in batches of one length; empty sentences are left out.

    :param max_tokens: symbols, EOS included, in a batch of several.
    """
    by_length: dict[int, list[int]] = {}
    for number, sentence in enumerate(sentences):
        by_length.setdefault(len(sentence), []).append(number)
    by_length.pop(0, None)
    for length in sorted(by_length, reverse=True):
        numbers, size = by_length[length], max(1, max_tokens // (length + 1))
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]


def _too_long(sentences: Sequence[Sentence], max_source: int) -> list[str]:
    wanted, hint = f"at most {max_source - 1} symbols", "Split it into sentences."
    return [
        must_be(f"line {number}", wanted, len(sentence), hint)
        for number, sentence in enumerate(sentences, 1)
        if len(sentence) >= max_source
    ]
