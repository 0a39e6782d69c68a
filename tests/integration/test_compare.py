"""``bertkd compare`` as a command."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import sacrebleu

from bertkd_fairseq import cli
from bertkd_fairseq.analysis.compare import run as compare
from tests.conftest import BERTKD, CHECKOUT, run_command

DATA = CHECKOUT / "tests" / "data" / "compare"

REFERENCE = ["A man, alone.", "Two dogs run in the snow.", "It's a T-shirt!"] * 3
WORDS = ["a man , al ##one .", "two dog ##s run in the snow .", "it 's a T ￭- ￭shirt !"] * 3


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "ref.en").write_text("".join(f"{line}\n" for line in REFERENCE), "utf-8")
    for name, lines in (("good", WORDS), ("short", WORDS[:-2]), ("poor", ["a cat ."] * 9)):
        out = [f"H-{i}\t-1.0\t{line}\nD-{i}\t-1.0\t{line}" for i, line in enumerate(lines)]
        (tmp_path / f"{name}.out").write_text("\n".join(reversed(out)), "utf-8")
    return tmp_path


def expected(name: str) -> str:
    """Return a stored output; sacrebleu's version in signatures is the one that runs here."""
    return (DATA / name).read_text("utf-8").replace("VERSION", sacrebleu.__version__)


def parsed(text: str) -> Any:
    """Return JSON with numbers to nine digits: the last ones may differ from machine to machine."""
    return json.loads(text, parse_float=lambda number: float(f"{float(number):.9g}"))


def test_command_with_all_that_it_writes(tmp_path: Path) -> None:
    """Two systems of two runs each, one of them output of fairseq-generate."""
    done = run_command(
        [*BERTKD, "compare", "--reference", "ref.en", "--source", "src.de",
         "--system", "plain=plain.1.txt", "--system", "distilled=kd.1.out",
         "--system", "plain=plain.2.txt", "--system", "distilled=kd.2.txt",
         "--resamples", "100", "--trials", "200", "--buckets", "7,10", "--examples", "2",
         "--json", tmp_path / "x.json", "--html", tmp_path / "x.html"],
        cwd=DATA,
    )  # fmt: skip
    assert done.stdout == expected("expected.txt")
    log = [line.split(" | ", 3)[3] for line in done.stderr.splitlines()]
    assert log == [
        "plain: 12 sentences from plain.1.txt (text)",
        "plain: 12 sentences from plain.2.txt (text)",
        "distilled: 12 sentences from kd.1.out (fairseq-generate)",
        "distilled: 12 sentences from kd.2.txt (text)",
    ]
    assert parsed((tmp_path / "x.json").read_text("utf-8")) == parsed(expected("expected.json"))
    html = (tmp_path / "x.html").read_text("utf-8")
    assert html.endswith("</html>\n")
    for cell in ("56.03 ±2.29", "+25.06 [+18.91, +34.05]", "&quot;R&amp;D&quot; &lt;weekly&gt;"):
        assert cell in html
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.html", "x.json"]


def test_stored_scores_are_those_of_the_sacrebleu_command() -> None:
    """To the last digit that it prints, so that the stored output can't be wrong by itself."""
    scores = json.loads(expected("expected.json"))["scores"]
    for run, file in enumerate(("plain.1.txt", "plain.2.txt")):
        for metric in ("bleu", "chrf"):
            argv = [sys.executable, "-m", "sacrebleu", "ref.en", "-i", file, "-m", metric]
            theirs = json.loads(run_command([*argv, "-w", "12"], cwd=DATA).stdout)
            assert round(scores["plain"][metric]["runs"][run], 12) == theirs["score"]


def test_lowercase_and_a_perfect_system(files: Path) -> None:
    done = run_command(
        [*BERTKD, "compare", "--reference", "ref.en", "--lowercase", "--resamples", "50",
         "--trials", "50", "--system", "plain=poor.out", "--system", "distilled=good.out",
         "--json", "scores.json"],
        cwd=files,
    )  # fmt: skip
    assert "Case is ignored" in done.stdout and "case:lc" in done.stdout
    scores = json.loads((files / "scores.json").read_text("utf-8"))
    assert scores["baseline"] == "plain" and scores["lowercase"] is True
    perfect = scores["scores"]["distilled"]
    assert [round(perfect[m]["score"], 6) for m in ("tokenized_bleu", "bleu", "chrf")] == [100] * 3
    assert perfect["bleu"]["against_first"]["difference"] > 50
    assert perfect["bleu"]["length_ratio"] == perfect["bleu"]["brevity_penalty"] == 1


def test_data_bin_supplies_reference_and_source(
    tmp_path: Path, data_bin: Path, miniature_corpus: Path
) -> None:
    source, target = (miniature_corpus / f"test.{lang}" for lang in ("src", "tgt"))
    (tmp_path / "a").write_text(target.read_text("utf-8"))
    (tmp_path / "b").write_text("x\n" * 61)
    done = run_command(
        [*BERTKD, "compare", "--data-bin", data_bin, "--system", "a=a", "--system", "b=b",
         "--examples", "1", "--resamples", "9", "--trials", "9"],
        cwd=tmp_path,
    )  # fmt: skip
    lines = [line.split(maxsplit=1)[1:] for line in done.stdout.splitlines()]
    row = lines.index(["x"]) - 3  # source, reference, a, b
    index = source.read_text("utf-8").splitlines().index(lines[row][0])
    assert lines[row + 1] == [target.read_text("utf-8").splitlines()[index]]


def test_missing_hypotheses_of_all_systems_end_in_exit_code_2(files: Path) -> None:
    (files / "two.txt").write_text("a\nb\n")
    done = run_command(
        [*BERTKD, "compare", "--reference", "ref.en", "--system", "plain=short.out",
         "--system", "b=two.txt"],
        cwd=files, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.endswith(
        "error: 2 problems:\n"
        "  1. `short.out` has no H- line for 2 of 9 sentences (ids 7, 8). Decode with "
        "`--required-batch-size-multiple 1`: otherwise fairseq drops the last batch.\n"
        "  2. `two.txt` must have 9 lines, one for each reference, but has 2 instead.\n"
    )


def test_source_of_another_length(files: Path) -> None:
    (files / "two.txt").write_text("a\nb\n")
    done = run_command(
        [*BERTKD, "compare", "--reference", "ref.en", "--source", "two.txt",
         "--system", "a=good.out"],
        cwd=files, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        2,
        "error: `two.txt` must have 9 lines, one for each reference, but has 2 instead.\n",
    )


def test_all_mistakes_in_the_options_at_once(files: Path) -> None:
    (files / "old.html").write_text("old")
    done = run_command(
        [*BERTKD, "compare", "--system", "a=x", "--system", "a=./x", "--system", "z",
         "--resamples", "0", "--trials", "0", "--examples", "-1", "--buckets", "20,10",
         "--json", "no/x.json", "--html", "old.html"],
        cwd=files, check=False, env={"SACREBLEU_SEED": "none"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "error: 10 problems:\n"
        "  1. `SACREBLEU_SEED` must be a whole number from 1 on, but is 'none' instead. "
        "Unset it for sacrebleu's own, 12345.\n"
        "  2. One of `--data-bin` and `--reference` must be given.\n"
        "  3. `--resamples` must be at least 1, but is 0 instead.\n"
        "  4. `--trials` must be at least 1, but is 0 instead.\n"
        "  5. `--examples` must be at least 0, but is -1 instead.\n"
        "  6. `--buckets` must be rising whole numbers with commas between, but is '20,10' instead.\n"
        "  7. `--system` must give each run once, but gives a=./x again.\n"
        "  8. `--system` must be NAME=FILE, but is 'z' instead.\n"
        "  9. `--json` must be a file in a folder that exists, but is no/x.json instead.\n"
        "  10. `old.html` exists already. Use another name, or --force to replace it.\n"
    )
    assert (files / "old.html").read_text() == "old"


@pytest.mark.parametrize("buckets", ["", "0,5", "5,5", "5,", "a", "٣"])
def test_buckets_that_are_none(files: Path, buckets: str) -> None:
    argv = [*BERTKD, "compare", "--reference", "ref.en", "--system", "a=x", "--buckets", buckets]
    done = run_command(argv, cwd=files, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: `--buckets` must be rising whole numbers with commas between, but is {buckets!r} "
        "instead.\n",
    )


def test_text_is_tokenised_as_the_data_bin_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, words = "„Ja“ – sagte er.", "„ ja “ – sagte er ."
    settings = {"format": 1, "source_lang": "en", "target_lang": "de", "lowercase": True}
    for folder, line in (("references", raw), ("tokenized", words)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.de").write_text(f"{line}\n", "utf-8")
        (tmp_path / folder / "test.en").write_text("Yes, he said.\n", "utf-8")
    (tmp_path / "out").write_text(f"{raw}\n", "utf-8")
    command = ["compare", "--data-bin", str(tmp_path), "--system", f"it={tmp_path}/out"]
    scores = {}
    for normalize in (False, True):
        text = json.dumps({**settings, "normalize_punctuation": normalize})
        (tmp_path / "bertkd.json").write_text(text)
        file = tmp_path / f"scores.{normalize}.json"
        assert cli.main([*command, "--resamples", "10", "--json", str(file)]) == 0
        scores[normalize] = json.loads(file.read_text())["scores"]["it"]["tokenized_bleu"]["score"]
    capsys.readouterr()
    assert scores[False] == pytest.approx(100) and scores[True] < 50


def test_punctuation_is_kept_without_a_data_bin_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ref.de").write_text("„Ja“ – sagte er.\n", "utf-8")
    (tmp_path / "out").write_text("H-0\t-1.0\t„ Ja “ – sag ##te er .\n", "utf-8")
    command = ["compare", "--reference", str(tmp_path / "ref.de"), "--system", f"a={tmp_path}/out"]
    command += ["--resamples", "9", "--trials", "9", "--json", str(tmp_path / "x.json"), "--force"]
    scores = []
    for more in ([], ["--keep-punctuation"]):
        assert cli.main([*command, *more]) == 0
        scores.append(json.loads((tmp_path / "x.json").read_text())["scores"]["a"])
    capsys.readouterr()
    normalized, kept = (score["tokenized_bleu"]["score"] for score in scores)
    assert kept == pytest.approx(100) and normalized < 50


def test_options_that_another_would_silence(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "--system", "a=x", "--reference", "r.en", "--split", "valid"]
    assert cli.main([*command, "--data-bin", "d", "--keep-punctuation"]) == 2
    assert capsys.readouterr().err == (
        "error: 2 problems:\n"
        "  1. `--keep-punctuation` can't be given with `--data-bin`, which tells it.\n"
        "  2. `--gen-subset` can't be given with `--reference`, which is one split.\n"
    )


@pytest.mark.parametrize(
    ("name", "language"),
    [
        *(("ref.fr", "fr"), ("ref.fr.gz", "fr"), ("test.2016.de", "de"), ("a.en/ref", "")),
        *(("ref.txt", ""), ("ref", ""), ("ref.gz", ""), ("ref.txt.gz", ""), ("ref.1", "")),
    ],
)
def test_the_language_is_the_references_suffix(name: str, language: str) -> None:
    assert compare.language_of(name) == language


def test_a_gzipped_reference_is_in_the_same_language(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In French an apostrophe stays with the word before it: other rules, another score."""
    text = "L'homme qui rit n'est pas l'ami d'un chien.\n" * 5
    (tmp_path / "ref.fr").write_text(text, "utf-8")
    (tmp_path / "ref.fr.gz").write_bytes(gzip.compress(text.encode()))
    words = "l' homme qui rit n' est pas l' ami d' un chien ."
    out = "".join(f"H-{i}\t-1.0\t{words}\n" for i in range(5))
    (tmp_path / "out").write_text(out, "utf-8")
    scores = []
    for name in ("ref.fr", "ref.fr.gz"):
        json_file = tmp_path / f"{name}.json"
        command = ["compare", "--reference", str(tmp_path / name), "--lowercase"]
        command += ["--system", f"a={tmp_path}/out", "--resamples", "9", "--trials", "9"]
        assert cli.main([*command, "--json", str(json_file)]) == 0
        scores.append(json.loads(json_file.read_text())["scores"])
    capsys.readouterr()
    assert scores[0] == scores[1]
    assert scores[0]["a"]["bleu"]["score"] == pytest.approx(100)
