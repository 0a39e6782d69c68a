"""What translates batches of symbols: thin adapters of fairseq and of CTranslate2."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from bertkd_fairseq.errors import ConfigurationError, must_be, raise_all
from bertkd_fairseq.files import missing_students
from bertkd_fairseq.settings import named
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.translation.config import TranslateConfig
from bertkd_fairseq.translation.exported import KEY

Sentence = Sequence[str]
"""Symbols, without EOS."""


class Engine(Protocol):
    """A model and its search."""

    max_source: int
    """How many symbols a source has at most, with EOS."""

    def translate(self, sentences: Sequence[Sentence]) -> list[list[str]]:
        """Return the best translation of each of several sentences of one length."""


def load_student(path: Path, data_bin: DataBin, option: str) -> tuple[Any, Any]:
    """Return the model in a checkpoint, and its task on ``data_bin``.

    :param option: what messages call the setting that names the checkpoint.
    :raises BertKDError: if the file is refused, holds no student, or one of another direction.
    """
    # Importing the tasks prepares the process for fairseq, which importing this module must not.
    raise_all(missing_students([path]))
    from bertkd_fairseq.tasks.checkpoint import load_left_to_right

    model, task = load_left_to_right(str(path), str(data_bin.path), option)
    trained = (task.cfg.source_lang, task.cfg.target_lang)
    langs = (data_bin.source_lang, data_bin.target_lang)
    if trained != langs:
        wanted = f"a model from {langs[0]} to {langs[1]} like the data-bin"
        seen = f"one from {trained[0]} to {trained[1]}, {path},"
        hint = "Name the data-bin that it was trained on."
        raise ConfigurationError(must_be(option, wanted, seen, hint))
    return model.eval(), task


class FairseqEngine:
    """A checkpoint, by fairseq's own search, with a GPU if there is one."""

    def __init__(self, config: TranslateConfig, data_bin: DataBin) -> None:
        """:raises BertKDError: as :func:`load_student`."""
        import torch

        if config.threads:
            torch.set_num_threads(config.threads)
        model, self._task = load_student(config.path, data_bin, named(config, "path"))
        model.make_generation_fast_(beamable_mm_beam_size=None, need_attn=False)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._models = [model.to(self._device)]
        self.max_source = int(model.max_positions()[0])
        names = ("beam", "lenpen", "max_len_a", "max_len_b")
        search = Namespace(**{name: getattr(config, name) for name in names})
        self._search = self._task.build_generator(self._models, search)

    def translate(self, sentences: Sequence[Sentence]) -> list[list[str]]:
        """Return the best translation of each of several sentences of one length."""
        import torch

        source, target = self._task.source_dictionary, self._task.target_dictionary
        ids = [[*map(source.index, sentence), source.eos()] for sentence in sentences]
        tokens = torch.tensor(ids, device=self._device)  # (N, S)
        lengths = torch.full((len(ids),), tokens.shape[1], device=self._device)
        sample = {"net_input": {"src_tokens": tokens, "src_lengths": lengths}}
        found = self._task.inference_step(self._search, self._models, sample)
        return [target.string(best["tokens"].int().cpu()).split() for best, *_ in found]


class CTranslate2Engine:
    """A folder of ``bertkd export``, with a GPU if there is one."""

    def __init__(self, config: TranslateConfig, folder: Path, data_bin: DataBin) -> None:
        """:raises BertKDError: if CTranslate2 isn't installed, or can't load the model."""
        module = import_ctranslate2()
        self._config = config
        positions = data_bin.settings[KEY]["max_positions"]
        self.max_source, self._max_target = positions["source"], positions["target"]
        try:
            self._model = module.Translator(
                str(folder), device="auto", intra_threads=config.threads
            )
        except (RuntimeError, ValueError) as error:
            hint = "Export it again with `bertkd export --force`."
            raise ConfigurationError(
                must_be(
                    named(config, "path"),
                    "a model that CTranslate2 loads",
                    f"{folder} ({error})",
                    hint,
                )
            ) from error

    def translate(self, sentences: Sequence[Sentence]) -> list[list[str]]:
        """Return the best translation of each of several sentences of one length."""
        config = self._config
        results = self._model.translate_batch(
            [list(sentence) for sentence in sentences],
            beam_size=config.beam,
            length_penalty=config.lenpen,
            max_input_length=0,
            max_decoding_length=config.longest(len(sentences[0]) + 1, self._max_target),
        )
        return [result.hypotheses[0] for result in results]


def import_ctranslate2() -> Any:
    """Return the module.

    :raises ConfigurationError: if it isn't installed.
    """
    try:
        import ctranslate2
    except ImportError as error:
        raise ConfigurationError(
            "CTranslate2 isn't installed. Install it: pip install 'bertkd-fairseq[export]'."
        ) from error
    return ctranslate2
