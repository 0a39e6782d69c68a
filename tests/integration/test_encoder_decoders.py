"""Encoder-decoders of Hugging Face as teachers: tiny random ones, against their own forward pass with labels."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
import transformers

from bertkd_fairseq.dump.config import DumpConfig
from bertkd_fairseq.dump.job import DumpJob
from bertkd_fairseq.topk_store import TopKStore
from tests.conftest import BERTKD, run_command
from tests.integration.conftest import DISTILL, DUMP, STUDENT, logged, train_command
from tests.integration.test_security import Evil

PIECES = 200
TINY = {
    "d_model": 16,
    **{f"{part}_layers": 1 for part in ("encoder", "decoder")},
    **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
    **{f"{part}_ffn_dim": 32 for part in ("encoder", "decoder")},
    **{"vocab_size": 450, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2},
    **{"forced_eos_token_id": None, "max_position_embeddings": 64, "init_std": 0.2},
}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory, miniature_corpus: Path) -> Path:
    """Folder with a SentencePiece model of 200 pieces, and the corpus in them: ``spm.model``, ``{split}.{lang}``."""
    folder = tmp_path_factory.mktemp("pieces")
    files = sorted(map(str, miniature_corpus.glob("train.*")))
    special = {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        input=files, model_prefix=folder / "spm", vocab_size=PIECES, **special
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    for file in miniature_corpus.iterdir():
        lines = model.encode(file.read_text("utf-8").splitlines(), out_type=str)
        (folder / file.name).write_text("".join(" ".join(line) + "\n" for line in lines), "utf-8")
    return folder


@pytest.fixture(scope="module")
def spm_bin(pieces: Path) -> Path:
    """A data-bin of these pieces by fairseq-preprocess alone, with separate dictionaries."""
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--workers", 1]
    command += ["--source-lang", "src", "--target-lang", "tgt"]
    command += ["--trainpref", pieces / "train", "--validpref", pieces / "valid"]
    run_command([*command, "--destdir", pieces / "data-bin"])
    return pieces / "data-bin"


def marian(pieces: Path) -> Any:
    spm = str(pieces / "spm.model")
    return transformers.MarianTokenizer(spm, spm, str(pieces / "vocab.json"))


def m2m_100(pieces: Path) -> Any:
    return transformers.M2M100Tokenizer(str(pieces / "vocab.json"), str(pieces / "spm.model"))


def nllb(pieces: Path) -> Any:
    return transformers.NllbTokenizer(json.loads((pieces / "vocab.json").read_text()), [])


def scored(pieces: Path) -> list[tuple[str, float]]:
    vocabulary = json.loads((pieces / "vocab.json").read_text())
    return [(piece, 0.0) for piece in [*vocabulary, "en_XX", "de_DE"]]


def mbart(pieces: Path) -> Any:
    return transformers.MBartTokenizer(scored(pieces))


def mbart50(pieces: Path) -> Any:
    return transformers.MBart50Tokenizer(scored(pieces))


# Tokenizer, model, languages, and by hand where "X" stands in source and labels.
FAMILIES: dict[str, tuple[Callable[[Path], Any], str, tuple[str, ...], str, str]] = {
    "marian": (marian, "Marian", (), "X </s>", "X </s>"),
    "m2m_100": (m2m_100, "M2M100", ("de", "en"), "__de__ X </s>", "__en__ X </s>"),
    "nllb": (nllb, "M2M100", ("deu_Latn", "eng_Latn"), "deu_Latn X </s>", "eng_Latn X </s>"),
    "mbart": (mbart, "MBart", ("de_DE", "en_XX"), "X </s> de_DE", "X </s> en_XX"),
    "mbart50": (mbart50, "MBart", ("de_DE", "en_XX"), "de_DE X </s>", "en_XX X </s>"),
}


def make(family: str, pieces: Path, folder: Path) -> tuple[Any, Any]:
    """Write a random model of the family to ``folder``; return its tokenizer and model."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(pieces / "spm.model"))
    vocabulary = {model.id_to_piece(i): i for i in range(PIECES)}
    (pieces / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = FAMILIES[family][0](pieces)
    tokenizer.save_pretrained(folder)
    name = FAMILIES[family][1]
    start = {"decoder_start_token_id": 1 if family == "marian" else 2}
    config = getattr(transformers, f"{name}Config")(**TINY, **start)
    torch.manual_seed(1)
    network = getattr(
        transformers, "MarianMTModel" if name == "Marian" else f"{name}ForConditionalGeneration"
    )(config)
    if hasattr(network, "final_logits_bias"):
        network.final_logits_bias.normal_()
    network.eval().save_pretrained(folder)
    return tokenizer, network


def job_of(data_bin: Path, folder: Path, languages: tuple[str, ...], **options: object) -> DumpJob:
    names = ("hf_source_lang", "hf_target_lang")
    given = dict(zip(names, languages, strict=False))
    config = DumpConfig(
        data_bin=str(data_bin),
        path=str(folder),
        destdir="-",
        gen_subset="valid",
        **given,
        **options,
    )
    return DumpJob(config.path, str(data_bin), config.row_settings("fp32", "cpu"))


def lines_of(pieces: Path, lang: str) -> list[list[str]]:
    return [line.split() for line in (pieces / f"valid.{lang}").read_text("utf-8").splitlines()]


def framed(form: str, line: list[str]) -> list[str]:
    """Return ``form`` with a line's pieces in the place of its X."""
    first = form.split().index("X")
    return [*form.split()[:first], *line, *form.split()[first + 1 :]]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_the_models_own(family: str, pieces: Path, spm_bin: Path, tmp_path: Path) -> None:
    tokenizer, model = make(family, pieces, tmp_path)
    _, _, languages, source_form, label_form = FAMILIES[family]
    job = job_of(spm_bin, tmp_path, languages)
    dump = job.dump(torch.device("cpu"))
    batch = dump.copies(range(len(job.target_sizes)))
    ours, _ = dump.log_probs(batch)
    matched = np.flatnonzero(job.teachers[0].can_predict)
    symbols = job.symbols
    vocabulary = tokenizer.get_vocab()
    if family == "m2m_100":
        vocabulary |= tokenizer.lang_token_to_id
    columns = [vocabulary[symbols[i]] for i in matched]
    row = 0
    for source, target in zip(lines_of(pieces, "src"), lines_of(pieces, "tgt"), strict=True):
        inputs, labels = (
            torch.tensor([[vocabulary.get(token, 3) for token in framed(form, line)]])
            for form, line in ((source_form, source), (label_form, target))
        )
        with torch.no_grad():
            logits = model(input_ids=inputs, labels=labels).logits[0]
        first = label_form.split().index("X")
        wanted = logits[first : first + len(target) + 1, columns].log_softmax(1)
        found = ours[row : row + len(target) + 1]
        np.testing.assert_allclose(found[:, matched], wanted, rtol=0, atol=1e-5)
        others = np.delete(found.numpy(), matched, axis=1)
        assert np.isneginf(others).all() and others.shape[1] < 10
        row += len(target) + 1
    assert row == len(ours)


def test_a_symbol_that_is_no_piece_has_no_probability(
    pieces: Path, spm_bin: Path, tmp_path: Path
) -> None:
    """It reads as <unk>; beside another teacher it is counted apart."""
    make("marian", pieces, tmp_path / "hf")
    foreign = tmp_path / "data-bin"
    foreign.mkdir()
    for file in spm_bin.iterdir():
        (foreign / file.name).write_bytes(file.read_bytes())
    words = (foreign / "dict.tgt.txt").read_text("utf-8").split("\n")
    words[4] = f"foreign {words[4].split()[1]}"
    (foreign / "dict.tgt.txt").write_text("\n".join(words), "utf-8")
    make("marian", pieces, tmp_path / "other")
    job = job_of(foreign, f"{tmp_path}/hf:{tmp_path}/other", ())
    assert (
        job.teachers[0].facts["unmatched"]
        == job_of(spm_bin, tmp_path / "hf", ()).teachers[0].facts["unmatched"] + 1
    )
    dump = job.dump(torch.device("cpu"))
    batch = dump.copies(range(len(job.target_sizes)))
    log_probs, scores = dump.log_probs(batch)
    gold = np.concatenate([pair.target for pair in batch])
    assert (gold == 8).any()
    assert torch.isneginf(log_probs[:, 8]).all()
    np.testing.assert_allclose(log_probs.exp().sum(1), 1, rtol=1e-5)
    assert [score.all.impossible for score in scores] == [(gold == 8).sum()] * 3
    rows, _ = dump.scored_block(range(len(job.target_sizes)), lambda tokens: None)
    assert not np.isnan(rows.logprobs).any()


def test_a_student_trains_from_such_a_store(pieces: Path, spm_bin: Path, tmp_path: Path) -> None:
    make("nllb", pieces, tmp_path / "hf")
    languages = ["--hf-source-lang", "deu_Latn", "--hf-target-lang", "eng_Latn"]
    dump = [*DUMP, spm_bin, "--path", tmp_path / "hf", "--destdir", tmp_path / "topk"]
    run_command([*dump, *languages])
    store = TopKStore.open(tmp_path / "topk")
    (facts,) = store.meta["teachers"]
    assert facts["kind"] == "encoder-decoder"
    assert (facts["arch"], facts["weight"]) == ("M2M100ForConditionalGeneration", 1.0)
    assert facts["languages"] == ["deu_Latn", "eng_Latn"]
    assert (store.meta["source_lang"], store.meta["target_lang"]) == ("src", "tgt")
    student = [option for option in STUDENT if option != "--share-all-embeddings"]
    options = ("--teacher-topk", tmp_path / "topk", "--max-update", 2, "--no-save")
    output = run_command(train_command(spm_bin, *student, *DISTILL, *options), cwd=tmp_path).stdout
    assert [line["kd_loss"] > 0 for line in logged(output)] == [True, True]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: torch.save({"x": Evil(folder / "sprung")}, folder / "pytorch_model.bin"),
            "`--path` must be a folder with config.json, weights and tokenizer, but {hf} can't be loaded: Weights only "
            "load failed. *",
        ),
        (
            lambda folder: None,
            "`--path` must be a folder with config.json, weights and tokenizer, but {hf} can't be loaded: *",
        ),
        (
            lambda folder: (folder / "config.json").write_text(
                '{"model_type": "bert", "auto_map": {"AutoConfig": "evil.Config"}}'
            ),
            "`--path` must be folders of encoder-decoders (marian, m2m_100, mbart), but is {hf}, whose model_type is "
            "bert, instead.",
        ),
        (
            lambda folder: (folder / "config.json").unlink(),
            "`--path` must be checkpoints, or folders with config.json, weights and tokenizer of an encoder-decoder, "
            "but is {hf}, whose config.json can't be read (No such file or directory), instead.",
        ),
    ],
    ids=["evil", "no weights", "encoder", "no config"],
)
def test_a_folder_that_is_no_teacher(
    spoil: Callable[[Path], Any], message: str, pieces: Path, spm_bin: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "hf"
    make("marian", pieces, folder)
    (folder / "model.safetensors").unlink()
    spoil(folder)
    refused(spm_bin, folder, [], message.format(hf=folder))
    assert not (folder / "sprung").exists()


def test_languages_and_pieces_must_be_the_teachers(
    pieces: Path, spm_bin: Path, data_bin: Path, tmp_path: Path
) -> None:
    make("nllb", pieces, tmp_path / "nllb")
    make("marian", pieces, tmp_path / "marian")
    some = "a language of the teacher, such as ace_Arab, ace_Latn, acm_Arab"
    refused(
        spm_bin,
        tmp_path / "nllb",
        ["--hf-source-lang", "de"],
        f"2 problems:\n  1. `--hf-source-lang` must be {some}, but is de instead.\n"
        f"  2. `--hf-target-lang` must be {some}, but is missing instead.",
    )
    no_meaning = "has no meaning without a multilingual teacher of Hugging Face. Leave it out."
    refused(
        spm_bin, tmp_path / "marian", ["--hf-target-lang", "en"], f"--hf-target-lang {no_meaning}"
    )
    refused(
        data_bin,
        tmp_path / "marian",
        [],
        "2 problems:\n  1. At least two thirds of the symbols of the source dictionary must be pieces of "
        f"{tmp_path}/marian, but *",
    )


def refused(data_bin: Path, folder: Path, options: list[str], message: str) -> None:
    """Check that the dump ends in one message; what follows a ``*`` is another program's words."""
    dest = folder.parent / "topk"
    command = [*BERTKD, "dump-topk", data_bin, "--path", folder, "--destdir", dest, *options]
    done = run_command(command, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    said = done.stderr.partition("error: ")[2]
    beginning, star, _ = message.partition("*")
    assert said.startswith(beginning) if star else said == f"{message}\n"
    assert not dest.exists()
