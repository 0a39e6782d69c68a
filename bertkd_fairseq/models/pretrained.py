"""Load masked language models of transformers from a folder, from the hub, or by a checkpoint's own configuration."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertkd_fairseq.compat import hide_broken_torchaudio
from bertkd_fairseq.errors import ConfigurationError, must_be
from bertkd_fairseq.hub import announce, loading_problem
from bertkd_fairseq.models.masked_lm_teacher import output_layer

log = logging.getLogger(__name__)

OPTION = "--bert-model"
_DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"),
    *("embedding_dropout", "mlp_dropout"),
)
"""Names that the families' configurations have for dropout, between layers and on attention."""

# transformers has two heads for DeBERTa, which compute the same. Published checkpoints have the names of the head that
# it builds only with `legacy: false`, whose output layer is the embeddings themselves. This maps them to the other
# head, so that all teachers have that one.
_DEBERTA_HEAD = {
    r"^lm_predictions\.lm_head\.(dense|LayerNorm)": r"cls.predictions.transform.\1",
    r"^lm_predictions\.lm_head\.bias": "cls.predictions.bias",
}


@dataclass(frozen=True)
class ModelOptions:
    """Options that replace those of a pretrained configuration: transformers' attention, and dropout if given."""

    attention: str
    dropout: float | None

    def apply_to(self, config: Any, model_class: Any) -> Any:
        """Set the options in ``config`` and return it. A family without ``sdpa`` gets ``eager`` attention."""
        attention = self.attention
        if attention == "sdpa" and not model_class._supports_sdpa:
            log.info("attention: eager, since transformers has no other for %s", config.model_type)
            attention = "eager"
        config._attn_implementation = attention
        if self.dropout is not None:
            for name in _DROPOUTS:
                if hasattr(config, name):
                    setattr(config, name, self.dropout)
        return config


@dataclass(frozen=True)
class Pretrained:
    """A masked language model. ``output_weights``: those of its output layer (P, F), or None if they are random."""

    model: Any
    output_weights: Tensor | None


def refused(model_type: str, why: str = "") -> ConfigurationError:
    """Return the error for a model of a type that can't be a teacher; ``why`` ends the clause about it."""
    wanted = "a masked language model, an encoder such as BERT, RoBERTa or DeBERTa"
    return ConfigurationError(must_be(OPTION, wanted, f"a {model_type}{why}"))


def load_pretrained(name: str, options: ModelOptions) -> Pretrained:
    """Return the model in folder ``name``, or of that name on the hub, in float32. Code of the model is never run.

    :raises ConfigurationError: if it can't be loaded, or isn't a masked language model.
    """
    hide_broken_torchaudio()
    from transformers import AutoConfig

    announce(name)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # OSError, ValueError, and any error that a damaged file causes
        raise _not_loaded(name, error) from error
    model_class = _model_class(config)
    try:
        model, info = model_class.from_pretrained(
            name,
            config=options.apply_to(config, model_class),
            output_loading_info=True,
            dtype=torch.float32,
            key_mapping=_DEBERTA_HEAD if hasattr(config, "legacy") else None,
        )
    except Exception as error:
        raise _not_loaded(name, error) from error
    return Pretrained(model, _trained_output(model, name, set(info["missing_keys"])))


def from_config(values: dict[str, Any], options: ModelOptions) -> Any:
    """Return an untrained model in float32, by the configuration in a teacher's checkpoint.

    :raises ConfigurationError: if this version of transformers has no such model.
    """
    hide_broken_torchaudio()
    from transformers import CONFIG_MAPPING, __version__

    model_type = values["model_type"]
    if model_type not in CONFIG_MAPPING:
        wanted = f"a version that has {model_type}, which the teacher is"
        raise ConfigurationError(must_be("transformers", wanted, __version__, "Upgrade it."))
    config = CONFIG_MAPPING[model_type].from_dict(values)
    model_class = _model_class(config)
    return model_class(options.apply_to(config, model_class))


def _model_class(config: Any) -> Any:
    """Return the class of the masked language model for ``config``.

    :raises ConfigurationError: if there is none.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    if config.is_encoder_decoder or type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise refused(config.model_type)
    if getattr(config, "is_decoder", False):
        raise refused(config.model_type, " that reads from left to right (is_decoder)")
    if hasattr(config, "legacy"):
        config.legacy = True  # see _DEBERTA_HEAD
    return MODEL_FOR_MASKED_LM_MAPPING[type(config)]


def _trained_output(model: Any, name: str, missing: set[str]) -> Tensor | None:
    """Log which weights start from random values. Return those of the output layer, or None if they are random."""
    try:
        output, layer = output_layer(model)
    except ValueError as error:
        raise refused(model.config.model_type, f": {error},") from error
    parent = output.rpartition(".")[0]
    of_output = {f"{output}.weight", f"{output}.bias", f"{parent}.bias"}
    fresh = sorted(missing - of_output)
    in_encoder = [key for key in fresh if key.startswith(f"{model.base_model_prefix}.")]
    in_head = [key for key in fresh if key not in in_encoder]
    if in_head:
        log.warning("%s has no MLM head: %s start from random values", name, ", ".join(in_head))
    if in_encoder:
        log.warning("%s lacks %s, which start from random values", name, ", ".join(in_encoder))
    return None if f"{output}.weight" in missing else layer.weight.detach()


def _not_loaded(name: str, error: Exception) -> ConfigurationError:
    if "trust_remote_code" in str(error):
        wanted, seen = "a model that transformers knows", f"{name}, which brings code of its own,"
        return ConfigurationError(must_be(OPTION, wanted, seen, "Such code is never run."))
    if "ignore_mismatched_sizes" in str(error):  # transformers' advice doesn't help here
        error = ValueError("its weights don't have the sizes of its config.json")
    return ConfigurationError(loading_problem(OPTION, name, "config.json and weights", error))
