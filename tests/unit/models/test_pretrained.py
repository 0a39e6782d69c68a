"""Pretrained models: which are taken, what their tokenizers have to be, and that none runs code of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.models import pretrained
from bertkd_fairseq.models.pretrained import ModelOptions, load_pretrained
from tests.families import FAMILIES, make_model

SYMBOLS = 30
OPTIONS = ModelOptions("sdpa", None)


def write_config(folder: Path, **values: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ({"model_type": "gpt2"}, "a gpt2"),
        ({"model_type": "t5"}, "a t5"),
        # transformers has a masked language model for these; they generate all the same.
        ({"model_type": "bart"}, "a bart"),
        ({"model_type": "mbart"}, "a mbart"),
        (
            {"model_type": "roberta", "is_decoder": True},
            "a roberta that reads from left to right (is_decoder)",
        ),
    ],
)
def test_what_is_no_masked_language_model_is_refused(
    values: dict[str, Any], seen: str, tmp_path: Path
) -> None:
    folder = write_config(tmp_path / "model", **values)
    with pytest.raises(ConfigurationError) as error:
        load_pretrained(str(folder), OPTIONS)
    assert str(error.value) == (
        "`--bert-model` must be a masked language model, an encoder such as BERT, RoBERTa or DeBERTa, "
        f"but is {seen} instead."
    )


class Evil:
    """Makes a folder as soon as it is unpickled without protection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"mkdir '{self.folder}'",)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_malicious_weights_are_refused(name: str, tmp_path: Path) -> None:
    folder, sprung = tmp_path / "model", tmp_path / "sprung"
    make_model(FAMILIES[name]).save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Evil(sprung)}, folder / "pytorch_model.bin")
    with pytest.raises(ConfigurationError) as error:
        load_pretrained(str(folder), OPTIONS)
    assert not sprung.exists()
    assert str(error.value).startswith(
        "`--bert-model` must be a folder with config.json and weights, "
        f"but {folder} can't be loaded: Weights only load failed."
    )
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert sprung.is_dir(), "the trap springs where nothing protects"


def test_weights_in_a_harmless_pickle_are_read(tmp_path: Path) -> None:
    stock = make_model(FAMILIES["roberta"])
    stock.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(stock.state_dict(), tmp_path / "pytorch_model.bin")
    found = load_pretrained(str(tmp_path), OPTIONS)
    for name, value in stock.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value), name


def test_a_models_own_code_is_never_run(tmp_path: Path) -> None:
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForMaskedLM": "own.OwnModel"}
    folder = write_config(tmp_path / "model", model_type="own", auto_map=classes)
    sprung = tmp_path / "sprung"
    (folder / "own.py").write_text(f"import os; os.mkdir({str(sprung)!r})", "utf-8")
    with pytest.raises(ConfigurationError) as error:
        load_pretrained(str(folder), OPTIONS)
    assert not sprung.exists()
    assert str(error.value) == (
        "`--bert-model` must be a model that transformers knows, "
        f"but is {folder}, which brings code of its own, instead. Such code is never run."
    )


def test_code_beside_a_known_model_is_left_alone(tmp_path: Path) -> None:
    stock = make_model(FAMILIES["roberta"])
    stock.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["auto_map"] = {"AutoConfig": "own.Own", "AutoModelForMaskedLM": "own.Own"}
    write_config(tmp_path, **config)
    (tmp_path / "own.py").write_text("raise RuntimeError", "utf-8")
    found = load_pretrained(str(tmp_path), OPTIONS)
    assert type(found.model) is type(stock)
    # Nor where a checkpoint brings the same configuration.
    model = pretrained.from_config({**found.model.config.to_dict(), **config}, OPTIONS)
    assert type(model) is type(stock)


def test_an_encoder_that_lacks_weights_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stock = make_model(FAMILIES["roberta"])
    state = stock.state_dict()
    gone = "roberta.encoder.layer.1.output.dense.bias"
    del state[gone]
    stock.save_pretrained(tmp_path, state_dict=state)
    load_pretrained(str(tmp_path), OPTIONS)
    assert f"{tmp_path} lacks {gone}, which start from random values" in caplog.messages


def test_a_checkpoint_of_a_newer_transformers_says_so() -> None:
    from transformers import __version__

    with pytest.raises(ConfigurationError) as error:
        pretrained.from_config({"model_type": "tomorrows"}, OPTIONS)
    assert str(error.value) == (
        "`transformers` must be a version that has tomorrows, which the teacher is, "
        f"but is {__version__} instead. Upgrade it."
    )
