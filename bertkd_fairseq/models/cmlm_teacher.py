"""The conditional masked language model: a pretrained encoder over the student's dictionary (paper, section 3.1)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

from bertkd_fairseq.errors import ConfigurationError, must_be
from bertkd_fairseq.param_groups import EMBEDDINGS, HEAD, ROWS, group_in_encoder
from bertkd_fairseq.vocabulary import TeacherVocabulary, embedding_rows


class CMLMTeacher(BaseFairseqModel):
    """An encoder that reads fairseq ids and predicts masked target tokens over the fairseq dictionary of V symbols.

    It has R input embeddings, one for each row of the vocabulary, and output weights for each dictionary symbol. The
    output weights start from the pretrained output layer, with zero bias (:meth:`adopt`), and aren't tied to the
    embeddings. Subclasses have the encoder and the head of transformers that stand between the two.
    """

    padding_idx = 1
    """fairseq's id of padding."""

    output_projection: nn.Linear
    symbol_rows: Tensor
    never_predicted: Tensor
    mask_row: Tensor
    dictionary_hash: str

    @property
    def encoder(self) -> Any:
        """The model of transformers below the head, without a layer that a subclass calls separately."""
        raise NotImplementedError

    def parts_below_head(self) -> list[nn.Module]:
        """Return the modules that a dump may turn to half precision: all but the head and the output layer."""
        raise NotImplementedError

    def hidden_states(
        self, tokens: Tensor, token_types: Tensor, masked: Tensor, asked: Tensor
    ) -> Tensor:
        """Return the output of the encoder's last layer at the positions asked for: (M, H)."""
        raise NotImplementedError

    def output_features(self, hidden: Tensor) -> Tensor:
        """Return the head's features of ``hidden`` (M, H), which the output layer reads: (M, F)."""
        raise NotImplementedError

    def add_output(self, features: int, num_symbols: int, dictionary_hash: str) -> None:
        """Add the output layer from ``features`` to V symbols, and buffers for the dictionary. Call it last."""
        self.output_projection = nn.Linear(features, num_symbols)
        self.dictionary_hash = dictionary_hash
        # A "row" is an embedding here. The names can't change, because checkpoints have them.
        self.register_buffer("symbol_rows", torch.zeros(num_symbols, dtype=torch.long))
        self.register_buffer("never_predicted", torch.zeros(num_symbols, dtype=torch.bool))
        self.register_buffer("mask_row", torch.zeros((), dtype=torch.long))

    def adopt(self, vocabulary: TeacherVocabulary, output_weights: Tensor | None) -> None:
        """Keep only the embeddings that symbols use, and set the weights that the output layer starts from.

        :param output_weights: weights of the pretrained output layer (P, F) for P pieces. In most models they are the
            embeddings. If None, because they are random, the output layer starts from the embeddings if these have the
            same width, and else from random weights.
        """
        pretrained = self.encoder.get_input_embeddings().weight.detach()
        kept = kept_rows(pretrained, vocabulary)  # (R, E)
        self.encoder.set_input_embeddings(nn.Embedding.from_pretrained(kept.clone(), freeze=False))
        starts = kept if output_weights is None else kept_rows(output_weights.detach(), vocabulary)
        index = torch.from_numpy(np.asarray(vocabulary.embedding_index))  # target symbols first
        with torch.no_grad():
            weight = self.output_projection.weight  # (V, F)
            if starts.size(1) == weight.size(1):
                weight.copy_(starts[index[: len(weight)]])
            self.output_projection.bias.zero_()
        self.symbol_rows = index
        self.never_predicted.copy_(torch.from_numpy(vocabulary.never_predicted))
        self.mask_row.fill_(vocabulary.mask_index)

    def forward(
        self, tokens: Tensor, token_types: Tensor, masked: Tensor, asked: Tensor | None = None
    ) -> Tensor:
        """Return logits at the positions asked for only, sentence by sentence: (M, V).

        Shapes: ``tokens`` (N, S) fairseq ids; ``token_types`` (N, S); ``masked`` (N, S) bool; ``asked`` (N, S) bool,
        of which M are true. If it isn't given, all masked positions are asked for.
        """
        wanted = masked if asked is None else asked
        hidden = self.hidden_states(tokens, token_types, masked, wanted)  # (M, H)
        # A dump in half precision keeps its output layer in float32, where logits need it.
        hidden = hidden.to(self.output_projection.weight.dtype)
        logits = self.output_projection(self.output_features(hidden))  # (M, V)
        return logits.masked_fill(self.never_predicted, float("-inf"))

    def rows_of(self, tokens: Tensor, masked: Tensor) -> Tensor:
        """Return the number of the embedding that each position reads: (N, S)."""
        return self.symbol_rows[tokens].masked_fill(masked, self.mask_row)  # type: ignore[arg-type]

    def config_values(self) -> dict[str, Any]:
        """Return the model's configuration, in which the vocabulary size is the number of embeddings kept."""
        num_rows = self.encoder.get_input_embeddings().num_embeddings
        return {**self.encoder.config.to_dict(), "vocab_size": num_rows}

    def config_json(self) -> str:
        """Return the configuration as JSON, for the checkpoint."""
        return json.dumps(self.config_values(), sort_keys=True)

    @property
    def attention(self) -> str:
        """The implementation of attention that is used."""
        return str(self.encoder.config._attn_implementation)

    def max_positions(self) -> int:
        """Return the model's longest input, as :func:`~bertkd_fairseq.teacher_input.input_length` counts it."""
        return int(self.encoder.config.max_position_embeddings)

    def group_of(self, name: str) -> str:
        """Return the group (:mod:`~bertkd_fairseq.param_groups`) of a parameter that isn't an input embedding."""
        config = self.encoder.config
        inside = next(part for part, module in self.named_children() if module is self.encoder)
        if name.startswith(f"{inside}."):
            return group_in_encoder(name, config.num_hidden_layers)
        return HEAD

    def name_groups(self, *, freeze_embeddings: bool) -> None:
        """Set ``param_group`` of each parameter to its group, and freeze those below the first layer if asked to."""
        rows = self.encoder.get_input_embeddings().weight
        for name, parameter in self.named_parameters():
            group = ROWS if parameter is rows else self.group_of(name)
            parameter.param_group = group
            if freeze_embeddings and group in (ROWS, EMBEDDINGS):
                parameter.requires_grad_(False)

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> None:
        """Resize ``symbol_rows`` to the checkpoint's, which is longer if source and target have two dictionaries."""
        super().upgrade_state_dict_named(state_dict, name)
        if "symbol_rows" in state_dict:
            self.symbol_rows = torch.zeros_like(
                state_dict["symbol_rows"], device=self.symbol_rows.device
            )

    def prepare_for_inference_(self, cfg: Any) -> None:
        """Refuse to translate; fairseq-generate and fairseq-interactive call this.

        :raises ConfigurationError: always.
        """
        hint = "A teacher only fills masks."
        raise ConfigurationError(must_be("--path", "a student's checkpoint", "a teacher's", hint))


def kept_rows(pretrained: Tensor, vocabulary: TeacherVocabulary) -> Tensor:
    """Return the R rows to start from: (R, E). ``pretrained`` (P, E): embeddings or output weights of all pieces."""
    return torch.from_numpy(embedding_rows(pretrained.numpy(), vocabulary.row_pieces))  # (R, E)
