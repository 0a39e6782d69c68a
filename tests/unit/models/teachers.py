"""Teachers of the tiny random models, and a batch to ask them about."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from bertkd_fairseq.models.bert_cmlm_teacher import BertCMLMTeacherConfig, TeacherArchitecture
from bertkd_fairseq.models.cmlm_teacher import CMLMTeacher
from bertkd_fairseq.vocabulary import TeacherVocabulary
from tests.families import (
    FAMILIES,
    POSITIONS,
    SYMBOLS,
    Family,
    make_model,
    make_vocabulary,
)

PAD = CMLMTeacher.padding_idx
every_family = pytest.mark.parametrize("name", FAMILIES)


class Task:
    """What a teacher asks of its task."""

    target_dictionary = SimpleNamespace(symbols=[f"symbol{i}" for i in range(SYMBOLS)])

    def __init__(self, family: Family) -> None:
        self.family = family

    symbols_read = target_dictionary.symbols

    def teacher_vocabulary(self, bert_model: str, num_embeddings: int) -> TeacherVocabulary:
        return make_vocabulary(self.family)


def build(family: Family, **options: Any) -> CMLMTeacher:
    return TeacherArchitecture.build_model(BertCMLMTeacherConfig(**options), Task(family))


def from_checkpoint(family: Family, teacher: CMLMTeacher, **options: Any) -> CMLMTeacher:
    """Return what a checkpoint of ``teacher`` leads to."""
    kept = {"bert_config": teacher.config_json(), "dictionary_hash": teacher.dictionary_hash}
    loaded = build(family, **kept, **options)
    loaded.load_state_dict(teacher.state_dict())
    return loaded


def adopt(family: Family, folder: Path, **options: Any) -> tuple[Any, CMLMTeacher]:
    """Return a random model and the teacher that starts from it."""
    stock = make_model(family)
    stock.save_pretrained(folder)
    return stock, build(family, bert_model=str(folder), **options)


def batch(length: int = POSITIONS - 2, pairs: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Return pairs of different lengths, the first of ``length``: tokens, token types and masks."""
    torch.manual_seed(2)
    tokens = torch.randint(4, SYMBOLS, (pairs, length))
    tokens[:, 0] = 0
    for row in range(1, pairs):
        tokens[row, length - 3 * row :] = PAD
    types = ((torch.arange(length) > 4) & tokens.ne(PAD)).long()
    masked = (torch.rand(tokens.shape) < 0.3) & types.eq(1)
    masked[:, 6] = True
    return tokens, types, masked


def predicted(logits: Tensor) -> Tensor:
    """Return the logits (M, V) without the two symbols that are never predicted, which are -inf."""
    assert torch.isneginf(logits[:, :2]).all()
    return logits[:, 2:]
