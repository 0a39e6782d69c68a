"""What people do to files by mistake and no line of shell can: each function spoils something in a folder.

What a function returns is kept until the command has ended.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models

from bertkd_fairseq.analysis.compare.generated import parse_generated
from bertkd_fairseq.compat import load_safely
from bertkd_fairseq.text.data_bin import read_binarized
from bertkd_fairseq.text.lines import read_lines, write_lines


def make_tokenizer_bpe(folder: Path) -> None:
    """Give BERT's folder a tokenizer that isn't WordPiece."""
    Tokenizer(models.BPE({"a": 0}, [])).save(str(folder / "bert" / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "bert" / "tokenizer_config.json").write_text(json.dumps(settings))


def take_pieces_from_bert(folder: Path) -> None:
    """A BERT of another script: its pieces have other names."""
    file = folder / "bert" / "tokenizer.json"
    tokenizer = json.loads(file.read_text("utf-8"))
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokenizer["model"]["vocab"] = {
        piece if piece in special else f"\u3042{piece}": index
        for piece, index in tokenizer["model"]["vocab"].items()
    }
    file.write_text(json.dumps(tokenizer), "utf-8")


def number_the_dictionary(folder: Path) -> None:
    """A data-bin of fairseq's --bpe gpt2, whose symbols are numbers."""
    (folder / "data-bin" / "bertkd.json").unlink()
    for lang in ("src", "tgt"):
        file = folder / "data-bin" / f"dict.{lang}.txt"
        lines = read_lines(file)
        write_lines(file, [f"{i} {line.split()[1]}" for i, line in enumerate(lines)])


def shuffle_tokenizer_of_data_bin(folder: Path) -> None:
    """As if the data-bin's tokenizer had been exchanged."""
    _reverse_ids(folder / "data-bin" / "tokenizer" / "tokenizer.json")


def _reverse_ids(file: Path) -> None:
    tokenizer = json.loads(file.read_text("utf-8"))
    ids = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"]}
    pieces = [piece for piece in ids if piece not in special]
    reverse = dict(zip(pieces, [ids[piece] for piece in reversed(pieces)], strict=True))
    tokenizer["model"]["vocab"] = {**ids, **reverse}
    file.write_text(json.dumps(tokenizer), "utf-8")


def shrink_bert(folder: Path) -> None:
    """A BERT of 200 pieces instead of 400, without a tokenizer that would tell."""
    from safetensors.torch import load_file, save_file

    config = json.loads((folder / "bert" / "config.json").read_text())
    weights = load_file(folder / "bert" / "model.safetensors")
    size = config["vocab_size"]
    cut = {k: v[:200].contiguous() if v.shape[0] == size else v for k, v in weights.items()}
    save_file(cut, folder / "bert" / "model.safetensors", metadata={"format": "pt"})
    config["vocab_size"] = 200
    (folder / "bert" / "config.json").write_text(json.dumps(config))


def save_other_checkpoint(folder: Path) -> None:
    """Write other.pt as some other program might."""
    torch.save({"weights": torch.ones(2)}, folder / "other.pt")


def swap_sentences(folder: Path) -> None:
    """The same training pairs in another order: the fourth and the sixth change places."""
    for lang in ("src", "tgt"):
        prefix = folder / "data-bin" / f"train.src-tgt.{lang}"
        sizes, tokens = read_binarized(prefix)
        sentences = np.split(tokens, np.cumsum(sizes)[:-1])
        sentences[3], sentences[5] = sentences[5], sentences[3]
        _write_binarized(prefix, sentences)


def change_a_source(folder: Path) -> None:
    """Another symbol in the source of sentence 17: lengths and dictionaries stay."""
    prefix = folder / "data-bin" / "train.src-tgt.src"
    sizes, tokens = read_binarized(prefix)
    tokens[sizes[:17].sum()] ^= 1
    tokens.tofile(f"{prefix}.bin")


def _write_binarized(prefix: Path, sentences: list[np.ndarray]) -> None:
    from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

    builder = MMapIndexedDatasetBuilder(f"{prefix}.bin", dtype=sentences[0].dtype.type)
    for sentence in sentences:
        builder.add_item(torch.from_numpy(sentence.astype(np.int64)))
    builder.finalize(f"{prefix}.idx")


def save_other_students(folder: Path) -> None:
    """Write what student.pt would be with another task or other languages, trained on the folder ``before``."""
    others = {
        "lm": {"_name": "language_modeling"},
        "straight": {"source_lang": "src", "target_lang": "tgt"},
        "turned": {"source_lang": "tgt", "target_lang": "src"},
        "foreign": {"source_lang": "fr", "target_lang": "tgt"},
    }
    for name, settings in others.items():
        state = load_safely(folder / "student.pt")
        state["cfg"]["task"] |= {"data": str(folder / "before"), **settings}
        torch.save(state, folder / f"{name}.pt")


def write_output_of_another_split(folder: Path) -> None:
    """Write other.out: as many translations as the test split has sentences, but of others."""
    targets = reversed(read_lines(folder / "data-bin" / "tokenized" / "test.tgt"))
    lines = [(f"T-{i}\t{line}", f"H-{i}\t-1.0\t{line}") for i, line in enumerate(targets)]
    write_lines(folder / "other.out", [line for pair in lines for line in pair])


def keep_the_first_of_each_list(folder: Path) -> None:
    """Write first.out: test.out as without --nbest."""
    found = parse_generated(read_lines(folder / "test.out")).values()
    lists = [replace(one, hypotheses=one.hypotheses[:1]) for one in found]
    write_lines(folder / "first.out", [line for one in lists for line in one.lines()])


def turn_the_lists_round(folder: Path) -> None:
    """Write turned.out: as many lists as test.out has, but of others' sentences."""
    found = parse_generated(read_lines(folder / "test.out"))
    lists = [replace(one, number=len(found) - 1 - one.number) for one in found.values()]
    write_lines(folder / "turned.out", [line for one in lists for line in one.lines()])


class Held:
    """A folder that another process is writing into, until this goes."""

    def __init__(self, folder: Path) -> None:
        self.descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def __del__(self) -> None:
        os.close(self.descriptor)


def hold_save_dir(folder: Path) -> object:
    """Be another training that writes into the folder ``save``."""
    return Held(folder / "save")
