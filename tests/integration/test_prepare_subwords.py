"""``bertkd prepare`` with symbols that are learnt, tokenised text, and lines that tools like to spoil."""

from __future__ import annotations

from pathlib import Path

import pytest
from fairseq.data import Dictionary
from fairseq.data.data_utils import post_process

from bertkd_fairseq.data.encoders import BertKDMoses, BertKDMosesConfig
from bertkd_fairseq.text.data_bin import DataBin, read_binarized
from bertkd_fairseq.text.lines import read_lines, write_lines
from bertkd_fairseq.text.moses import MosesText
from bertkd_fairseq.text.prepare import PrepareConfig, Prepared, prepare
from bertkd_fairseq.text.raw import RawText

# Tags, right-to-left text, combining marks, emoji of several characters, text that looks like symbols.
HARD = [
    "<2de> a dog sleeps .",
    ">>deu<< __de__ a dog",
    "هذا كلب صغير جدا .",
    "זה כלב קטן",
    "cafe\u0301 man\u0303ana",
    "two \U0001f469\u200d\U0001f467 and \U0001f3f3\ufe0f\u200d\U0001f308",
    "un@@ ##ing x@@",
    "&apos; &amp; <unk> </s>",
    "3,000 e-mails at 5:30 ?",
    "私 は 犬 が 好き です",
]
SCHEMES = ("wordpiece", "bpe", "sentencepiece")


@pytest.fixture(scope="module", params=[False, True], ids=["raw", "tokenized"])
def tokenized(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module", params=SCHEMES)
def prepared(
    request: pytest.FixtureRequest,
    tokenized: bool,
    tmp_path_factory: pytest.TempPathFactory,
    miniature_corpus: Path,
    tiny_bert: Path,
) -> Prepared:
    folder = tmp_path_factory.mktemp("text")
    for lang in ("src", "tgt"):
        for split in ("train", "valid"):
            lines = read_lines(miniature_corpus / f"{split}.{lang}")
            write_lines(folder / f"{split}.{lang}", [*lines, *HARD])
    subword = request.param
    config = PrepareConfig(
        source_lang="src",
        target_lang="tgt",
        train=str(folder / "train"),
        valid=str(folder / "valid"),
        subword=subword,
        tokenizer=str(tiny_bert) if subword == "wordpiece" else None,
        vocab_size=None if subword == "wordpiece" else 250,
        tokenized=tokenized,
        destdir=folder / "data-bin",
        workers=1,
    )
    return prepare(config)


def binarized(data_bin: DataBin, split: str) -> list[str]:
    """Return the symbols of each sentence as fairseq's dictionary writes them."""
    dictionary = Dictionary.load(str(data_bin.dictionary("tgt")))
    sizes, ids = read_binarized(data_bin.prefix(split, "tgt"))
    lines, start = [], 0
    for size in sizes:
        lines.append(" ".join(dictionary[i] for i in ids[start : start + size - 1]))
        start += size
    return lines


def test_what_was_cut_comes_back(prepared: Prepared, tokenized: bool) -> None:
    data_bin, subword = prepared.data_bin, prepared.facts.subword
    text = data_bin.words("tgt")
    raw = read_lines(data_bin.reference("valid", "tgt"))
    undo = BertKDMoses(
        BertKDMosesConfig(data_bin=str(data_bin.path), undo_segmentation=True, subword=subword)
    )
    found = [undo.decode(line) for line in binarized(data_bin, "valid")]
    if (
        subword == "sentencepiece"
    ):  # of raw text, with its own normalisation, which SentencePiece says is lossless else
        assert [post_process(line, subword) for line in binarized(data_bin, "valid")] == found
        kept = [line for line in HARD if line.isascii()]
        assert [line for line in kept if line not in found] == []
    else:
        assert found == [text.detokenize(text.tokenize(line)) for line in raw]


def test_raw_text_is_cut_as_in_the_data_bin(prepared: Prepared) -> None:
    """Source and target alike here: the lines of one side are cut as the other's."""
    data_bin = prepared.data_bin
    settings = {**data_bin.settings, "source_lang": "tgt"}
    text = RawText(DataBin(data_bin.path, settings))
    raw = read_lines(data_bin.reference("valid", "tgt"))
    assert text.symbols([*raw, ""])[-1] == []
    known = Dictionary.load(str(data_bin.dictionary("tgt")))
    found = [" ".join(s if s in known else "<unk>" for s in line) for line in text.symbols(raw)]
    assert found == binarized(data_bin, "valid")


def test_hard_lines_are_kept_and_known(prepared: Prepared) -> None:
    assert prepared.facts.splits["train"].dropped == {}
    lines = binarized(prepared.data_bin, "valid")
    assert not [line for line in lines if "<unk>" in line.split() and "apos" not in line]


def test_the_data_bin_remembers(prepared: Prepared, tokenized: bool) -> None:
    data_bin, subword = DataBin.open(prepared.data_bin.path), prepared.facts.subword
    assert data_bin.was_tokenized is tokenized
    assert data_bin.keeps_tokenizer is (subword == "wordpiece")
    files = {"bpe": "bpe.codes", "sentencepiece": "sentencepiece.model"}
    assert [f for f in files.values() if (data_bin.path / f).exists()] == [
        f for scheme, f in files.items() if scheme == subword
    ]
    tokens = read_lines(data_bin.tokenized("valid", "tgt"))
    raw = read_lines(data_bin.reference("valid", "tgt"))
    moses = MosesText("tgt")
    wanted = [" ".join(line.split()) for line in raw] if tokenized else map(moses.tokenize, raw)
    assert tokens == list(wanted)
