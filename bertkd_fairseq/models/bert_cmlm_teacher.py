"""``--arch bert_cmlm_teacher``: the teacher, made from a masked language model of any family in transformers."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model

from bertkd_fairseq.errors import ConfigurationError, DataError, must_be, raise_all
from bertkd_fairseq.hub import name_problems
from bertkd_fairseq.models.bert_teacher import BertCMLMTeacher
from bertkd_fairseq.models.cmlm_teacher import CMLMTeacher
from bertkd_fairseq.models.masked_lm_teacher import MaskedLMTeacher, reads_padding
from bertkd_fairseq.models.pretrained import (
    ModelOptions,
    from_config,
    load_pretrained,
    refused,
)
from bertkd_fairseq.vocabulary import TeacherVocabulary, dictionary_hash

log = logging.getLogger(__name__)

ATTENTIONS = ("sdpa", "eager")


class TeacherTask(Protocol):
    """What the teacher needs from its task."""

    @property
    def target_dictionary(self) -> Any:
        """fairseq's dictionary of the symbols to predict."""

    @property
    def symbols_read(self) -> list[str]:
        """The symbols of both dictionaries, those of the target first."""

    def teacher_vocabulary(self, bert_model: str, num_embeddings: int) -> TeacherVocabulary:
        """Return how the symbols map to the pieces of a pretrained model with ``num_embeddings`` embeddings."""


@dataclass
class BertCMLMTeacherConfig(FairseqDataclass):
    """Options of ``--arch bert_cmlm_teacher``."""

    bert_model: Optional[str] = field(
        default=None,
        metadata={
            "help": "pretrained masked language model to start from: a folder or hub name of Hugging Face"
        },
    )
    dropout: Optional[float] = field(
        default=None,
        metadata={"help": "dropout of the model; if not given, that of its own configuration"},
    )
    attention: str = field(
        default="sdpa",
        metadata={"help": f"attention implementation of transformers: {' or '.join(ATTENTIONS)}"},
    )
    freeze_embeddings: bool = field(
        default=False,
        metadata={"help": "don't train the embeddings, nor anything else below the first layer"},
    )
    bert_config: Optional[str] = field(
        default=None,
        metadata={"help": "set by training, for the checkpoint: the model's configuration as JSON"},
    )
    dictionary_hash: Optional[str] = field(
        default=None,
        metadata={"help": "set by training, for the checkpoint: hash of the dictionary"},
    )


@register_model("bert_cmlm_teacher", dataclass=BertCMLMTeacherConfig)
class TeacherArchitecture(BaseFairseqModel):
    """The class by which fairseq builds a teacher, a :class:`~bertkd_fairseq.models.cmlm_teacher.CMLMTeacher`."""

    @classmethod
    def build_model(cls, cfg: BertCMLMTeacherConfig, task: TeacherTask) -> CMLMTeacher:
        """Build the teacher from a checkpoint's own configuration, or from the pretrained model in ``--bert-model``.

        :raises ConfigurationError: if there is neither, if the pretrained model can't be a teacher, or if an option
            can't work.
        :raises DataError: if the checkpoint was trained with another dictionary.
        """
        if not hasattr(task, "teacher_vocabulary"):
            hint = "To translate, name a student's checkpoint; a teacher only fills masks."
            raise ConfigurationError(
                must_be("--task", "bert_cmlm for a teacher", type(task).__name__, hint)
            )
        raise_all(_problems(cfg))
        teacher = _from_checkpoint(cfg, task) if cfg.bert_config else _from_pretrained(cfg, task)
        # Checkpoints that are older than this option don't have it.
        teacher.name_groups(freeze_embeddings=getattr(cfg, "freeze_embeddings", False))
        return teacher


def _from_checkpoint(cfg: BertCMLMTeacherConfig, task: TeacherTask) -> CMLMTeacher:
    check_same_dictionary(cfg.dictionary_hash, task.symbols_read)
    model = from_config(json.loads(str(cfg.bert_config)), ModelOptions(cfg.attention, cfg.dropout))
    return _teacher(model, task)


def _from_pretrained(cfg: BertCMLMTeacherConfig, task: TeacherTask) -> CMLMTeacher:
    name = str(cfg.bert_model)
    pretrained = load_pretrained(name, ModelOptions(cfg.attention, cfg.dropout))
    model = pretrained.model
    vocabulary = task.teacher_vocabulary(name, model.get_input_embeddings().num_embeddings)
    try:
        teacher = _teacher(model, task)
        if isinstance(teacher, MaskedLMTeacher) and reads_padding(teacher):
            log.warning("%s reads padding, so its predictions depend a little on the batch", name)
    except Exception as error:  # a family with another structure may raise anything
        raise refused(model.config.model_type, f" that can't be taken apart: {error},") from error
    teacher.adopt(vocabulary, pretrained.output_weights)
    return teacher


def _teacher(model: Any, task: TeacherTask) -> CMLMTeacher:
    num_symbols = len(task.target_dictionary.symbols)
    # For BERT there is a faster class.
    kind = BertCMLMTeacher if model.config.model_type == "bert" else MaskedLMTeacher
    return kind(model, num_symbols, dictionary_hash(task.symbols_read))


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
    if cfg.bert_config is None:  # a checkpoint doesn't need the pretrained folder
        problems += name_problems("--bert-model", cfg.bert_model)
    if cfg.dropout is not None and not 0.0 <= cfg.dropout < 1.0:
        problems.append(must_be("--dropout", "from 0 to below 1", cfg.dropout))
    if cfg.attention not in ATTENTIONS:
        problems.append(must_be("--attention", f"one of {', '.join(ATTENTIONS)}", cfg.attention))
    return problems
