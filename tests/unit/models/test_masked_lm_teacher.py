"""Teachers of every family, against the model of transformers that each is made of."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest
import torch

from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.models.bert_teacher import BertCMLMTeacher
from bertkd_fairseq.models.masked_lm_teacher import MaskedLMTeacher
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
from tests.unit.models.teachers import (
    PAD,
    adopt,
    batch,
    build,
    every_family,
    from_checkpoint,
    predicted,
)


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
    assert stock.config.vocab_size == len(vocabulary.row_pieces)
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


def test_berts_faster_way_gives_the_same() -> None:
    """Logits and gradients, to the last digits of float64."""
    tokens, types, masked = batch()
    logits, gradients = [], []
    for kind in (BertCMLMTeacher, MaskedLMTeacher):
        teacher = kind(make_model(FAMILIES["bert"]).double(), SYMBOLS, "").double().eval()
        teacher.adopt(make_vocabulary(FAMILIES["bert"]), None)
        answer = predicted(teacher(tokens, types, masked))
        answer.square().sum().backward()
        logits.append(answer.detach())
        gradients.append(teacher.encoder.embeddings.position_embeddings.weight.grad)
    torch.testing.assert_close(*logits, rtol=0, atol=1e-11)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


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
        said = f"{folder} reads padding, so its predictions depend a little on the batch"
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


def test_padding_that_positions_are_counted_from_must_be_among_the_rows(tmp_path: Path) -> None:
    family = FAMILIES["roberta"]
    moved = Family(family.config, {**family.settings, "max_position_embeddings": 90}, family.ids)
    make_model(moved, pad_token_id=PIECES - 2).save_pretrained(tmp_path)
    teacher = build(moved, bert_model=str(tmp_path))
    rows = len(make_vocabulary(family).row_pieces)
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
