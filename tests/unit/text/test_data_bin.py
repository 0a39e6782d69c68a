"""Reading text and data-bins: nothing shifts by a line, and mistakes name file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.files import hash_file
from bertkd_fairseq.text.data_bin import (
    DATA_BIN,
    DataBin,
    binarized_splits,
    check_split,
    read_binarized,
)
from bertkd_fairseq.text.lines import read_lines, write_lines


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes("\ufeffone\r\ntwo\u2028two\x85\x0b\x1c\n\nf\rour".encode())
    assert read_lines(file) == ["one", "two\u2028two\x85\x0b\x1c", "", "f\rour"]
    packed = tmp_path / "text.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert read_lines(packed) == read_lines(file)
    write_lines(tmp_path / "new" / "copy", ["a", "", "ß"])
    assert read_lines(tmp_path / "new" / "copy") == ["a", "", "ß"]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_bytes_that_are_not_utf8_are_named(tmp_path: Path, start: bytes) -> None:
    file = tmp_path / "text"
    file.write_bytes(start + b"fine\nfine\nGr\xfc\xdfe\n")
    with pytest.raises(DataError) as caught:
        read_lines(file)
    assert str(caught.value) == (
        f"`{file}` must be UTF-8, but line 3 holds byte 0xfc instead. "
        "Convert the file, for instance with `iconv -t UTF-8`."
    )


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(b"text\n" * 100)
    (tmp_path / "cut.gz").write_bytes(whole[:-9])
    (tmp_path / "plain.gz").write_bytes(b"text\n")
    for name in ("cut.gz", "plain.gz", "missing"):
        with pytest.raises(DataError) as caught:
            read_lines(tmp_path / name)
        wanted = f"`{tmp_path / name}` must be readable text, but reading it gave: "
        assert str(caught.value).startswith(wanted)


def make_settings(folder: Path, **settings: object) -> None:
    (folder / "bertkd.json").write_text(json.dumps(settings))


def test_open_tells_languages_and_files(tmp_path: Path) -> None:
    make_settings(tmp_path, format=1, source_lang="de", target_lang="en", lowercase=True)
    write_lines(tmp_path / "references" / "test.en", ["A man."])
    data_bin = DataBin.open(str(tmp_path))
    assert (data_bin.source_lang, data_bin.target_lang, data_bin.lowercase) == ("de", "en", True)
    assert data_bin.tokenizer_dir == tmp_path / "tokenizer"
    assert data_bin.reference("test", "en") == tmp_path / "references" / "test.en"
    assert data_bin.prefix("valid", "en") == tmp_path / "valid.de-en.en"
    with pytest.raises(DataError) as caught:
        data_bin.reference("train", "en")
    assert str(caught.value) == (
        f"`{tmp_path}/references/train.en` must be a file, but there is none. "
        "This data-bin keeps test.en in references."
    )
    with pytest.raises(DataError) as caught:
        data_bin.tokenized("test", "en")
    assert str(caught.value).endswith("This data-bin keeps nothing in tokenized.")


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        DataBin.open(tmp_path)
    assert str(caught.value) == (
        f"`{tmp_path}` must be a data-bin with bertkd.json, but {tmp_path}/bertkd.json "
        "can't be read (No such file or directory). Was it made by `bertkd prepare`?"
    )
    make_settings(tmp_path, format=2)
    with pytest.raises(DataError) as caught:
        DataBin.open(tmp_path)
    assert str(caught.value) == (
        f"`{tmp_path}/bertkd.json` must have format 1, but has 2 instead. "
        "Make the data-bin again with this version's `bertkd prepare`."
    )
    (tmp_path / "bertkd.json").write_text("{")
    with pytest.raises(DataError, match=r"must be JSON, but reading it gave: "):
        DataBin.open(tmp_path)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_binarized_files_of_fairseq_are_read(tmp_path: Path, dtype: type) -> None:
    import torch
    from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

    prefix = tmp_path / "train.de-en.de"
    builder = MMapIndexedDatasetBuilder(f"{prefix}.bin", dtype=dtype)
    for sentence in ([5, 6, 2], [2], [7, 3, 8, 2]):
        builder.add_item(torch.tensor(sentence))
    builder.finalize(f"{prefix}.idx")
    sizes, tokens = read_binarized(prefix)
    assert sizes.tolist() == [3, 1, 4]
    assert tokens.tolist() == [5, 6, 2, 2, 7, 3, 8, 2]
    Path(f"{prefix}.bin").write_bytes(b"\0" * np.dtype(dtype).itemsize)
    with pytest.raises(DataError) as caught:
        read_binarized(prefix)
    assert str(caught.value) == (
        f"`{prefix}.bin` must hold the 8 tokens of its index, but holds 1 instead. "
        "Run `bertkd prepare` again."
    )
    Path(f"{prefix}.idx").write_bytes(b"TNTIDX\0\0" + b"\0" * 40)
    with pytest.raises(DataError) as caught:
        read_binarized(prefix)
    assert str(caught.value) == (
        f"`{prefix}.idx` must be an index of fairseq's mmap format, but is damaged or another kind "
        "of file. Run `bertkd prepare` again."
    )


@pytest.mark.parametrize(
    "settings", ["", "[]", '{"format": 2, "splits": {}}', '{"format": 1, "splits": 3}']
)
def test_a_folder_that_is_no_data_bin(tmp_path: Path, settings: str) -> None:
    assert DATA_BIN.files(tmp_path) is None
    (tmp_path / "bertkd.json").write_text(settings)
    assert DATA_BIN.files(tmp_path) is None


def test_splits_are_found_by_their_index(tmp_path: Path) -> None:
    for name in ("train.de-en.de.idx", "train.de-en.en.idx", "my.test.de-en.en.idx", "x.idx", "y"):
        (tmp_path / name).touch()
    assert binarized_splits(tmp_path) == ["my.test.de-en", "train.de-en"]
    assert binarized_splits(tmp_path / "nowhere") == []


def test_an_index_of_another_format_of_fairseqs_is_left_to_it(tmp_path: Path) -> None:
    for lang in ("de", "en"):
        (tmp_path / f"train.de-en.{lang}.idx").write_bytes(b"TNTIDX\0\0" + b"\0" * 40)
    check_split(tmp_path, "train", ("en", "de"))


def test_a_tokenizer_is_the_one_that_is_on_record(tmp_path: Path) -> None:
    known = {"format": 1, "source_lang": "de", "target_lang": "en", "lowercase": True}
    (tmp_path / "tokenizer").mkdir()
    file = tmp_path / "tokenizer" / "tokenizer.json"
    file.write_text("{}")
    make_settings(tmp_path, **known)
    assert DataBin.open(tmp_path).checked_tokenizer() == file  # before it was recorded
    make_settings(tmp_path, **known, tokenizer={"sha256": hash_file(file)})
    data_bin = DataBin.open(tmp_path)
    assert data_bin.checked_tokenizer() == file
    file.write_text("{ }")
    with pytest.raises(DataError, match=r"must be the tokenizer that the text was cut with"):
        data_bin.checked_tokenizer()


@pytest.mark.parametrize("data_bin_lowercase", [True, False])
@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_moses_is_that_of_the_data_bin(
    data_bin_lowercase: bool, lowercase: bool, normalize: bool
) -> None:
    settings = {"lowercase": data_bin_lowercase, "normalize_punctuation": normalize}
    moses = DataBin(Path(), settings).words("de", lowercase=lowercase)
    tokens = '" Ja "' if normalize else "„ Ja “"
    in_lower_case = data_bin_lowercase or lowercase
    assert moses.tokenize("„Ja“") == (tokens.lower() if in_lower_case else tokens)
    assert moses.lowercase == in_lower_case
