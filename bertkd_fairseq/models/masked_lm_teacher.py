"""Any other masked language model of transformers as a teacher, by what all of them have in common.

All are an encoder and a head whose last step projects to the pieces. The encoder runs alone. The head is what the whole
model does when a stand-in for the encoder hands it the masked positions only, without its last step.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from bertkd_fairseq.errors import ConfigurationError, must_be
from bertkd_fairseq.models.cmlm_teacher import CMLMTeacher


class MaskedLMTeacher(CMLMTeacher):
    """A masked language model of transformers over the student's dictionary."""

    def __init__(self, model: Any, num_symbols: int, dictionary_hash: str) -> None:
        super().__init__()
        self.body = model.base_model
        features = cut_output(model)
        setattr(model, model.base_model_prefix, _HandedThrough())
        self.head = model
        # RoBERTa has one type, ModernBERT and DeBERTa none.
        self._token_types = getattr(model.config, "type_vocab_size", 0) > 1 and (
            "token_type_ids" in inspect.signature(self.body.forward).parameters
        )
        # Its code mixes what autocast turned to half precision with what it didn't.
        self._in_one_precision = model.config.model_type == "deberta"
        # In a freshly built model the row of some id is padding, which would get no gradient: ids mean nothing here.
        rows = self.body.get_input_embeddings()
        self.body.set_input_embeddings(nn.Embedding.from_pretrained(rows.weight, freeze=False))
        self.add_output(features, num_symbols, dictionary_hash)

    @property
    def encoder(self) -> Any:
        """The model below the head."""
        return self.body

    def parts_below_head(self) -> list[nn.Module]:
        """Return the encoder."""
        return [self.body]

    def hidden_states(
        self, tokens: Tensor, token_types: Tensor, masked: Tensor, asked: Tensor
    ) -> Tensor:
        """Return the encoder's last layer at the positions asked for: (M, H)."""
        attended = tokens.ne(self.padding_idx)
        options: dict[str, Tensor] = {}
        if self._token_types:
            options["token_type_ids"] = token_types
        if not bool(attended.all()):
            options["attention_mask"] = attended.long()
        # Embeddings, not ids: to RoBERTa one of the ids would be padding, which shifts positions.
        embeddings = self.body.get_input_embeddings()(self.rows_of(tokens, masked))
        with _without_autocast(embeddings) if self._in_one_precision else nullcontext():
            return self.body(inputs_embeds=embeddings, **options)[0][asked]

    def output_features(self, hidden: Tensor) -> Tensor:
        """Return what the model's head makes of ``hidden``, up to its last step: (M, F)."""
        return self.head(inputs_embeds=hidden[None]).logits[0]

    def _position_table(self) -> nn.Embedding | None:
        for name, module in self.body.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                return module
        return None

    def config_values(self) -> dict[str, Any]:
        """As in every teacher, without ids of special pieces that the embeddings in use don't have.

        :raises ConfigurationError: if positions are counted from such an id.
        """
        values = super().config_values()
        num_rows, padding = values["vocab_size"], values.get("pad_token_id")
        table = self._position_table()
        if table is not None and _offset(table) > num_rows:
            wanted = f"a model whose padding has an id below the {num_rows} embeddings in use"
            raise ConfigurationError(must_be("--bert-model", wanted, f"one that has {padding}"))
        for name, value in values.items():
            if name.endswith("_token_id") and isinstance(value, int) and value >= num_rows:
                values[name] = None
        return values

    def max_positions(self) -> int:
        """Return the model's limit: its table of positions, less those that RoBERTa keeps for padding.

        A model without a table has its configuration's limit, or none if all it knows are distances, as DeBERTa.
        """
        table = self._position_table()
        if table is not None:
            return table.num_embeddings - _offset(table)
        if getattr(self.body.config, "relative_attention", False):
            return sys.maxsize
        return super().max_positions()


def _offset(table: nn.Embedding) -> int:
    """Return how many of its first positions RoBERTa keeps for padding; BERT none."""
    return 0 if table.padding_idx is None else table.padding_idx + 1


class _HandedThrough(nn.Module):
    """Stands where the encoder was: what goes in as embeddings comes out as its last layer."""

    def forward(self, *args: Any, inputs_embeds: Tensor, **options: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=inputs_embeds)


def _without_autocast(tensor: Tensor) -> AbstractContextManager[None]:
    return torch.autocast(tensor.device.type, enabled=False)


def output_layer(model: Any) -> tuple[str, nn.Linear]:
    """Return the name and the layer that projects to the pieces.

    :raises ValueError: if the head of ``model`` has none.
    """
    layer = model.get_output_embeddings()
    for name, module in model.named_modules():
        if module is layer and isinstance(module, nn.Linear):
            return name, module
    raise ValueError("its head has no linear output layer")


def cut_output(model: Any) -> int:
    """Take the last step out of the head of ``model``, and return how many features it read.

    :raises ValueError: if the head of ``model`` has none.
    """
    name, layer = output_layer(model)
    parent_name, _, attribute = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    setattr(parent, attribute, nn.Identity())
    # The bias for pieces, which many heads also hold themselves, would never get a gradient.
    bias = parent._parameters.get("bias")
    if bias is not None and bias.shape == (layer.out_features,):
        parent.register_parameter("bias", None)
    return layer.in_features


def reads_padding(teacher: MaskedLMTeacher) -> bool:
    """Ask ``teacher`` about one position, with padding behind it and without: does the answer differ?

    :raises ValueError: if its head does something else than project to pieces in its last step.
    """
    teacher.eval()
    tokens = torch.tensor([[0, 0, teacher.padding_idx]])
    types, masked = torch.zeros_like(tokens), torch.tensor([[True, False, False]])
    with torch.no_grad():
        alone, padded = (
            teacher.output_features(
                teacher.hidden_states(tokens[:, :end], types[:, :end], *2 * [masked[:, :end]])
            )
            for end in (2, 3)
        )
    teacher.train()
    if alone.shape != (1, teacher.output_projection.in_features):
        raise ValueError("its head doesn't end with its output layer")
    return not torch.allclose(alone, padded, rtol=1e-3, atol=1e-3)
