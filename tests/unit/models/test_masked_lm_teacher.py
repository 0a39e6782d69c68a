"""Teachers of every family, against the model of transformers that each is made of."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bertkd_fairseq.dump.rows import set_precision
from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.models.bert_cmlm_teacher import BertCMLMTeacherConfig, TeacherArchitecture
from bertkd_fairseq.models.cmlm_teacher import CMLMTeacher
from bertkd_fairseq.vocabulary import TeacherVocabulary
from tests.families import (
    FAMILIES,
    PIECES,
    POSITIONS,
    SYMBOLS,
    Family,
    hugging_face_logits,
    make_model,
    make_vocabulary,
    stock_model,
    symbol_pieces,
)

PAD = CMLMTeacher.padding_idx
every_family = pytest.mark.parametrize("name", FAMILIES)


class Task:
    """What a teacher asks of its task."""

    target_dictionary = SimpleNamespace(symbols=[f"symbol{i}" for i in range(SYMBOLS)])

    def __init__(self, family: Family) -> None:
        self.family = family

    def teacher_vocabulary(self) -> TeacherVocabulary:
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


@every_family
def test_starts_as_the_pretrained_model(name: str, tmp_path: Path) -> None:
    """Its logits are those of the pieces that symbols stand for, but for the bias, which starts at 0."""
    family = FAMILIES[name]
    stock, teacher = adopt(family, tmp_path)
    pieces = torch.from_numpy(symbol_pieces(make_vocabulary(family)))
    tokens, types, masked = batch()
    ids = pieces[tokens].masked_fill(masked, family.ids["mask"])
    whole = hugging_face_logits(family, stock, ids, types, tokens.ne(PAD))
    wanted = (whole - stock.get_output_embeddings().bias.detach())[masked][:, pieces]
    teacher.eval()
    with torch.no_grad():
        logits = predicted(teacher(tokens, types, masked))
    torch.testing.assert_close(logits, wanted[:, 2:], rtol=0, atol=1e-5)


@every_family
def test_trains_and_stays_what_transformers_computes(name: str, tmp_path: Path) -> None:
    """Ten updates; the checkpoint's settings and weights, put back into a stock model, give the same logits."""
    family = FAMILIES[name]
    _, teacher = adopt(family, tmp_path, dropout=0.0)
    tokens, types, masked = batch()
    optimizer = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    losses = []
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(teacher(tokens, types, masked), tokens[masked])
        optimizer.zero_grad()
        loss.backward()
        # None left out, which several processes couldn't bear.
        assert all(parameter.grad is not None for parameter in teacher.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    teacher.eval()
    with torch.no_grad():
        logits = predicted(teacher(tokens, types, masked))
    vocabulary = make_vocabulary(family)
    stock = stock_model(teacher)
    assert stock.config.vocab_size == len(vocabulary.piece_ids)
    rows = torch.from_numpy(vocabulary.embedding_index)[tokens]
    rows = rows.masked_fill(masked, vocabulary.mask_index)
    wanted = hugging_face_logits(family, stock, rows, types, tokens.ne(PAD))[masked]
    torch.testing.assert_close(logits, wanted[:, 2:], rtol=0, atol=1e-5)
    loaded = from_checkpoint(family, teacher).eval()
    with torch.no_grad():
        assert torch.equal(predicted(loaded(tokens, types, masked)), logits)


@every_family
def test_padding_changes_nothing(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    _, teacher = adopt(family, tmp_path)
    teacher.eval()
    tokens, types, masked = batch()
    with torch.no_grad():
        together = teacher(tokens, types, masked)
        alone = [
            teacher(*(part[row : row + 1, : int(tokens[row].ne(PAD).sum())] for part in parts))
            for row, parts in enumerate([(tokens, types, masked)] * len(tokens))
        ]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-5)


@every_family
def test_longest_input(name: str, tmp_path: Path) -> None:
    """All positions there are can be read, and where distances are all that counts, more."""
    family = FAMILIES[name]
    stock, teacher = adopt(family, tmp_path)
    longest = teacher.max_positions()
    assert longest == family.longest or (longest > 10**9 and math.isinf(family.longest))
    length = min(longest, 2 * POSITIONS)
    tokens, types, masked = batch(length, pairs=1)
    pieces = torch.from_numpy(symbol_pieces(make_vocabulary(family)))
    ids = pieces[tokens].masked_fill(masked, family.ids["mask"])
    whole = hugging_face_logits(family, stock, ids, types, tokens.ne(PAD))
    wanted = (whole - stock.get_output_embeddings().bias.detach())[masked][:, pieces]
    teacher.eval()
    with torch.no_grad():
        logits = predicted(teacher(tokens, types, masked))
    torch.testing.assert_close(logits, wanted[:, 2:], rtol=0, atol=1e-5)


@every_family
def test_dropout_is_the_option(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    _, teacher = adopt(family, tmp_path, dropout=0.0)
    example = batch()
    assert torch.equal(teacher(*example), teacher(*example))
    dropping = from_checkpoint(family, teacher, dropout=0.3)
    assert not torch.equal(dropping(*example), dropping(*example))


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
def test_under_autocast(name: str, tmp_path: Path) -> None:
    """As a training with --precision bf16 does it."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    family = FAMILIES[name]
    _, teacher = adopt(family, tmp_path, dropout=0.0)
    tokens, types, masked = batch()
    exact = predicted(teacher(tokens, types, masked))
    with torch.autocast("cpu", dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        logits = teacher(tokens, types, masked).float()
        torch.nn.functional.cross_entropy(logits, tokens[masked]).backward()
    assert all(parameter.grad.isfinite().all() for parameter in teacher.parameters())
    assert (predicted(logits) - exact).abs().mean() < 0.1 * exact.std()


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


@pytest.mark.parametrize("name", ["roberta", "deberta-v3", "distilbert", "electra", "modernbert"])
def test_an_encoder_without_a_head_gets_one(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    family = FAMILIES[name]
    stock = make_model(family)
    stock.base_model.save_pretrained(tmp_path)
    caplog.set_level(logging.WARNING)
    teacher = build(family, bert_model=str(tmp_path))
    (said,) = (text for text in caplog.messages if "MLM head" in text)
    prefix, _, names = said.partition(" has no MLM head: ")
    assert prefix == str(tmp_path)
    fresh = names.removesuffix(" start from random values").split(", ")
    trained = dict(teacher.named_parameters())
    assert set(fresh) == {key.removeprefix("head.") for key in trained if key.startswith("head.")}
    # The output layer starts from the embeddings all the same, where their widths agree.
    rows = make_vocabulary(family)
    wanted = stock.get_input_embeddings().weight[torch.from_numpy(symbol_pieces(rows))]
    assert torch.equal(teacher.output_projection.weight, wanted)


def test_an_untied_head_that_is_missing(tmp_path: Path) -> None:
    """Embeddings stand in for it, but where their width is another, it stays random."""
    for name, embeddings in (("untied", True), ("untied-electra", True), ("rembert", False)):
        family = FAMILIES[name]
        stock = make_model(family)
        stock.base_model.save_pretrained(tmp_path / name)
        teacher = build(family, bert_model=str(tmp_path / name))
        pieces = torch.from_numpy(symbol_pieces(make_vocabulary(family)))
        wanted = stock.get_input_embeddings().weight[pieces]
        assert torch.equal(teacher.output_projection.weight, wanted) == embeddings
        assert teacher.output_projection.weight.std() > 0
        assert not teacher.output_projection.bias.any()


def test_what_reads_padding_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """ConvBERT's convolutions do; of the other families none does."""
    config = {"embedding_size": 24, "head_ratio": 2}
    for family in (*FAMILIES.values(), Family("ConvBertConfig", config, FAMILIES["bert"].ids)):
        caplog.clear()
        folder = tmp_path / family.config
        adopt(family, folder)
        said = f"{folder} reads padding: its predictions depend a little on the batch"
        assert (said in caplog.messages) == (family.config == "ConvBertConfig")


def test_published_deberta_has_its_head_under_other_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What transformers reads with ``legacy: false``, and what its own default would leave out."""
    family = FAMILIES["deberta-v3"]
    stock = make_model(family, legacy=False)
    assert any(key.startswith("lm_predictions.lm_head") for key in stock.state_dict())
    stock.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config.pop("legacy")
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    teacher = build(family, bert_model=str(tmp_path)).eval()
    assert "MLM head" not in caplog.text
    tokens, types, masked = batch()
    pieces = torch.from_numpy(symbol_pieces(make_vocabulary(family)))
    ids = pieces[tokens].masked_fill(masked, family.ids["mask"])
    whole = hugging_face_logits(family, stock, ids, types, tokens.ne(PAD))
    wanted = (whole - stock.lm_predictions.lm_head.bias.detach())[masked][:, pieces]
    with torch.no_grad():
        logits = predicted(teacher(tokens, types, masked))
    torch.testing.assert_close(logits, wanted[:, 2:], rtol=0, atol=1e-5)


def test_weights_are_float32_whatever_they_are_stored_in(tmp_path: Path) -> None:
    family = FAMILIES["roberta"]
    make_model(family).half().save_pretrained(tmp_path)
    teacher = build(family, bert_model=str(tmp_path))
    loaded = from_checkpoint(family, teacher)
    assert {p.dtype for p in (*teacher.parameters(), *loaded.parameters())} == {torch.float32}


@pytest.mark.parametrize("name", ["roberta", "modernbert", "deberta-v3"])
def test_attention_is_the_option_where_the_family_has_it(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    _, teacher = adopt(family, tmp_path)
    assert teacher.attention == ("eager" if name == "deberta-v3" else "sdpa")
    eager = from_checkpoint(family, teacher, attention="eager")
    assert eager.attention == "eager"
    example = batch()
    with torch.no_grad():
        torch.testing.assert_close(
            eager.eval()(*example), teacher.eval()(*example), rtol=0, atol=1e-5
        )


def test_a_source_dictionary_of_its_own(tmp_path: Path) -> None:
    """Ids above the target's are read but never predicted; a checkpoint brings its own number of them."""
    family = FAMILIES["roberta"]
    make_model(family).save_pretrained(tmp_path)
    vocabulary = make_vocabulary(family)
    task = Task(family)
    more = np.append(vocabulary.embedding_index, [7, 9])
    wider = TeacherVocabulary(**{**vars(vocabulary), "embedding_index": more})
    task.teacher_vocabulary = lambda: wider  # type: ignore[method-assign]
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


def test_padding_that_positions_are_counted_from_must_be_among_the_rows(tmp_path: Path) -> None:
    family = FAMILIES["roberta"]
    moved = Family(family.config, {**family.settings, "max_position_embeddings": 90}, family.ids)
    make_model(moved, pad_token_id=PIECES - 2).save_pretrained(tmp_path)
    teacher = build(moved, bert_model=str(tmp_path))
    rows = len(make_vocabulary(family).piece_ids)
    with pytest.raises(ConfigurationError) as error:
        teacher.config_json()
    assert str(error.value) == (
        f"`--bert-model` must be a model whose padding has an id below the {rows} embeddings in use, "
        f"but is one that has {PIECES - 2} instead."
    )


def test_a_head_of_another_structure_is_refused(tmp_path: Path) -> None:
    """MobileBERT's reads two matrices of its output layer side by side."""
    config = {"embedding_size": 12, "true_hidden_size": 24, "intra_bottleneck_size": 24}
    family = Family("MobileBertConfig", {**config, "hidden_size": 24}, FAMILIES["bert"].ids)
    make_model(family).save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError) as error:
        build(family, bert_model=str(tmp_path))
    assert str(error.value).startswith(
        "`--bert-model` must be a masked language model, an encoder such as BERT, RoBERTa or DeBERTa, "
        "but is a mobilebert that can't be taken apart: "
    )
