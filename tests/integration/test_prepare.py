"""``bertkd prepare`` from text to data-bin, and back through fairseq's --tokenizer and --bpe."""

from __future__ import annotations

import hashlib
import json
import sys
import textwrap
from pathlib import Path

import pytest
from fairseq.binarizer import FileBinarizer, VocabularyDatasetBinarizer
from fairseq.data import Dictionary
from fairseq.tokenizer import tokenize_line
from tokenizers import Tokenizer, models

from bertkd_fairseq import __version__, cli
from bertkd_fairseq.cli import reports
from bertkd_fairseq.errors import DataError
from bertkd_fairseq.files import first_foreign
from bertkd_fairseq.text.data_bin import DATA_BIN, DataBin, read_binarized
from bertkd_fairseq.text.lines import read_lines, write_lines
from bertkd_fairseq.text.moses import MosesText
from bertkd_fairseq.text.segmentation.wordpiece import (
    WordPieceSegmenter,
    load_tokenizer,
    undo_segmentation,
)
from tests.conftest import BERTKD, USER_DIR, run_command

TRAIN = [("Ein Hund läuft .", "A dog runs .")] * 20 + [
    ("", "A lost line."),  # 21: empty
    ("Er\tsagt:\x00 „Hallo“\u2028und geht.", "He says 'hello'\x85 and goes\x0b."),  # 22: control
    ("Ja", "Yes , that is very much so"),  # 23: ratio
    ("<s> ## madeupword0001 ￭x", "<unk> [MASK] ￭ ##y"),  # 24: looks like our own marks
    ("漢字 😀 1999", "\u200b naïve #1"),  # 25: unknown to the tokenizer
]
VALID = [("Ein T-Shirt.", "A T-shirt.")] * 3 + [("Leer", " \x00\t"), ("Zebra ○", "Zebra ○")]
TEST = [(" ".join(["Wort"] * 200), "word"), ("Ende\r", "End\r")]


def write_pairs(folder: Path, split: str, pairs: list[tuple[str, str]]) -> Path:
    for lang, side in zip(("de", "en"), zip(*pairs, strict=True), strict=True):
        write_lines(folder / f"{split}.{lang}", list(side))
    return folder / split


def prepare_command(folder: Path, tokenizer: object, *more: object) -> list[object]:
    splits = [part for s in ("train", "valid", "test") for part in (f"--{s}", folder / s)]
    langs = ["--source-lang", "de", "--target-lang", "en"]
    return [*BERTKD, "prepare", *langs, *splits, "--tokenizer", tokenizer, *more]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for split, pairs in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        write_pairs(folder, split, pairs)
    return folder


@pytest.fixture(scope="module")
def prepared(corpus: Path, tiny_bert: Path) -> Path:
    dest = corpus / "new" / "data-bin"
    report = corpus / "report.json"
    done = run_command(
        prepare_command(corpus, tiny_bert, "--destdir", dest, "--lowercase", "--json", report)
    )
    (corpus / "stdout").write_text(done.stdout)
    (corpus / "stderr").write_text(done.stderr)
    return dest


def symbols_of(dest: Path, split: str, lang: str) -> list[list[str]]:
    """Decode a binarized file with the dictionary, independently of fairseq."""
    dictionary = ["<s>", "<pad>", "</s>", "<unk>"]
    dictionary += [line.rsplit(" ", 1)[0] for line in read_lines(dest / f"dict.{lang}.txt")]
    sizes, ids = read_binarized(DataBin.open(dest).prefix(split, lang))
    ends = sizes.cumsum().tolist()
    starts = [0, *ends[:-1]]
    sentences = [[dictionary[i] for i in ids[a:b]] for a, b in zip(starts, ends, strict=True)]
    assert all(sentence[-1] == "</s>" for sentence in sentences)
    return [sentence[:-1] for sentence in sentences]


def test_every_kept_pair_comes_back_in_order(prepared: Path) -> None:
    kept = [pair for i, pair in enumerate(TRAIN, 1) if i not in (21, 23)]
    for side, lang in enumerate(("de", "en")):
        moses = MosesText(lang, lowercase=True)
        wanted = [moses.tokenize(pair[side]) for pair in kept]
        found = symbols_of(prepared, "train", lang)
        assert [undo_segmentation(" ".join(symbols)) for symbols in found] == wanted


def test_valid_and_test_agree_with_references(prepared: Path, corpus: Path) -> None:
    data_bin = DataBin.open(prepared)
    segmenter = WordPieceSegmenter(data_bin.tokenizer_dir)
    known = {line.rsplit(" ", 1)[0] for line in read_lines(prepared / "dict.en.txt")}
    for split in ("valid", "test"):
        for lang in ("de", "en"):
            raw = read_lines(data_bin.reference(split, lang))
            tokens = read_lines(data_bin.tokenized(split, lang))
            assert [MosesText(lang, lowercase=True).tokenize(line) for line in raw] == tokens
            wanted = [
                [symbol if symbol in known else "<unk>" for symbol in line.split()]
                for line in segmenter.segment_lines(tokens)
            ]
            assert symbols_of(prepared, split, lang) == wanted
    assert read_lines(data_bin.reference("valid", "en")) == ["A T-shirt."] * 3 + ["Zebra ○"]
    assert read_lines(data_bin.reference("test", "en")) == ["word", "End"]


def test_settings_and_report(prepared: Path, corpus: Path, tiny_bert: Path) -> None:
    settings = DataBin.open(prepared).settings
    report = json.loads((corpus / "report.json").read_text())
    assert report.pop("seconds").keys() >= {"fairseq-preprocess"}
    assert (report.pop("report"), report.pop("version")) == ("bertkd prepare", __version__)
    assert report.pop("format") == reports.FORMAT
    assert report == {key: value for key, value in settings.items() if key != "format"}
    splits = settings["splits"]
    assert (splits["train"]["read"], splits["train"]["kept"]) == (25, 23)
    assert splits["train"]["dropped"] == {"empty": 1, "ratio": 1}
    assert splits["train"]["lines_with_control_characters"] == {"de": 1, "en": 1}
    assert splits["train"]["unk"] == {"de": 0, "en": 0}
    assert splits["valid"]["dropped"] == {"empty": 1}
    assert splits["valid"]["unk"]["de"] == splits["valid"]["unk"]["en"] > 0  # zebra, ○
    assert (splits["test"]["kept"], splits["test"]["dropped"]) == (2, {})
    coverage = settings["dictionary"]["coverage"]["joined"]
    assert 0 < coverage["unknown_types"] < coverage["types"]
    assert settings["normalize_punctuation"] is True
    assert settings["cleaning"] == {
        "min_length": 1,
        "max_length": 175,
        "max_ratio": 1.5,
        "max_characters": 350,
        "source_has_spaces": True,
        "target_has_spaces": True,
    }
    assert settings["inputs"][0] == {
        "file": str(corpus / "train.de"),
        "sha256": hashlib.sha256((corpus / "train.de").read_bytes()).hexdigest(),
    }
    saved = (prepared / "tokenizer" / "tokenizer.json").read_bytes()
    assert settings["tokenizer"]["name"] == str(tiny_bert)
    assert settings["tokenizer"]["sha256"] == hashlib.sha256(saved).hexdigest()
    stdout = (corpus / "stdout").read_text()
    assert "train         25        23" in stdout
    assert "train: 2 lines with tabs or control characters cleaned\n" in stdout
    assert "valid: symbols not in the dictionary (<unk>): de " in stdout
    assert (
        "valid: 1 pairs with an empty side dropped, from the references as well: line 4\n"
        in (corpus / "stderr").read_text()
    )
    assert [path.name for path in prepared.parent.iterdir()] == ["data-bin"]


def test_every_file_is_one_that_force_may_replace(prepared: Path) -> None:
    files = DATA_BIN.files(prepared)
    assert files is not None and first_foreign(prepared, files) is None


@pytest.mark.parametrize("foreign", ["checkpoints/checkpoint_best.pt", "train1.de-en.de.bin"])
def test_force_replaces_no_folder_with_a_foreign_file(
    prepared: Path, corpus: Path, capsys: pytest.CaptureFixture[str], foreign: str
) -> None:
    path = prepared / foreign
    path.parent.mkdir(exist_ok=True)
    path.write_text("a week of training")
    try:
        command = prepare_command(corpus, "nowhere", "--destdir", prepared, "--force")
        assert cli.main([str(part) for part in command[len(BERTKD) :]]) == 2
        name = foreign.split("/")[0]
        assert capsys.readouterr().err == (
            f"error: `{prepared}` holds {name}, which `bertkd prepare` didn't write. Nothing was removed: "
            f"move {name} away, or choose another folder.\n"
        )
        assert path.read_text() == "a week of training"
    finally:
        path.unlink()
        if path.parent != prepared:
            path.parent.rmdir()


def test_a_second_run_needs_force_and_gives_the_same_bytes(
    prepared: Path, corpus: Path, tiny_bert: Path
) -> None:
    command = prepare_command(corpus, tiny_bert, "--destdir", prepared, "--lowercase")
    done = run_command(command, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: `--destdir` holds a complete data-bin: {prepared}. Use --force to replace it.\n"
    )
    # A backup of the user's, another command's unfinished work.
    neighbours = [prepared.with_name(f"data-bin.{end}") for end in ("old", "partial")]
    for folder in neighbours:
        folder.mkdir()
        (folder / "mine").write_text("mine")
    files = [f for f in prepared.parent.rglob("*") if f.is_file() and f.name != "preprocess.log"]
    before = {file: file.read_bytes() for file in files}
    run_command([*command, "--force", "--workers", "1"])
    assert {file: file.read_bytes() for file in files} == before
    assert sorted(prepared.parent.iterdir()) == sorted([prepared, *neighbours])


def test_a_full_disk_is_one_message_and_leaves_nothing(
    tmp_path: Path, corpus: Path, tiny_bert: Path
) -> None:
    """A limit of 1 KiB a file is a full disk, here to the Rust code that writes the tokenizer."""
    command = prepare_command(corpus, tiny_bert, "--destdir", tmp_path / "new")
    done = run_command(["bash", "-c", 'ulimit -f 1; exec "$@"', "-", *command], check=False)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: `{tmp_path}/new` can't be written: File too large. Make room there, or choose another place.\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_workers_with_nothing_to_do_change_no_byte(tmp_path: Path) -> None:
    """fairseq cuts a file by bytes; of 13 workers on three lines, ten at least get an empty part."""
    (tmp_path / "text").write_text("a é\n漢字\n" + "b " * 40 + "\n")
    dictionary = Dictionary()
    Dictionary.add_file_to_dictionary(str(tmp_path / "text"), dictionary, tokenize_line, 13)
    dictionary.finalize()
    assert dictionary.count[dictionary.index("b")] == 40
    binarizer = VocabularyDatasetBinarizer(dictionary, append_eos=True)
    sizes = []
    for workers in (1, 13):
        out = str(tmp_path / str(workers))
        FileBinarizer.multiprocess_dataset(
            str(tmp_path / "text"), "mmap", binarizer, out, len(dictionary), num_workers=workers
        )
        sizes.append([Path(f"{out}.{end}").read_bytes() for end in ("bin", "idx")])
    assert sizes[0] == sizes[1]


def test_all_mistakes_are_shown_at_once(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.de", ["eins", "zwei"])
    write_lines(tmp_path / "train.en", ["one"])
    (tmp_path / "valid.de").write_bytes(b"eins\nGr\xfc\xdfe\n")
    (tmp_path / "valid.en").write_bytes(b"")
    write_lines(tmp_path / "test.de", ["eins"])
    done = run_command(
        prepare_command(tmp_path, tmp_path / "nowhere", "--destdir", tmp_path / "new"), check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: 5 problems:\n"
        f"  1. `{tmp_path}/train` must have as many lines in de as in en, but has 2 and 1 instead. "
        "Pairs are matched by line number.\n"
        f"  2. `{tmp_path}/valid.de` must be UTF-8, but line 2 holds byte 0xfc instead. "
        "Convert the file, for instance with `iconv -t UTF-8`.\n"
        f"  3. `{tmp_path}/valid.en` must hold text, but is empty.\n"
        f"  4. `{tmp_path}/test.en` must be a file, plain or with .gz added, but there is none.\n"
        f"  5. `--tokenizer` must be a folder or a hub name, but is {tmp_path}/nowhere, "
        "which is no folder, instead.\n"
    )
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]


def test_wrong_options_are_shown_at_once(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("not ours")
    command = [*BERTKD, "prepare", "--source-lang", "de", "--target-lang", "de", "--train", "x"]
    command += ["--valid", "x", "--tokenizer", "x", "--destdir", str(tmp_path), "--force"]
    done = run_command([*command, "--min-length", "0", "--max-ratio", "0.5"], check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: 4 problems:\n"
        "  1. `--target-lang` must be another language than --source-lang, "
        "but is the same instead.\n"
        "  2. `--min-length` must be at least 1, but is 0 instead.\n"
        "  3. `--max-ratio` must be at least 1, but is 0.5 instead.\n"
        "  4. `--destdir` must be a new or empty folder, "
        f"but is a folder with other files ({tmp_path}) instead.\n"
    )
    assert (tmp_path / "other").read_text() == "not ours"


def test_tokenizers_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_tokenizer(str(tmp_path))
    assert str(caught.value) == (
        "`tokenizer` must be a folder with tokenizer.json or vocab.txt, "
        f"but is {tmp_path}, which has neither, instead."
    )
    Tokenizer(models.BPE({"a": 0}, [])).save(str(tmp_path / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(DataError) as caught:
        load_tokenizer(str(tmp_path))
    assert str(caught.value) == (
        f"`tokenizer` must be a WordPiece tokenizer, but is {tmp_path} of type BPE instead."
    )


# What fairseq-generate and fairseq-interactive do with these two options, up to the model.
ENCODERS = """
    import sys
    from fairseq import options, tasks, utils
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    parser = options.get_{kind}_parser()
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser))
    utils.import_user_module(cfg.common)
    task = tasks.setup_task(cfg.task)
    tokenizer, bpe = task.build_tokenizer(cfg.tokenizer), task.build_bpe(cfg.bpe)
    for line in sys.stdin:
        symbols = bpe.encode(tokenizer.encode(line))
        print(symbols, "|", bpe.decode(symbols), "|", tokenizer.decode(bpe.decode(symbols)))
"""


@pytest.mark.parametrize(
    ("kind", "task"),
    [("interactive_generation", "translation"), ("generation", "translation_bert_kd")],
)
def test_fairseq_finds_languages_and_tokenizer_in_the_data_bin(
    prepared: Path, tmp_path: Path, kind: str, task: str
) -> None:
    script = tmp_path / "encode.py"
    script.write_text(textwrap.dedent(ENCODERS.format(kind=kind)))
    command = [sys.executable, script, prepared, "--user-dir", USER_DIR, "--path", "x"]
    done = run_command(
        [*command, "--task", task, "--tokenizer", "bertkd_moses", "--bpe", "bert_wordpiece"],
        input="Ein T-Shirt, „Größe“ da.\n",
        cwd=tmp_path,
    )
    symbols, words, text = done.stdout.strip().split(" | ")
    assert words == 'ein t-shirt , " größe " da .'
    assert text == 'ein t-shirt, "größe" da.'
    segmenter = WordPieceSegmenter(prepared / "tokenizer")
    assert symbols == segmenter.segment(words)


def test_punctuation_is_treated_as_the_data_bin_was(tmp_path: Path) -> None:
    from bertkd_fairseq import compat

    compat.apply()
    from bertkd_fairseq.data.encoders import BertKDMoses, BertKDMosesConfig

    settings = {"format": 1, "source_lang": "de", "target_lang": "en", "lowercase": True}
    cfg = BertKDMosesConfig(data_bin=str(tmp_path))
    wanted = {None: '" ja "', True: '" ja "', False: "„ ja “"}  # None: before it was recorded
    for normalize, tokens in wanted.items():
        known = {} if normalize is None else {"normalize_punctuation": normalize}
        (tmp_path / "bertkd.json").write_text(json.dumps({**settings, **known}))
        assert BertKDMoses(cfg).encode("„Ja“") == tokens


def test_eval_bleu_detokenizer_needs_no_data_bin() -> None:
    script = """
        import json
        from argparse import Namespace
        from bertkd_fairseq import compat
        compat.apply()
        import bertkd_fairseq.data.encoders
        from fairseq.data import encoders
        args = json.loads('{"undo_segmentation": true, "target_lang": "en"}')
        detok = encoders.build_tokenizer(Namespace(tokenizer="bertkd_moses", **args))
        print(detok.decode("a t ￭- ￭shirt ##s , it 's &apos;"))
        bpe = encoders.build_bpe(Namespace(bpe="bert_wordpiece"))
        print([bpe.is_beginning_of_word(s) for s in ("a", "##a", "￭a", "##", "￭")])
        from bertkd_fairseq.errors import ConfigurationError
        try:
            encoders.build_tokenizer(Namespace(tokenizer="bertkd_moses")).decode("x")
        except ConfigurationError as error:
            print(error)
    """
    done = run_command([sys.executable, "-c", textwrap.dedent(script)])
    assert done.stdout == (
        "a t-shirts, it's &apos;\n"
        "[True, False, False, True, True]\n"
        "`bertkd_moses` must be told the languages or the data-bin when no task names one. "
        'Give --eval-bleu-detok-args \'{"undo_segmentation": true, "target_lang": "en"}\'.\n'
    )
