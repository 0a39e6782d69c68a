"""The IWSLT14 archive: what comes out of it, in which order, and what is wrong with one."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from bertkd_fairseq import cli
from bertkd_fairseq.errors import DataError
from bertkd_fairseq.text.iwslt14 import PAIRS, make_splits, read_archive, train_lines, xml_lines
from tests.iwslt14_archive import LANGS, TESTS, pack, write_archive

TRAIN = """<url>http://www.ted.com/talks/x</url>
<keywords>talks</keywords>
<speaker>Al Gore</speaker>
<talkid>1</talkid>
<title>Al Gore: Ja &amp; nein</title>
<description>TED <b>Talk</b></description>
 Mach’s gut.
no <talkid>, no line
"""
XML = """<?xml version="1.0" encoding="UTF-8"?>
<refset setid="x" srclang="english">
<title>A title</title>
<seg id="1"> It’s &amp; was. </seg>
<seg id="12">Two
  <seg id="3">  Three  </seg>  
</refset>
"""


def lines_of(text: str) -> list[str]:
    return text.split("\n")[:-1]


def test_tags_are_stripped_as_in_the_usual_recipe() -> None:
    assert train_lines(lines_of(TRAIN)) == [
        "<speaker>Al Gore</speaker>",  # that recipe keeps these
        "Al Gore: Ja &amp; nein",
        "TED <b>Talk</b>",
        " Mach’s gut.",
    ]
    assert xml_lines(lines_of(XML)) == ["It's &amp; was.", "Two", "  Three"]


def files(train: list[tuple[str, str]]) -> dict[str, str]:
    sides = {lang: side for side, lang in enumerate(LANGS)}
    text = {
        f"train.tags.de-en.{lang}": "".join(f"{pair[side]}\n" for pair in train)
        for lang, side in sides.items()
    }
    for name in TESTS:
        for lang in LANGS:
            text[f"IWSLT14.{name}.de-en.{lang}.xml"] = f'<seg id="1"> {name} {lang} </seg>\n'
    return text


def read(text: dict[str, str]) -> dict[str, list[str]]:
    return {name: lines_of(content) for name, content in text.items()}


def test_cleaning_comes_before_every_23rd_pair_is_taken_out() -> None:
    good = [(f"Satz {i}", f"line {i}") for i in range(1, 51)]
    bad = [("", "no source"), ("eins", "one two"), ("w " * 176, "w " * 176), ("Danke.", "a b c d")]
    data = make_splits(read(files(bad[:2] + good[:20] + bad[2:] + good[20:])))
    source, target = data.splits["valid"]
    assert (source, target) == (["Satz 23", "Satz 46"], ["line 23", "line 46"])
    rest = [pair for i, pair in enumerate(good, 1) if i not in (23, 46)]
    assert list(zip(*data.splits["train"], strict=True)) == rest
    assert data.splits["test"] == tuple([f"{name} {lang}" for name in TESTS] for lang in LANGS)
    assert (data.pairs, data.read) == ((48, 2, 5), 54)
    assert data.dropped == {"empty": 1, "ratio": 2, "too_long": 1}


@pytest.mark.parametrize(
    ("source", "target", "kept"),
    [
        ("so", "U.S.A.", False),  # "U.S.A ." here, as the Perl script says: 1 to 2 tokens
        ("a b c", "''x''", False),  # 3 to 5 tokens: punctuation isn't normalised
        ("a b", "a \x96 b \x92", False),  # control characters are tokens to the Perl script: 4
        ("a b", "a\x07 b\x1c\x1d", True),  # but these are dropped by it
        ("A" * 175 + " b", "b b", True),
        ("b " * 175, "b " * 175, True),
    ],
)
def test_lengths_are_those_of_the_perl_script(source: str, target: str, kept: bool) -> None:
    data = make_splits(read(files([("a", "b"), (source, target)])))
    assert data.splits["train"][0] == ["a"] + [source] * kept


def command(archive: Path, dest: Path, *more: str) -> list[str]:
    return ["iwslt14", "--archive", str(archive), "--destdir", str(dest), "--workers", "1", *more]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[int, ...]]:
    path = tmp_path_factory.mktemp("archive") / "de-en.tgz"
    return path, write_archive(path, num_train=200, num_test=7)


def numbers(pairs: tuple[int, ...]) -> list[str]:
    return ["--pairs", *map(str, pairs)]


def test_text_and_facts(
    archive: tuple[Path, tuple[int, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, pairs = archive
    dest = tmp_path / "text"
    assert cli.main(command(path, dest, *numbers(pairs))) == 0
    assert pairs == (192, 8, 35)
    names = {f"{split}.{lang}" for split in ("train", "valid", "test") for lang in LANGS}
    assert {file.name for file in dest.iterdir()} == {*names, "iwslt14.json"}
    assert len((dest / "train.de").read_text("utf-8").splitlines()) == 192
    assert not any("<" in (dest / name).read_text("utf-8") for name in names)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert capsys.readouterr().out == (
        f"archive: {path}, {path.stat().st_size:,} bytes\n"
        f"sha256: {sha256}\n"
        "training pairs read: 213; dropped: empty 4, ratio 9\n"
        "pairs: train 192, valid 8, test 35\n"
        f"text: {dest}\n"
    )
    facts = json.loads((dest / "iwslt14.json").read_text())
    assert facts["sha256"] == sha256
    assert facts["pairs"] == {"train": 192, "valid": 8, "test": 35}
    assert facts["cleaning"] == {
        "min_length": 1,
        "max_length": 175,
        "max_ratio": 1.5,
        "max_characters": 350,
        "source_has_spaces": True,
        "target_has_spaces": True,
    }

    assert cli.main(command(path, dest, *numbers(pairs))) == 2
    wanted = f"`--destdir` holds a complete text of IWSLT14: {dest}. Use --force to replace it."
    assert capsys.readouterr().err == f"error: {wanted}\n"
    assert cli.main(command(path, dest, *numbers(pairs), "--force")) == 0


def test_other_numbers_of_pairs_are_an_error(
    archive: tuple[Path, tuple[int, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = archive
    assert PAIRS == (160_239, 7_283, 6_750)
    assert cli.main(command(path, tmp_path / "text")) == 2
    assert capsys.readouterr().err == (
        f"error: `{path}` must give 160,239 / 7,283 / 6,750 pairs of train / valid / test, but gives "
        "192 / 8 / 35 instead. Is it IWSLT14 German-English as released? To use it as it is, give "
        "`--pairs 192 8 35`.\n"
    )
    assert not list(tmp_path.iterdir())


def test_wrong_options_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("x")
    assert cli.main([*command(tmp_path / "no.tgz", tmp_path), "--workers", "0"]) == 2
    assert capsys.readouterr().err == (
        "error: 3 problems:\n"
        f"  1. `--destdir` must be a new or empty folder, but is a folder with other files ({tmp_path}) "
        "instead.\n"
        "  2. `--workers` must be at least 1, but is 0 instead.\n"
        "  3. `--archive` must be a file, or --url must name where to download it, but there is none "
        f"at {tmp_path}/no.tgz.\n"
    )


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    text = files([("a", "b")])
    del text["train.tags.de-en.en"], text["IWSLT14.TEDX.dev2012.de-en.de.xml"]
    path = tmp_path / "x.tgz"
    pack(path, text)
    with pytest.raises(DataError) as caught:
        read_archive(path)
    assert str(caught.value) == (
        "2 problems:\n"
        f"  1. `{path}` must hold train.tags.de-en.en, but doesn't.\n"
        f"  2. `{path}` must hold IWSLT14.TEDX.dev2012.de-en.de.xml, but doesn't."
    )


def test_sides_of_different_length_are_all_named() -> None:
    text = files([("a", "b")])
    text["train.tags.de-en.de"] += "c\n"
    text["IWSLT14.TED.tst2011.de-en.en.xml"] = ""
    with pytest.raises(DataError) as caught:
        make_splits(read(text))
    assert str(caught.value) == (
        "2 problems:\n"
        "  1. `train.tags.de-en` must have as many sentences in de as in en, but has 2 and 1 instead.\n"
        "  2. `IWSLT14.TED.tst2011.de-en` must have as many sentences in de as in en, "
        "but has 1 and 0 instead."
    )


def damaged(data: bytes, how: str) -> bytes:
    if how == "cut short":
        return data[: len(data) // 2]
    if how == "a byte changed":
        return data[:-6] + bytes([data[-6] ^ 1]) + data[-5:]  # in the checksum
    if how == "no archive inside":
        return gzip.compress(b"x" * 2000)
    return b"<html>Not found</html>"


HOW = {
    "cut short": "Compressed file ended before the end-of-stream marker was reached",
    "a byte changed": "CRC check failed",
    "no archive inside": "invalid header",
    "a page": "Not a gzipped file (b'<h')",
}


@pytest.mark.parametrize("how", HOW)
def test_damaged_archive_is_refused(
    archive: tuple[Path, tuple[int, ...]], tmp_path: Path, how: str
) -> None:
    path = tmp_path / "x.tgz"
    path.write_bytes(damaged(archive[0].read_bytes(), how))
    with pytest.raises(DataError) as caught:
        read_archive(path)
    message = str(caught.value)
    assert message.startswith(f"`{path}` must be a whole .tgz archive, but reading it gave: ")
    assert HOW[how] in message and message.endswith(". Get it again.")


def test_a_changed_byte_never_gives_other_text(archive: tuple[Path, dict], tmp_path: Path) -> None:
    """The archive has checksums of its own; there is no need to know that of the released file."""
    whole = archive[0].read_bytes()
    wanted = read_archive(archive[0])
    path = tmp_path / "changed.tgz"
    refused = 0
    positions = range(0, len(whole), len(whole) // 60)
    for position in positions:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        try:
            assert read_archive(path) == wanted
        except DataError:
            refused += 1
    assert refused >= len(positions) - 2  # name and time of packing have none
