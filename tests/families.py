"""A tiny random masked language model of each family, and a dictionary over its pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bertkd_fairseq import compat
from bertkd_fairseq.vocabulary import TeacherVocabulary

compat.apply()
import transformers  # noqa: E402

PIECES, SYMBOLS, POSITIONS = 70, 41, 24
BERT_IDS = {"bos": 2, "pad": 0, "eos": 3, "unk": 1, "mask": 4}
ROBERTA_IDS = {"bos": 0, "pad": 1, "eos": 2, "unk": 3, "mask": PIECES - 1}
# As in ModernBERT, after all pieces: the id of padding is none of the embeddings in use.
LAST_IDS = {"bos": 65, "pad": 68, "eos": 67, "unk": 64, "mask": 69}
DEBERTA_IDS = {"bos": 1, "pad": 0, "eos": 2, "unk": 3, "mask": PIECES - 1}
NARROW = 12
"""Width of factorised embeddings."""


@dataclass(frozen=True)
class Family:
    """Configuration of transformers, its settings, ids of special pieces, longest input of POSITIONS positions."""

    config: str
    settings: dict[str, Any]
    ids: dict[str, int]
    longest: float = POSITIONS
    token_types: bool = False

    def make_config(self, **changes: Any) -> Any:
        """Return the configuration of two layers of 24 units, with weights large enough to tell positions apart."""
        defaults = {
            "vocab_size": PIECES,
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": POSITIONS,
            "initializer_range": 0.2,
            "pad_token_id": self.ids["pad"],
        }
        return getattr(transformers, self.config)(**{**defaults, **self.settings, **changes})


_DISTIL = {"dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40}
_RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
_V3 = {**_RELATIVE, "position_biased_input": False, "position_buckets": 4, "share_att_key": True}
_V2 = {**_V3, "norm_rel_ebd": "layer_norm", "conv_kernel_size": 3, "conv_act": "gelu"}
_MODERN = {"local_attention": 6, "global_attn_every_n_layers": 2}

FAMILIES = {
    "bert": Family("BertConfig", {}, BERT_IDS, token_types=True),
    "distilbert": Family("DistilBertConfig", _DISTIL, BERT_IDS),
    "roberta": Family("RobertaConfig", {"type_vocab_size": 1}, ROBERTA_IDS, POSITIONS - 2),
    "xlm-roberta": Family("XLMRobertaConfig", {"type_vocab_size": 1}, ROBERTA_IDS, POSITIONS - 2),
    "modernbert": Family("ModernBertConfig", _MODERN, LAST_IDS),
    "deberta": Family(
        "DebertaConfig", {**_RELATIVE, "position_biased_input": False}, DEBERTA_IDS, float("inf")
    ),
    "deberta-v2": Family("DebertaV2Config", _V2, DEBERTA_IDS, float("inf")),
    "deberta-v3": Family("DebertaV2Config", _V3, DEBERTA_IDS, float("inf")),
    "electra": Family("ElectraConfig", {"embedding_size": NARROW}, BERT_IDS, token_types=True),
    "albert": Family("AlbertConfig", {"embedding_size": NARROW}, BERT_IDS, token_types=True),
    # Not named in the documentation's table of families, but of other structures.
    "untied": Family("BertConfig", {"tie_word_embeddings": False}, BERT_IDS, token_types=True),
    "untied-electra": Family(
        "ElectraConfig",
        {"embedding_size": NARROW, "tie_word_embeddings": False},
        BERT_IDS,
        token_types=True,
    ),
    "mpnet": Family("MPNetConfig", {}, ROBERTA_IDS, POSITIONS - 2),
    # Its output layer reads another width than its embeddings have.
    "rembert": Family(
        "RemBertConfig",
        {"input_embedding_size": NARROW, "output_embedding_size": 20},
        BERT_IDS,
        token_types=True,
    ),
    "xlm": Family("XLMConfig", {"emb_dim": 24, "n_layers": 2, "n_heads": 4}, BERT_IDS),
}


def make_model(family: Family, **changes: Any) -> Any:
    """Return a random model, its output layer's bias random too."""
    torch.manual_seed(1)
    config = family.make_config(**changes)
    model = transformers.MODEL_FOR_MASKED_LM_MAPPING[type(config)](config)
    output = model.get_output_embeddings()
    with torch.no_grad():
        output.bias.normal_()
    return model.eval()


def make_vocabulary(family: Family) -> TeacherVocabulary:
    """Return one of SYMBOLS symbols, fairseq's four specials first; some share a piece and many pieces are unused."""
    random = np.random.default_rng(3)
    special = [family.ids[name] for name in ("bos", "pad", "eos", "unk")]
    others = np.setdiff1d(np.arange(PIECES), list(family.ids.values()))
    symbols = np.array([*special, *random.choice(others, SYMBOLS - 5, replace=False)])
    symbols = np.append(symbols, symbols[-1])
    kept = np.unique([*symbols, family.ids["mask"]])
    never = np.arange(SYMBOLS) < 2
    return TeacherVocabulary(
        row_pieces=tuple((int(piece),) for piece in kept),
        embedding_index=np.searchsorted(kept, symbols),
        never_predicted=never,
        mask_index=int(np.searchsorted(kept, family.ids["mask"])),
        num_pieces=PIECES,
    )


def symbol_pieces(vocabulary: TeacherVocabulary) -> np.ndarray:
    """Return the piece that each symbol stands for: (V,)."""
    return np.array([vocabulary.row_pieces[index][0] for index in vocabulary.embedding_index])


def hugging_face_logits(
    family: Family, model: Any, ids: Any, token_types: Any, attended: Any
) -> Any:
    """Return the logits of transformers' own forward pass at all positions, asked as its documentation does."""
    options = {"token_type_ids": token_types} if family.token_types else {}
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=attended.long(), **options).logits


def stock_model(teacher: Any) -> Any:
    """Return transformers' own model of a teacher's settings and weights, its output layer over the dictionary."""
    values = json.loads(teacher.config_json())
    config = transformers.CONFIG_MAPPING[values["model_type"]].from_dict(values)
    config._attn_implementation = "eager"
    stock = transformers.MODEL_FOR_MASKED_LM_MAPPING[type(config)](config)
    ours, output = teacher.output_projection, stock.get_output_embeddings()
    stock.set_output_embeddings(torch.nn.Linear(output.in_features, ours.out_features))
    state = dict(teacher.state_dict())
    with torch.no_grad():
        for name, value in stock.state_dict().items():
            in_teacher = next((key for key in names_of(name, stock) if key in state), None)
            if in_teacher is not None:
                value.copy_(state.pop(in_teacher))
        stock.get_output_embeddings().weight.copy_(state.pop("output_projection.weight"))
        stock.get_output_embeddings().bias.copy_(state.pop("output_projection.bias"))
    assert set(state) == {"symbol_rows", "never_predicted", "mask_row"}, "weights without a place"
    return stock.eval()


def names_of(name: str, stock: Any) -> Iterator[str]:
    """Yield what a weight of a stock model may be called in a teacher."""
    prefix = f"{stock.base_model_prefix}."
    if name.startswith(prefix):
        yield f"body.{name.removeprefix(prefix)}"
    else:
        yield f"head.{name}"
    # BERT, which has its last layer apart.
    last = f"bert.encoder.layer.{stock.config.num_hidden_layers - 1}."
    yield name.replace(last, "last_layer.").replace("cls.predictions.transform.", "transform.")
