"""What all teachers share: precision, groups of parameters, a source dictionary of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bertkd_fairseq.dump.rows import set_precision
from bertkd_fairseq.models.bert_cmlm_teacher import BertCMLMTeacherConfig, TeacherArchitecture
from bertkd_fairseq.vocabulary import TeacherVocabulary
from tests.families import (
    FAMILIES,
    SYMBOLS,
    make_model,
    make_vocabulary,
)
from tests.unit.models.teachers import (
    Task,
    adopt,
    batch,
    build,
    every_family,
    from_checkpoint,
    predicted,
)


@every_family
def test_in_half_precision_the_output_layer_stays_in_float32(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    _, teacher = adopt(family, tmp_path)
    teacher.eval()
    example = batch()
    with torch.no_grad():
        exact = predicted(teacher(*example))
        set_precision(teacher, "bf16")
        assert teacher.encoder.get_input_embeddings().weight.dtype == torch.bfloat16
        rounded = predicted(teacher(*example))
    assert rounded.dtype == torch.float32
    error = (rounded - exact).abs().mean()
    assert 0 < error < 0.1 * exact.std()


@every_family
def test_parameters_say_where_they_stand(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    _, teacher = adopt(family, tmp_path)
    groups: dict[str, set[str]] = {}
    for parameter_name, parameter in teacher.named_parameters():
        groups.setdefault(parameter.param_group, set()).add(parameter_name)
    layers = {"layer_0"} if name == "albert" else {"layer_0", "layer_1"}  # one layer, run twice
    assert set(groups) == {"rows", "embeddings", "head"} | layers
    assert len(groups["rows"]) == 1
    assert all("emb" in parameter for parameter in groups["embeddings"])
    assert {"output_projection.weight", "output_projection.bias"} <= groups["head"]
    sizes = {group: len(parameters) for group, parameters in groups.items()}
    # Those outside of layers, or in the second layer alone.
    more = {"deberta-v2": 6, "mpnet": 1, "modernbert": 2}.get(name, 0)
    if name != "albert":
        assert sizes["layer_1"] == sizes["layer_0"] + more


@every_family
def test_frozen_embeddings_stay(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    _, teacher = adopt(family, tmp_path, freeze_embeddings=True)
    tokens, types, masked = batch()
    torch.nn.functional.cross_entropy(teacher(tokens, types, masked), tokens[masked]).backward()
    for parameter in teacher.parameters():
        frozen = parameter.param_group in ("rows", "embeddings")
        assert (parameter.grad is None) == frozen == (not parameter.requires_grad)
    again = from_checkpoint(family, teacher, freeze_embeddings=True)
    assert [p.requires_grad for p in again.parameters()] == [
        p.requires_grad for p in teacher.parameters()
    ]


def test_weights_are_float32_whatever_they_are_stored_in(tmp_path: Path) -> None:
    family = FAMILIES["roberta"]
    make_model(family).half().save_pretrained(tmp_path)
    teacher = build(family, bert_model=str(tmp_path))
    loaded = from_checkpoint(family, teacher)
    assert {p.dtype for p in (*teacher.parameters(), *loaded.parameters())} == {torch.float32}


def test_a_source_dictionary_of_its_own(tmp_path: Path) -> None:
    """Ids above the target's are read but never predicted; a checkpoint brings its own number of them."""
    family = FAMILIES["roberta"]
    make_model(family).save_pretrained(tmp_path)
    vocabulary = make_vocabulary(family)
    task = Task(family)
    more = np.append(vocabulary.embedding_index, [7, 9])
    wider = TeacherVocabulary(**{**vars(vocabulary), "embedding_index": more})
    task.teacher_vocabulary = lambda *_: wider  # type: ignore[method-assign]
    teacher = TeacherArchitecture.build_model(
        BertCMLMTeacherConfig(bert_model=str(tmp_path)), task
    ).eval()
    tokens, types, masked = batch()
    tokens[0, 2:4] = torch.tensor([SYMBOLS, SYMBOLS + 1])
    same = tokens.clone()
    first = [int(np.flatnonzero(vocabulary.embedding_index == row)[0]) for row in (7, 9)]
    same[0, 2:4] = torch.tensor(first)
    with torch.no_grad():
        logits = teacher(tokens, types, masked)
        assert logits.size(1) == SYMBOLS
        assert torch.equal(logits, teacher(same, types, masked))
        loaded = from_checkpoint(family, teacher).eval()
        assert torch.equal(logits, loaded(tokens, types, masked))
