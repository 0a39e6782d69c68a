"""A translation model of Hugging Face as teacher, for a data-bin that was cut by the model's own SentencePiece."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bertkd_fairseq.dump.teachers import SIDES, LimitedBySide, Pair, SideLimits, autocast
from bertkd_fairseq.errors import ConfigurationError, DataError, must_be, raise_all
from bertkd_fairseq.files import hash_files
from bertkd_fairseq.hub import loading_problem
from bertkd_fairseq.vocabulary import MOST_UNMATCHED, is_padding

CONFIG_FILE = "config.json"
MULTILINGUAL = ("m2m_100", "mbart")
FAMILIES = ("marian", *MULTILINGUAL)
"""The ``model_type`` of each family; NLLB has ``m2m_100``."""
NONE = -1
_FILES = "config.json, weights and tokenizer"


@dataclass(frozen=True)
class Framed:
    """How the symbols of one side become the model's input.

    ``ids`` (V,): the model's id of each symbol, or ``NONE``. ``prefix`` and ``suffix``: the ids around a sentence; the
    suffix begins with EOS. ``unk``: the id for symbols without one.
    """

    ids: np.ndarray
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    unk: int

    @property
    def added(self) -> int:
        """How many tokens longer a sentence becomes in the model; both lengths include EOS."""
        return len(self.prefix) + len(self.suffix) - 1

    def sentence(self, symbols: np.ndarray) -> list[int]:
        """Return the model's ids for a sentence of fairseq ids (L,), whose last is EOS."""
        ids = self.ids[symbols[:-1]]
        return [*self.prefix, *np.where(ids == NONE, self.unk, ids).tolist(), *self.suffix]


class EncoderDecoderTeacher(LimitedBySide):
    """A Marian, M2M-100, NLLB or mBART. Its probabilities are renormalised over the dictionary's symbols."""

    def __init__(
        self,
        folder: str,
        dictionaries: tuple[Any, Any],
        languages: tuple[str | None, str | None],
        names: tuple[str, str, str],
    ) -> None:
        """Load it from safetensors, or with ``weights_only``. Code in the folder is never run.

        :param dictionaries: fairseq's dictionaries of source and target.
        :param languages: of source and target, by their names in the model's tokenizer.
        :param names: names in messages of the settings for the path and for both languages.
        :raises BertKDError: if it can't be loaded, or if its vocabulary doesn't suit the dictionaries.
        """
        self.folder, self.languages = folder, languages
        config = read_config(folder, names[0])
        self.family = config["model_type"]
        self.config_arch = str((config.get("architectures") or [self.family])[0])
        tokenizer = self._load(names[0], _load_tokenizer)
        raise_all(_language_problems(tokenizer, self.family, languages, names[1:]))
        self.source, self.target = _frames(tokenizer, self.family, languages, dictionaries)
        raise_all(self._symbol_problems(dictionaries), DataError)
        self.model = self._load(names[0], _load_model)
        longest = self.model.config.max_position_embeddings
        self.limits = SideLimits(longest - self.source.added, longest - self.target.added)
        self._columns = torch.from_numpy(np.flatnonzero(self.can_predict))

    def _load(self, name: str, load: Any) -> Any:
        try:
            return load(self.folder)
        except ImportError as error:
            raise ConfigurationError(
                f"the teacher {self.folder} needs a package that isn't installed here: "
                f"{str(error).strip().partition('. ')[0]}. For Marian and M2M-100, run `pip install sentencepiece`."
            ) from error
        except Exception as error:  # with a damaged or foreign file, the loaders may raise anything
            raise ConfigurationError(loading_problem(name, self.folder, _FILES, error)) from error

    def _symbol_problems(self, dictionaries: tuple[Any, Any]) -> list[str]:
        problems = []
        sides = zip(SIDES, dictionaries, (self.source, self.target), strict=True)
        for side, dictionary, framed in sides:
            words = [
                number
                for number in range(dictionary.nspecial, len(dictionary))
                if not is_padding(dictionary.symbols[number])
            ]
            unmatched = [dictionary.symbols[n] for n in words if framed.ids[n] == NONE]
            if len(unmatched) > MOST_UNMATCHED * len(words):
                problems.append(
                    f"At least two thirds of the symbols of the {side} dictionary must be pieces of {self.folder}, but "
                    f"{len(unmatched)} of {len(words)} aren't (such as {', '.join(unmatched[:3])}). "
                    "Make the data-bin with the SentencePiece model of this teacher."
                )
        return problems

    @property
    def facts(self) -> dict[str, Any]:
        """As :attr:`Teacher.facts`."""
        return {
            "kind": "encoder-decoder",
            "sha256": hash_files(_model_files(Path(self.folder))),
            "arch": self.config_arch,
            "languages": [*self.languages] if self.family in MULTILINGUAL else [],
            "unmatched": int((self.target.ids == NONE).sum()),
            "max_positions": [self.limits.source, self.limits.target],
        }

    @property
    def can_predict(self) -> np.ndarray:
        """As :attr:`Teacher.can_predict`. These are the symbols that are pieces of the model."""
        return self.target.ids != NONE

    def prepare(self, device: torch.device, precision: str, max_tokens: int) -> None:
        """As :meth:`Teacher.prepare`."""
        self.model.float().to(device).eval()
        self._device, self._precision = device, precision
        # Keep the rows of the output layer for the dictionary's symbols: a tenth or less of a multilingual model's.
        self._columns = self._columns.to(device)
        pieces = torch.from_numpy(self.target.ids).to(device)[self._columns]
        self._weight = self.model.lm_head.weight[pieces].detach()  # (matched, H)
        bias = getattr(self.model, "final_logits_bias", None)  # (1, pieces)
        self._bias = None if bias is None else bias[0, pieces]

    def log_probs(self, pairs: Sequence[Pair]) -> Tensor:
        """As :meth:`Teacher.log_probs`."""
        sources = [self.source.sentence(self.limits.cut(pair.source)) for pair in pairs]
        labels = [self.target.sentence(pair.target) for pair in pairs]
        tokens, attended = self._padded(sources)
        decoded, _ = self._padded([self._shifted(label) for label in labels])
        with autocast(self._device, self._precision):
            hidden = self.model.model(
                input_ids=tokens, attention_mask=attended, decoder_input_ids=decoded
            ).last_hidden_state  # (N, T, H)
        first = len(self.target.prefix)
        asked = torch.cat(
            [hidden[n, first : first + len(pair.target)] for n, pair in enumerate(pairs)]
        )
        logits = functional.linear(asked.float(), self._weight, self._bias)  # (rows, matched)
        rows = logits.new_full((len(logits), len(self.target.ids)), -torch.inf)
        rows[:, self._columns] = logits.log_softmax(1)
        return rows

    def _shifted(self, label: list[int]) -> list[int]:
        """Return what the decoder reads to predict ``label``. In mBART it begins with the last token, a language."""
        start = label[-1] if self.family == "mbart" else self.model.config.decoder_start_token_id
        return [start, *label[:-1]]

    def _padded(self, sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        longest = max(map(len, sentences))
        padding = self.model.config.pad_token_id
        tokens = [[*ids, *[padding] * (longest - len(ids))] for ids in sentences]
        attended = [[1] * len(ids) + [0] * (longest - len(ids)) for ids in sentences]
        return torch.tensor(tokens, device=self._device), torch.tensor(
            attended, device=self._device
        )


def read_config(folder: str, name: str) -> dict[str, Any]:
    """Return the configuration of the model in ``folder``; ``name`` is the name of the path's setting in messages.

    :raises ConfigurationError: if the folder has no encoder-decoder of a known family.
    """
    try:
        config = json.loads((Path(folder) / CONFIG_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        seen = f"{folder}, whose {CONFIG_FILE} can't be read ({_reason(error)}),"
        wanted = f"checkpoints, or folders with {_FILES} of an encoder-decoder"
        raise ConfigurationError(must_be(name, wanted, seen)) from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in FAMILIES or config.get("is_encoder_decoder") is False:
        wanted = f"folders of encoder-decoders ({', '.join(FAMILIES)})"
        seen = f"{folder}, whose model_type is {kind or 'missing'},"
        raise ConfigurationError(must_be(name, wanted, seen))
    return config


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _load_tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _load_model(folder: str) -> Any:
    from transformers import AutoModelForSeq2SeqLM

    model, loaded = AutoModelForSeq2SeqLM.from_pretrained(
        folder,
        local_files_only=True,
        trust_remote_code=False,
        weights_only=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if missing := loaded["missing_keys"]:
        raise ValueError(f"its weights lack {', '.join(sorted(missing)[:3])}")
    return model


def _language_problems(
    tokenizer: Any,
    family: str,
    languages: tuple[str | None, str | None],
    names: Sequence[str],
) -> list[str]:
    problems = []
    if family in MULTILINGUAL:
        known = _languages_of(tokenizer)
        some = ", ".join(known[:3])
        for name, language in zip(names, languages, strict=True):
            if language not in known:
                wanted = f"a language of the teacher, such as {some}"
                problems.append(must_be(name, wanted, language or "missing"))
    return problems


def _languages_of(tokenizer: Any) -> list[str]:
    """Return the languages that have a token, by their names in the tokenizer."""
    known = getattr(tokenizer, "lang_code_to_id", None)
    if known is None:
        vocabulary = tokenizer.get_vocab()
        known = {token: vocabulary.get(token) for token in tokenizer.extra_special_tokens}
    return sorted(
        name for name, number in known.items() if number not in (None, tokenizer.unk_token_id)
    )


def _frames(
    tokenizer: Any,
    family: str,
    languages: tuple[str | None, str | None],
    dictionaries: tuple[Any, Any],
) -> tuple[Framed, Framed]:
    """Return how source and target are framed, as the tokenizer itself would do it."""
    eos, unk = tokenizer.eos_token_id, tokenizer.unk_token_id
    vocabularies = [tokenizer.get_vocab()] * 2
    if getattr(tokenizer, "separate_vocabs", False):
        vocabularies[1] = tokenizer.target_encoder
    around: list[tuple[Sequence[int], Sequence[int]]] = [((), (eos,))] * 2
    if family in MULTILINGUAL:
        tokenizer.set_src_lang_special_tokens(languages[0])
        source = (tokenizer.prefix_tokens, tokenizer.suffix_tokens)
        tokenizer.set_tgt_lang_special_tokens(languages[1])
        around = [source, (tokenizer.prefix_tokens, tokenizer.suffix_tokens)]
    source_frame, target_frame = (
        Framed(symbol_ids(dictionary, vocabulary, eos, unk), tuple(before), tuple(after), unk)
        for dictionary, vocabulary, (before, after) in zip(
            dictionaries, vocabularies, around, strict=True
        )
    )
    return source_frame, target_frame


def symbol_ids(dictionary: Any, vocabulary: Mapping[str, int], eos: int, unk: int) -> np.ndarray:
    """Return the model's id for the text of each symbol of fairseq's ``dictionary``, or ``NONE``: (V,) int64."""
    ids = np.array([vocabulary.get(symbol, NONE) for symbol in dictionary.symbols], dtype=np.int64)
    ids[[dictionary.bos(), dictionary.pad()]] = NONE  # these never occur in a target
    ids[dictionary.eos()], ids[dictionary.unk()] = eos, unk
    return ids


def _model_files(folder: Path) -> list[Path]:
    """Return all files that the model's predictions depend on."""
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    rest = [path for end in ("json", "model", "spm") for path in folder.glob(f"*.{end}")]
    return [*sorted(rest), *weights]
