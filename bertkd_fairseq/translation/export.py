"""A student of fairseq as a model of CTranslate2.

``ct2-fairseq-converter`` does the same for the checkpoints that it knows. Here the checkpoint is read by the one path
that runs no code from it, settings may be those of ``fairseq-hydra-train``, what can't be exported is told in one
message, and the folder comes out whole, with what makes symbols of raw text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bertkd_fairseq.errors import ConfigurationError, must_be, raise_all
from bertkd_fairseq.files import hash_file, new_folder
from bertkd_fairseq.installed import versions
from bertkd_fairseq.settings import named
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.translation.config import ExportConfig
from bertkd_fairseq.translation.engines import import_ctranslate2, load_student
from bertkd_fairseq.translation.exported import EXPORT, write_text_settings


def export(config: ExportConfig) -> Path:
    """Write the student of ``config.path`` to ``config.destdir`` for CTranslate2, and return that folder.

    :raises ConfigurationError: with every setting that can't work; for a model that CTranslate2 hasn't got.
    :raises BertKDError: if checkpoint or data-bin can't be read or don't fit each other.
    :raises OutputError: if the folder can't be written.
    """
    raise_all(config.problems())
    import_ctranslate2()
    data_bin = DataBin.open(config.data_bin)
    model, task = load_student(config.path, data_bin, named(config, "path"))
    raise_all(unknown_to_ctranslate2(model, named(config, "path")))
    spec = specification(model, task)
    spec.validate()
    spec.optimize(quantization=config.quantization)
    source, target = model.max_positions()
    facts = {
        "quantization": config.quantization,
        "checkpoint_sha256": hash_file(config.path),
        "max_positions": {"source": source, "target": target},
        "versions": versions("ctranslate2", "fairseq-fixed", "torch"),
    }
    with new_folder(config.destdir, EXPORT, force=config.force) as folder:
        spec.save(str(folder))
        write_text_settings(data_bin, folder, facts)
    return config.destdir


def _activations() -> dict[str, Any]:
    from ctranslate2.specs.common_spec import Activation

    return {"relu": Activation.RELU, "gelu": Activation.GELU}


def unknown_to_ctranslate2(model: Any, option: str) -> list[str]:
    """Return a message for everything of ``model`` that CTranslate2 would compute otherwise, or not at all.

    :param option: what messages call the setting that names the checkpoint.
    :raises ConfigurationError: if it is no Transformer at all.
    """
    from fairseq.models.transformer import TransformerModel, TransformerModelBase

    hint = "Translate with fairseq."
    if type(model) not in (TransformerModel, TransformerModelBase):
        wanted = "a Transformer of fairseq, to be exported"
        raise ConfigurationError(must_be(option, wanted, f"a {type(model).__name__}", hint))
    cfg = _transformer_config(model)
    wrong = {
        f"--activation-fn {cfg.activation_fn}": str(cfg.activation_fn) not in _activations(),
        "--no-token-positional-embeddings": cfg.no_token_positional_embeddings,
        "--no-cross-attention": cfg.no_cross_attention,
        "--cross-self-attention": cfg.cross_self_attention,
        "--adaptive-softmax-cutoff": bool(cfg.adaptive_softmax_cutoff),
        "an output dimension of its own": cfg.decoder.output_dim != cfg.decoder.embed_dim,
        "an input dimension of its own": cfg.decoder.input_dim != cfg.decoder.embed_dim,
        "layer norms before sublayers on one side alone": (
            cfg.encoder.normalize_before != cfg.decoder.normalize_before
        ),
        "other numbers of heads in encoder and decoder": (
            cfg.encoder.attention_heads != cfg.decoder.attention_heads
        ),
    }
    wanted = "a student that CTranslate2 can compute"
    return [must_be(option, wanted, f"one with {what}", hint) for what, bad in wrong.items() if bad]


def _transformer_config(model: Any) -> Any:
    from fairseq.models.transformer import TransformerConfig

    return TransformerConfig.from_namespace(model.cfg)


def specification(model: Any, task: Any) -> Any:
    """Return the model as CTranslate2 describes one (a ``TransformerSpec``), with weights and vocabularies."""
    import torch
    from ctranslate2.converters import fairseq as layers
    from ctranslate2.specs import TransformerSpec

    cfg = _transformer_config(model)
    spec = TransformerSpec.from_config(
        (cfg.encoder.layers, cfg.decoder.layers),
        cfg.encoder.attention_heads,
        pre_norm=cfg.encoder.normalize_before,
        activation=_activations()[str(cfg.activation_fn)],
        layernorm_embedding=cfg.layernorm_embedding,
    )
    with torch.no_grad():
        layers.set_transformer_encoder(spec.encoder, model.encoder)
        layers.set_transformer_decoder(spec.decoder, model.decoder)
    spec.register_source_vocabulary(_vocabulary(task.source_dictionary))
    spec.register_target_vocabulary(_vocabulary(task.target_dictionary))
    # fairseq begins a translation with EOS, and ends every source with it.
    spec.config.decoder_start_token = spec.config.eos_token
    spec.config.add_source_eos = True
    return spec


def _vocabulary(dictionary: Any) -> list[str]:
    return ["<blank>" if symbol == "<pad>" else symbol for symbol in dictionary.symbols]
