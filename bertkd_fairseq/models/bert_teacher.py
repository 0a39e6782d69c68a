"""BERT as a teacher. Its last layer is computed only at the masked positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from bertkd_fairseq.models.cmlm_teacher import CMLMTeacher
from bertkd_fairseq.models.last_layer import last_layer_at
from bertkd_fairseq.param_groups import layer_group

if TYPE_CHECKING:
    from transformers import BertForMaskedLM


class BertCMLMTeacher(CMLMTeacher):
    """A BERT that reads and predicts symbols of the student's dictionary."""

    def __init__(self, bert: BertForMaskedLM, num_symbols: int, dictionary_hash: str) -> None:
        super().__init__()
        self.bert = bert.bert
        layers = self.bert.encoder.layer
        # The last layer is called separately, at the masked positions only.
        self.last_layer = layers[-1]
        self.bert.encoder.layer = layers[:-1]
        self.transform = bert.cls.predictions.transform
        self.add_output(bert.config.hidden_size, num_symbols, dictionary_hash)

    @property
    def encoder(self) -> Any:
        """BERT without its last layer."""
        return self.bert

    def parts_below_head(self) -> list[nn.Module]:
        """Return BERT and its last layer."""
        return [self.bert, self.last_layer]

    def hidden_states(
        self, tokens: Tensor, token_types: Tensor, masked: Tensor, asked: Tensor
    ) -> Tensor:
        """Return the output of BERT's last layer at the positions asked for: (M, H)."""
        # Padding has fairseq's id, 1. A batch without padding needs no attention mask.
        attended = tokens.ne(self.padding_idx)
        output = self.bert(
            input_ids=self.rows_of(tokens, masked),
            token_type_ids=token_types,
            attention_mask=None if bool(attended.all()) else attended.long(),
        )
        return last_layer_at(self.last_layer, output.last_hidden_state, attended, asked)

    def output_features(self, hidden: Tensor) -> Tensor:
        """Return the head's transform of ``hidden``: (M, H)."""
        return self.transform(hidden)

    def group_of(self, name: str) -> str:
        """As in :class:`CMLMTeacher`. The last layer keeps its number."""
        if name.startswith("last_layer."):
            return layer_group(len(self.bert.encoder.layer))
        return super().group_of(name)

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> None:
        """Accept older checkpoints, in which the last layer is in the list of all layers."""
        super().upgrade_state_dict_named(state_dict, name)
        old = f"bert.encoder.layer.{len(self.bert.encoder.layer)}."
        for key in [key for key in state_dict if key.startswith(old)]:
            state_dict[f"last_layer.{key.removeprefix(old)}"] = state_dict.pop(key)
