"""The conditional masked language model: a pretrained BERT over the student's dictionary (paper, section 3.1)."""

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional, Protocol

import numpy as np
import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor, nn

from bertkd_fairseq.compat import hide_broken_torchaudio
from bertkd_fairseq.errors import ConfigurationError, DataError, must_be, outside, raise_all
from bertkd_fairseq.hub import announce, loading_problem, name_problems
from bertkd_fairseq.models.last_layer import last_layer_at
from bertkd_fairseq.vocabulary import (
    TeacherVocabulary,
    dictionary_hash,
    embedding_rows,
)

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

log = logging.getLogger(__name__)

ATTENTIONS = ("sdpa", "eager")


class TeacherTask(Protocol):
    """What the teacher asks of its task."""

    @property
    def target_dictionary(self) -> Any:
        """fairseq's dictionary of the symbols to predict."""

    @property
    def symbols_read(self) -> list[str]:
        """The symbols of both dictionaries, the target's first."""

    def teacher_vocabulary(self, bert_model: str, num_embeddings: int) -> TeacherVocabulary:
        """Return how the symbols map to the pieces of a pretrained model that has so many embeddings."""


@dataclass
class BertCMLMTeacherConfig(FairseqDataclass):
    """Options of ``--arch bert_cmlm_teacher``."""

    bert_model: Optional[str] = field(
        default=None,
        metadata={
            "help": "pretrained BERT to start from: folder or hub name, in Hugging Face form"
        },
    )
    dropout: Optional[float] = field(
        default=None, metadata={"help": "dropout of the BERT; its own configuration's if not given"}
    )
    attention: str = field(
        default="sdpa",
        metadata={"help": f"attention implementation of transformers: {' or '.join(ATTENTIONS)}"},
    )
    bert_config: Optional[str] = field(
        default=None,
        metadata={"help": "set by training: the BERT's configuration as JSON, for the checkpoint"},
    )
    dictionary_hash: Optional[str] = field(
        default=None,
        metadata={"help": "set by training: hash of the dictionary, for the checkpoint"},
    )


@register_model("bert_cmlm_teacher", dataclass=BertCMLMTeacherConfig)
class BertCMLMTeacher(BaseFairseqModel):
    """BERT that reads fairseq ids and predicts masked target tokens over the target dictionary of V symbols.

    It has an input embedding for each WordPiece in use (or for each symbol that it reads: see
    :mod:`~bertkd_fairseq.vocabulary`), and output weights for each symbol of the target dictionary. These start as a
    copy of the symbol's embedding, with zero bias, and are trained apart from it.
    """

    def __init__(
        self,
        bert: "BertForMaskedLM",
        num_symbols: int,
        dictionary_hash: str,
        num_read: int | None = None,
    ) -> None:
        super().__init__()
        self.bert = bert.bert
        layers = self.bert.encoder.layer
        # Split off: it runs at the masked positions only.
        self.last_layer = layers[-1]
        self.bert.encoder.layer = layers[:-1]
        self.transform = bert.cls.predictions.transform
        self.output_projection = nn.Linear(bert.config.hidden_size, num_symbols)
        self.dictionary_hash = dictionary_hash
        # "Row" means an embedding here; checkpoints hold these names.
        self.register_buffer("symbol_rows", torch.zeros(num_read or num_symbols, dtype=torch.long))
        self.register_buffer("never_predicted", torch.zeros(num_symbols, dtype=torch.bool))
        self.register_buffer("mask_row", torch.zeros((), dtype=torch.long))

    @classmethod
    def build_model(cls, cfg: BertCMLMTeacherConfig, task: TeacherTask) -> "BertCMLMTeacher":
        """Build from a checkpoint's own configuration, or from the pretrained weights of ``--bert-model``.

        :raises ConfigurationError: if there is neither, the pretrained model is no BERT, or an option can't work.
        :raises DataError: if the checkpoint was trained with another dictionary.
        """
        if not hasattr(task, "teacher_vocabulary"):
            hint = "To translate, name a student's checkpoint; a teacher only fills masks."
            raise ConfigurationError(
                must_be("--task", "bert_cmlm for a teacher", type(task).__name__, hint)
            )
        raise_all(_problems(cfg))
        symbols, read = task.target_dictionary.symbols, task.symbols_read
        if cfg.bert_config is not None:
            check_same_dictionary(cfg.dictionary_hash, read)
            bert = _bert_from_config(json.loads(cfg.bert_config), cfg)
            return cls(bert, len(symbols), dictionary_hash(read), len(read))
        name = str(cfg.bert_model)
        bert = _pretrained_bert(name, cfg)
        vocabulary = task.teacher_vocabulary(name, bert.get_input_embeddings().num_embeddings)
        model = cls(bert, len(symbols), dictionary_hash(read), len(read))
        model._adopt(vocabulary)
        return model

    def config_json(self) -> str:
        """Return the BERT's configuration, with the embeddings in use as its vocabulary size."""
        config = self.bert.config.to_dict()
        config["vocab_size"] = self.bert.get_input_embeddings().num_embeddings
        return json.dumps(config, sort_keys=True)

    def forward(self, tokens: Tensor, token_types: Tensor, masked: Tensor) -> Tensor:
        """Return logits at the masked positions only, row by row: (M, V).

        Shapes: ``tokens`` (N, S) fairseq ids, ``token_types`` (N, S), ``masked`` (N, S) bool with M true.
        """
        hidden = self.hidden_states(tokens, token_types, masked)  # (M, H)
        # A dump in half precision keeps its output layer in float32, where logits need it.
        hidden = hidden.to(self.output_projection.weight.dtype)
        logits = self.output_projection(self.transform(hidden))  # (M, V)
        return logits.masked_fill(self.never_predicted, float("-inf"))

    def prepare_for_inference_(self, cfg: Any) -> None:
        """Called by fairseq-generate and fairseq-interactive.

        :raises ConfigurationError: always.
        """
        raise ConfigurationError(
            must_be(
                "--path", "a student's checkpoint", "a teacher's", "A teacher only fills masks."
            )
        )

    def hidden_states(self, tokens: Tensor, token_types: Tensor, masked: Tensor) -> Tensor:
        """Return BERT's last layer at the masked positions: (M, H)."""
        index = self.symbol_rows[tokens].masked_fill(masked, self.mask_row)  # type: ignore[index]
        # Padding is told by token id 1, fairseq's own; a batch without any needs no attention mask.
        attended = tokens.ne(self.padding_idx)
        output = self.bert(
            input_ids=index,
            token_type_ids=token_types,
            attention_mask=None if bool(attended.all()) else attended.long(),
        )
        return last_layer_at(self.last_layer, output.last_hidden_state, attended, masked)

    padding_idx = 1

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> None:
        """Accept checkpoints whose last layer still has its place among the others."""
        super().upgrade_state_dict_named(state_dict, name)
        old = f"bert.encoder.layer.{len(self.bert.encoder.layer)}."
        for key in [key for key in state_dict if key.startswith(old)]:
            state_dict[f"last_layer.{key.removeprefix(old)}"] = state_dict.pop(key)

    def max_positions(self) -> int:
        """Return BERT's limit, as :func:`~bertkd_fairseq.teacher_input.input_length` counts."""
        return int(self.bert.config.max_position_embeddings)

    def _adopt(self, vocabulary: TeacherVocabulary) -> None:
        """Keep only the embeddings in use, and start the output layer from them."""
        pretrained = self.bert.get_input_embeddings().weight.detach().numpy()
        kept = torch.from_numpy(embedding_rows(pretrained, vocabulary.row_pieces))  # (R, H)
        embedding = nn.Embedding.from_pretrained(kept.clone(), freeze=False)
        self.bert.set_input_embeddings(embedding)
        index = torch.from_numpy(np.asarray(vocabulary.embedding_index))  # (S,)
        with torch.no_grad():
            self.output_projection.weight.copy_(kept[index[: len(vocabulary.never_predicted)]])
            self.output_projection.bias.zero_()
        self.symbol_rows.copy_(index)  # type: ignore[operator]
        self.never_predicted.copy_(torch.from_numpy(vocabulary.never_predicted))  # type: ignore[operator]
        self.mask_row.fill_(vocabulary.mask_index)  # type: ignore[operator]


def check_same_dictionary(expected: str | None, symbols: list[str]) -> None:
    """Raise a DataError unless the data-bin's dictionary is the one that the teacher was trained with."""
    seen = dictionary_hash(symbols)
    if expected != seen:
        raise DataError(
            must_be(
                "dictionary of the data-bin",
                f"the one that the teacher was trained with (hash {str(expected)[:8]})",
                f"another one (hash {seen[:8]}, {len(symbols)} symbols)",
                "Use the data-bin that the teacher was trained on, or train a teacher on this one.",
            )
        )


def _problems(cfg: BertCMLMTeacherConfig) -> list[str]:
    problems = []
    if cfg.bert_config is None:  # no checkpoint, whose pretrained folder may be gone
        problems += name_problems("--bert-model", cfg.bert_model)
    if cfg.dropout is not None:
        problems += outside("--dropout", cfg.dropout, at_least=0, below=1)
    if cfg.attention not in ATTENTIONS:
        problems.append(must_be("--attention", f"one of {', '.join(ATTENTIONS)}", cfg.attention))
    return problems


def _pretrained_bert(name: str, cfg: BertCMLMTeacherConfig) -> "BertForMaskedLM":
    hide_broken_torchaudio()
    from transformers import AutoConfig, AutoModelForMaskedLM

    announce(name)
    try:
        config = AutoConfig.from_pretrained(name)
    except Exception as error:  # OSError, ValueError, and whatever a damaged file leads to
        raise _not_loaded(name, error) from error
    if config.model_type != "bert":
        raise ConfigurationError(must_be("--bert-model", "a BERT", f"a {config.model_type}"))
    try:
        model, info = AutoModelForMaskedLM.from_pretrained(
            name,
            config=_with_options(config, cfg),
            output_loading_info=True,
            dtype=torch.float32,
        )
    except Exception as error:
        raise _not_loaded(name, error) from error
    fresh = sorted(key for key in info["missing_keys"] if "transform" in key)
    if fresh:
        log.warning("%s has no MLM head: %s start from random values", name, ", ".join(fresh))
    return model


def _not_loaded(name: str, error: Exception) -> ConfigurationError:
    if "ignore_mismatched_sizes" in str(error):  # what transformers advises is no remedy here
        error = ValueError("its weights don't have the sizes of its config.json")
    return ConfigurationError(
        loading_problem("--bert-model", name, "config.json and weights", error)
    )


def _bert_from_config(config: dict[str, Any], cfg: BertCMLMTeacherConfig) -> "BertForMaskedLM":
    hide_broken_torchaudio()
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(_with_options(BertConfig.from_dict(config), cfg))


def _with_options(config: Any, cfg: BertCMLMTeacherConfig) -> Any:
    config._attn_implementation = cfg.attention
    if cfg.dropout is not None:
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = cfg.dropout
    return config
