"""The teacher against the BERT of transformers that it is made of."""

from __future__ import annotations

import copy

import pytest
import torch

from bertkd_fairseq import compat

compat.apply()
from transformers import BertConfig, BertForMaskedLM  # noqa: E402

from bertkd_fairseq.models.bert_teacher import BertCMLMTeacher  # noqa: E402

SYMBOLS, MASK, PAD = 30, 29, BertCMLMTeacher.padding_idx


def make_bert(layers: int = 3, attention: str = "sdpa") -> BertForMaskedLM:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=SYMBOLS,
        hidden_size=24,
        num_attention_heads=4,
        intermediate_size=48,
        num_hidden_layers=layers,
        attn_implementation=attention,
    )
    return BertForMaskedLM(config)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layers", [1, 3])
def test_logits_are_berts_own_at_the_masked_positions(attention: str, layers: int) -> None:
    stock = make_bert(layers, attention).double().eval()
    teacher = BertCMLMTeacher(copy.deepcopy(stock), SYMBOLS, "").double().eval()
    teacher.symbol_rows = torch.arange(SYMBOLS)
    teacher.mask_row.fill_(MASK)
    teacher.output_projection = stock.cls.predictions.decoder
    tokens = torch.randint(3, MASK, (5, 9))
    tokens[1, 6:] = PAD
    tokens[4, 2:] = PAD
    types = torch.randint(0, 2, tokens.shape)
    masked = (torch.rand(tokens.shape) < 0.3) & tokens.ne(PAD)
    whole = stock(
        input_ids=tokens.masked_fill(masked, MASK),
        token_type_ids=types,
        attention_mask=tokens.ne(PAD).long(),
    )
    torch.testing.assert_close(
        teacher(tokens, types, masked), whole.logits[masked], rtol=0, atol=1e-12
    )


def test_a_checkpoint_with_all_layers_in_one_list_loads() -> None:
    teacher, other = (BertCMLMTeacher(make_bert(), SYMBOLS, "") for _ in range(2))
    torch.nn.init.normal_(teacher.last_layer.output.dense.weight)
    now = teacher.state_dict()
    before = {
        key.replace("last_layer.", "bert.encoder.layer.2."): value for key, value in now.items()
    }
    other.load_state_dict(before)
    for key, value in other.state_dict().items():
        assert torch.equal(value, now[key]), key
