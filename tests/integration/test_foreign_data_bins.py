"""Data-bins that only the tools of their scheme and fairseq-preprocess have made, through every stage."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from bertkd_fairseq.dump.rows import top_rows
from bertkd_fairseq.tasks.checkpoint import load_checkpoint
from bertkd_fairseq.topk_store import TopKStore
from tests.conftest import BERTKD, USER_DIR, fairseq_command, run_command
from tests.families import FAMILIES, ROBERTA_IDS, hugging_face_logits, make_model, stock_model
from tests.integration.conftest import DISTILL, DUMP, STUDENT, TEACHER, train_command

SPLITS = ("train", "valid", "test")
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ROBERTA_NAMES = dict(
    zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIALS, strict=True)
)


@dataclass(frozen=True)
class Foreign:
    """A kind of data-bin: its scheme, how fairseq keeps it, and the kind of model that teaches."""

    scheme: str
    dataset_impl: str
    joined: bool
    padding_factor: int
    family: str


KINDS = {
    "bpe": Foreign("bpe", "cached", joined=False, padding_factor=1, family="bert"),
    "sentencepiece": Foreign(
        "sentencepiece", "mmap", joined=True, padding_factor=8, family="xlm-roberta"
    ),
    "gpt2": Foreign("gpt2", "raw", joined=True, padding_factor=64, family="roberta"),
    "words": Foreign("words", "lazy", joined=False, padding_factor=8, family="bert"),
}


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq makes ./checkpoints even with --no-save."""
    monkeypatch.chdir(tmp_path_factory.mktemp("scratch"))


def byte_level(lines: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=alphabet, special_tokens=SPECIALS, show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def unigram(lines: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def make_teacher_folder(family: str, folder: Path, lines: list[str], tiny_bert: Path) -> Path:
    """Return a folder with a random model and a tokenizer that the data-bin knows nothing of."""
    if family == "bert":
        return tiny_bert
    tokenizer = {"roberta": byte_level, "xlm-roberta": unigram}[family](lines)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROBERTA_NAMES).save_pretrained(folder)
    ids = {**ROBERTA_IDS, "mask": 4}
    pieces = tokenizer.get_vocab_size()
    model = make_model(
        replace(FAMILIES[family], ids=ids), vocab_size=pieces, max_position_embeddings=64
    )
    model.save_pretrained(folder)
    return folder


def cut(scheme: str, train: list[str], folder: Path) -> Any:
    """Return what cuts a line, by the library of the scheme; ``folder`` is for its model."""
    if scheme == "bpe":
        from subword_nmt.apply_bpe import BPE
        from subword_nmt.learn_bpe import learn_bpe

        codes = io.StringIO()
        learn_bpe(io.StringIO("\n".join(train)), codes, 150)
        codes.seek(0)
        return BPE(codes).process_line
    if scheme == "sentencepiece":
        import sentencepiece

        model = folder / "sentencepiece"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(train), model_prefix=str(model), vocab_size=200, minloglevel=2
        )
        processor = sentencepiece.SentencePieceProcessor(model_file=f"{model}.model")
        return lambda line: " ".join(processor.encode(line, out_type=str))
    if scheme == "gpt2":
        tokenizer = byte_level(train)
        (folder / "encoder.json").write_text(json.dumps(tokenizer.get_vocab()), "utf-8")
        return lambda line: " ".join(map(str, tokenizer.encode(line).ids))
    return lambda line: line


def preprocess(kind: Foreign, corpus: Path, folder: Path) -> Path:
    lines = {
        (split, lang): (corpus / f"{split}.{lang}").read_text("utf-8").splitlines()
        for split in SPLITS
        for lang in ("src", "tgt")
    }
    cut_line = cut(kind.scheme, lines["train", "src"] + lines["train", "tgt"], folder)
    for (split, lang), text in lines.items():
        symbols = "".join(f"{cut_line(line)}\n" for line in text)
        (folder / f"{split}.{lang}").write_text(symbols, "utf-8")
    command = [
        sys.executable,
        "-m",
        "fairseq_cli.preprocess",
        "-s",
        "src",
        "-t",
        "tgt",
        "--destdir",
        folder / "bin",
    ]
    for split in SPLITS:
        command += [f"--{split}pref", folder / split]
    command += ["--dataset-impl", kind.dataset_impl, "--padding-factor", kind.padding_factor]
    run_command([*command, *(["--joined-dictionary"] if kind.joined else [])])
    return folder / "bin"


@pytest.mark.parametrize("name", KINDS)
def test_every_stage(name: str, tmp_path: Path, miniature_corpus: Path, tiny_bert: Path) -> None:
    kind = KINDS[name]
    lines = (miniature_corpus / "train.src").read_text("utf-8").splitlines()
    model = make_teacher_folder(kind.family, tmp_path / "model", lines, tiny_bert)
    data_bin = preprocess(kind, miniature_corpus, tmp_path)
    options: list[object] = [*TEACHER, "--bert-model", model, "--max-update", 10]
    if kind.scheme == "gpt2":
        options += ["--encoder-json", tmp_path / "encoder.json"]
    done = run_command(
        train_command(data_bin, *options, "--save-dir", tmp_path, "--no-epoch-checkpoints")
    )
    assert f"dict.tgt.txt: {kind.scheme} symbols, in pieces of {model}: " in done.stdout
    assert ("dict.src.txt: " in done.stdout) == (not kind.joined)

    topk, checkpoint = tmp_path / "topk", tmp_path / "checkpoint_last.pt"
    run_command([*DUMP, data_bin, "--path", checkpoint, "--destdir", topk, "--topk", 4])
    check_rows(kind, checkpoint, data_bin, TopKStore.open(topk))

    inspected = run_command([*BERTKD, "inspect", topk, "--data-bin", data_bin]).stdout
    assert "gold token is the teacher's first" in inspected

    student = [option for option in STUDENT if option != "--share-all-embeddings"]
    saving = ("--save-dir", tmp_path / "student", "--no-epoch-checkpoints", "--max-update", 2)
    workers = ("--num-workers", 2)  # which read the same file
    run_command(
        train_command(data_bin, *student, *DISTILL, "--teacher-topk", topk, *saving, *workers)
    )
    generate = [*fairseq_command("generate"), data_bin, "--user-dir", USER_DIR, "--beam", 1]
    generate += ["--task", "translation_bert_kd", "--path", tmp_path / "student/checkpoint_last.pt"]
    generate += ["--max-len-b", 5, "--required-batch-size-multiple", 1]
    hypotheses = [
        line for line in run_command(generate).stdout.splitlines() if line.startswith("H-")
    ]
    assert len(hypotheses) == 61


def check_rows(kind: Foreign, checkpoint: Path, data_bin: Path, store: TopKStore) -> None:
    """Compare rows with transformers' own pass over input that is put together by hand."""
    teacher, task = load_checkpoint(str(checkpoint), str(data_bin))
    teacher.eval()
    stock, family = stock_model(teacher), FAMILIES[kind.family]
    num_target = len(task.target_dictionary)
    assert teacher.output_projection.out_features == num_target
    num_source = 0 if kind.joined else len(task.source_dictionary)
    assert len(teacher.symbol_rows) == num_target + num_source
    pairs = task.load_pairs(str(data_bin), "train")
    for sentence in (0, 123, 599):
        source = pairs.src[sentence] + (0 if kind.joined else num_target)
        target = pairs.tgt[sentence]
        rows = teacher.symbol_rows[torch.cat([torch.tensor([0]), source, target])]
        types = torch.cat([torch.zeros(1 + len(source)), torch.ones(len(target))]).long()
        positions = np.arange(1, len(target), 7)
        rows[1 + len(source) + positions] = teacher.mask_row
        whole = hugging_face_logits(
            family, stock, rows[None], types[None], torch.ones_like(types)[None]
        )[0, 1 + len(source) + positions]
        wanted = top_rows(
            whole.masked_fill(teacher.never_predicted, float("-inf")), 4, target[positions]
        )
        ids, logprobs = store.sentence(sentence)
        np.testing.assert_array_equal(ids[positions], wanted.ids)
        np.testing.assert_allclose(logprobs[positions], wanted.logprobs, atol=2e-3)
