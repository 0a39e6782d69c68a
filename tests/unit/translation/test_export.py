"""Every kind of Transformer that is exported says the same as in fairseq; all others are refused."""

from __future__ import annotations

import importlib.util
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel, transformer_iwslt_de_en

from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.translation.config import ExportConfig
from bertkd_fairseq.translation.export import specification, unknown_to_ctranslate2

SIZES = {"layers": 2, "embed_dim": 16, "ffn_embed_dim": 24, "attention_heads": 2}
KINDS: dict[str, dict[str, Any]] = {
    "the paper's": {"share_all_embeddings": True},
    "two vocabularies": {},
    "tied output alone": {"share_decoder_input_output_embed": True},
    "norms first": {"encoder_normalize_before": True, "decoder_normalize_before": True},
    "norm of embeddings": {"layernorm_embedding": True},
    "learned positions": {"encoder_learned_pos": True, "decoder_learned_pos": True},
    "gelu": {"activation_fn": "gelu"},
    "unscaled embeddings": {"no_scale_embedding": True},
}
needs_ctranslate2 = pytest.mark.skipif(
    importlib.util.find_spec("ctranslate2") is None,
    reason="CTranslate2 isn't installed: pip install 'bertkd-fairseq[export]'",
)


def task(joined: bool) -> Any:
    source, target = Dictionary(), Dictionary()
    for number in range(30):
        source.add_symbol(f"s{number}")
        target.add_symbol(f"{'s' if joined else 't'}{number}")
    return SimpleNamespace(source_dictionary=source, target_dictionary=source if joined else target)


def model(joined: bool = True, **settings: Any) -> tuple[Any, Any]:
    """Return a random model and its task."""
    torch.manual_seed(4)
    sizes = {f"{side}_{k}": n for side in ("encoder", "decoder") for k, n in SIZES.items()}
    args = Namespace(
        **{**sizes, "max_source_positions": 64, "max_target_positions": 64, **settings}
    )
    transformer_iwslt_de_en(args)
    made = task(joined)
    built = TransformerModel.build_model(args, made)
    for parameter in built.parameters():  # biases and norms too
        parameter.data += torch.randn_like(parameter) * (0.1 if parameter.dim() == 1 else 0.4)
    for embeddings in (built.encoder.embed_tokens, built.decoder.embed_tokens):
        torch.nn.init.zeros_(embeddings.weight.data[embeddings.padding_idx])
    return built.eval(), made


@needs_ctranslate2
@pytest.mark.parametrize("kind", KINDS)
def test_both_engines_compute_the_same_probabilities(kind: str, tmp_path: Path) -> None:
    import ctranslate2

    built, made = model(joined=kind == "the paper's", **KINDS[kind])
    assert unknown_to_ctranslate2(built, "--path") == []
    spec = specification(built, made)
    spec.validate()
    spec.optimize(quantization="float32")
    spec.save(str(tmp_path))
    source, target = made.source_dictionary, made.target_dictionary
    prefix = target.symbols[-1][0]
    sources = [[f"s{(i * k) % 30}" for i in range(6)] for k in range(1, 21)]
    targets = [[f"{prefix}{(7 + i * k) % 30}" for i in range(8)] for k in range(1, 21)]
    scored = ctranslate2.Translator(str(tmp_path), intra_threads=1).score_batch(sources, targets)
    found = torch.tensor([result.log_probs for result in scored])  # (N, T), EOS last
    ids = torch.tensor([[*map(source.index, s), source.eos()] for s in sources])
    gold = torch.tensor([[*map(target.index, t), target.eos()] for t in targets])
    before = torch.cat([gold[:, -1:], gold[:, :-1]], dim=1)
    with torch.no_grad():
        logits, _ = built(ids, torch.full((len(ids),), ids.shape[1]), before)
    wanted = logits.log_softmax(-1).gather(-1, gold[..., None])[..., 0]
    assert wanted.std() > 0.5  # they differ from token to token
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"activation_fn": "tanh"}, "--activation-fn tanh"),
        ({"no_token_positional_embeddings": True}, "--no-token-positional-embeddings"),
        (
            {"encoder_normalize_before": True},
            "layer norms before sublayers on one side alone",
        ),
        (
            {"encoder_attention_heads": 4},
            "other numbers of heads in encoder and decoder",
        ),
        ({"adaptive_softmax_cutoff": "10,20"}, "--adaptive-softmax-cutoff"),
        ({"decoder_output_dim": 8}, "an output dimension of its own"),
    ],
)
def test_what_ctranslate2_has_not_got_is_named(settings: dict[str, Any], what: str) -> None:
    built, _ = model(**settings)
    assert unknown_to_ctranslate2(built, "--path") == [
        f"`--path` must be a student that CTranslate2 can compute, but is one with {what} instead. "
        "Translate with fairseq."
    ]


def test_another_model_is_refused() -> None:
    class Other(TransformerModel):
        """A kind of its own."""

    built, _ = model()
    built.__class__ = Other
    with pytest.raises(ConfigurationError) as caught:
        unknown_to_ctranslate2(built, "--path")
    assert str(caught.value) == (
        "`--path` must be a Transformer of fairseq, to be exported, but is a Other instead. "
        "Translate with fairseq."
    )


def test_quantizations_are_ctranslate2s() -> None:
    config = ExportConfig(
        path=Path("x"), data_bin=Path("y"), destdir=Path("new"), quantization="int4"
    )
    assert config.problems() == [
        "`ExportConfig.quantization` must be one of float32, int8, int16, float16, bfloat16, int8_float16, "
        "but is 'int4' instead."
    ]
