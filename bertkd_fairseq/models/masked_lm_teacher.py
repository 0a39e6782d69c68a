"""Any other masked language model of transformers as a teacher.

These models have in common an encoder and a head, whose last step projects to the pieces. The encoder is called
directly. To run the head alone, the encoder in the model is replaced by a stand-in that returns its input, and the
head's last step is removed. The model is then called with the encoder's output at the masked positions.
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
    """A masked language model of transformers that reads and predicts symbols of the student's dictionary."""

    def __init__(self, model: Any, num_symbols: int, dictionary_hash: str) -> None:
        super().__init__()
        self.body = model.base_model
        features = cut_output(model)
        setattr(model, model.base_model_prefix, _HandedThrough())
        self.head = model
        # RoBERTa has one token type; ModernBERT and DeBERTa have none.
        self._token_types = getattr(model.config, "type_vocab_size", 0) > 1 and (
            "token_type_ids" in inspect.signature(self.body.forward).parameters
        )
        # DeBERTa's code mixes tensors that autocast has turned to half precision with others.
        self._in_one_precision = model.config.model_type == "deberta"
        # A new model treats some id as padding, and its embedding would get no gradient. Ids have another meaning here.
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
        """Return the output of the encoder's last layer at the positions asked for: (M, H)."""
        attended = tokens.ne(self.padding_idx)
        options: dict[str, Tensor] = {}
        if self._token_types:
            options["token_type_ids"] = token_types
        if not bool(attended.all()):
            options["attention_mask"] = attended.long()
        # The encoder gets embeddings, because RoBERTa would take one of the ids for padding and shift the positions.
        embeddings = self.body.get_input_embeddings()(self.rows_of(tokens, masked))
        with _without_autocast(embeddings) if self._in_one_precision else nullcontext():
            return self.body(inputs_embeds=embeddings, **options)[0][asked]

    def output_features(self, hidden: Tensor) -> Tensor:
        """Return the features that the model's head computes from ``hidden``, without its last step: (M, F)."""
        return self.head(inputs_embeds=hidden[None]).logits[0]

    def _position_table(self) -> nn.Embedding | None:
        for name, module in self.body.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                return module
        return None

    def config_values(self) -> dict[str, Any]:
        """As in :class:`CMLMTeacher`, without the ids of special pieces that are beyond the embeddings kept.

        :raises ConfigurationError: if the model counts positions from such an id.
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
        """Return the model's longest input: its table of positions without those that RoBERTa keeps for padding.

        A model without a table has the limit of its configuration. A model that reads only distances between positions,
        such as DeBERTa, has no limit.
        """
        table = self._position_table()
        if table is not None:
            return table.num_embeddings - _offset(table)
        if getattr(self.body.config, "relative_attention", False):
            return sys.maxsize
        return super().max_positions()


def _offset(table: nn.Embedding) -> int:
    """Return how many of the first positions are kept for padding: some in RoBERTa, none in BERT."""
    return 0 if table.padding_idx is None else table.padding_idx + 1


class _HandedThrough(nn.Module):
    """A stand-in for the encoder. It returns its input embeddings as the output of the last layer."""

    def forward(self, *args: Any, inputs_embeds: Tensor, **options: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=inputs_embeds)


def _without_autocast(tensor: Tensor) -> AbstractContextManager[None]:
    return torch.autocast(tensor.device.type, enabled=False)


def output_layer(model: Any) -> tuple[str, nn.Linear]:
    """Return the layer that projects to the pieces, and its name.

    :raises ValueError: if the head of ``model`` has no such layer.
    """
    layer = model.get_output_embeddings()
    for name, module in model.named_modules():
        if module is layer and isinstance(module, nn.Linear):
            return name, module
    raise ValueError("its head has no linear output layer")


def cut_output(model: Any) -> int:
    """Remove the output layer from the head of ``model``, and return the number of features that it read.

    :raises ValueError: if the head of ``model`` has no output layer.
    """
    name, layer = output_layer(model)
    parent_name, _, attribute = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    setattr(parent, attribute, nn.Identity())
    # Many heads also hold the bias of the output layer, which would never get a gradient.
    bias = parent._parameters.get("bias")
    if bias is not None and bias.shape == (layer.out_features,):
        parent.register_parameter("bias", None)
    return layer.in_features


def reads_padding(teacher: MaskedLMTeacher) -> bool:
    """Return whether the prediction at a position changes when padding follows the sentence.

    :raises ValueError: if the last step of the head isn't the output layer.
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
