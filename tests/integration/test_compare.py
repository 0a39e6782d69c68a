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
        "  6. `--buckets` must be whole numbers in rising order, separated by commas, but is '20,10' instead.\n"
        "  7. `--system` must give each run only once, but gives a=./x again.\n"
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
        f"error: `--buckets` must be whole numbers in rising order, separated by commas, but is {buckets!r} "
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
        "  1. `--keep-punctuation` can't be given with `--data-bin`, which records it.\n"
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


CHINESE = ["他是一名学生。", "今天天气很好，我们去公园吧！", "这是什么？"] * 3
JAPANESE = [
    "私はテニス部員です。",
    "エミは幸せそうに見えます。",
    "この事実を心に留めておいて下さい。",
] * 3


@pytest.fixture
def asian(tmp_path: Path) -> Path:
    """References, and systems that leave out the second character of every third line."""
    for lang, lines in (("zh", CHINESE), ("ja", JAPANESE)):
        spoilt = [line if i % 3 else line[0] + line[2:] for i, line in enumerate(lines)]
        for name, text in ((f"ref.{lang}", lines), (f"spoilt.{lang}", spoilt)):
            (tmp_path / name).write_text("".join(f"{line}\n" for line in text), "utf-8")
    return tmp_path


def test_chinese_by_default(asian: Path) -> None:
    """A perfect system has all points; lengths are in characters, and no report speaks of words."""
    done = run_command(
        [*BERTKD, "compare", "--reference", "ref.zh", "--system", "good=ref.zh",
         "--system", "poor=spoilt.zh", "--resamples", "50", "--trials", "50", "--buckets", "5,9",
         "--examples", "0", "--json", "x.json", "--html", "x.html"],
        cwd=asian,
    )  # fmt: skip
    report = json.loads((asian / "x.json").read_text("utf-8"))
    scores = report["scores"]
    assert {*scores["good"]} == {"bleu", "chrf"} and "|tok:zh|" in report["signatures"]["bleu"]
    assert [scores["good"][m]["score"] for m in ("bleu", "chrf")] == pytest.approx([100, 100])
    theirs = run_command(
        [sys.executable, "-m", "sacrebleu", "ref.zh", "-i", "spoilt.zh", "-tok", "zh", "-w", "12"],
        cwd=asian,
    ).stdout
    assert round(scores["poor"]["bleu"]["score"], 12) == json.loads(theirs)["score"]
    buckets = [(b["shortest"], b["num_sentences"]) for b in report["length_buckets"]]
    assert buckets == [(1, 3), (6, 3), (10, 3)]  # 5, 7 and 14 characters
    assert report["target"] == {
        "lang": "zh",
        "tokenizer": "zh",
        "lengths": "characters",
        "notes": [
            "There is no tok BLEU, and lengths are in characters, because zh has no spaces between words."
        ],
    }
    assert "BLEU by length of the reference, in characters\ncharacters  sentences" in done.stdout
    assert "n-grams of zh tokens repeated within a sentence, %" in done.stdout
    (note,) = report["target"]["notes"]
    assert note in " ".join(done.stdout.split()) and "tok BLEU:" not in done.stdout
    html = (asian / "x.html").read_text("utf-8")
    assert "the given number of characters" in html and "N-grams of zh tokens repeated" in html
    assert "Moses" not in html.replace("as in Moses", "")


@pytest.mark.parametrize("tokenizer", ["ja-mecab", "char", "intl"])
def test_japanese_scores_are_those_of_the_sacrebleu_command(asian: Path, tokenizer: str) -> None:
    chosen = [] if tokenizer == "ja-mecab" else ["--tokenize", tokenizer]
    done = run_command(
        [*BERTKD, "compare", "--reference", "ref.ja", "--system", "poor=spoilt.ja", *chosen,
         "--resamples", "9", "--json", "x.json"],
        cwd=asian,
    )  # fmt: skip
    report = json.loads((asian / "x.json").read_text("utf-8"))
    argv = [sys.executable, "-m", "sacrebleu", "ref.ja", "-i", "spoilt.ja", "-tok", tokenizer]
    theirs = json.loads(run_command([*argv, "-w", "12"], cwd=asian).stdout)
    assert round(report["scores"]["poor"]["bleu"]["score"], 12) == theirs["score"]
    assert report["signatures"]["bleu"] == theirs["signature"]
    assert theirs["signature"] in done.stdout and f"|tok:{tokenizer}" in done.stdout


def test_generated_japanese_is_joined_again(asian: Path) -> None:
    """What fairseq-generate prints of text with spaces between words scores as the text without."""
    spaced = ["私 は テニス 部員 で す 。", "エミ は 幸せ そう に 見え ま す 。",
              "この 事実 を 心 に 留め て お い て 下さ い 。"] * 3  # fmt: skip
    out = "".join(f"H-{i}\t-1.0\t{line}\n" for i, line in enumerate(spaced))
    (asian / "out").write_text(out, "utf-8")
    command = [*BERTKD, "compare", "--reference", "ref.ja", "--system", "a=out", "--resamples", "9"]
    run_command([*command, "--json", "x.json"], cwd=asian)
    scores = json.loads((asian / "x.json").read_text("utf-8"))["scores"]["a"]
    assert scores["bleu"]["score"] == pytest.approx(100)
    assert scores["bleu"]["length_ratio"] == 1


def test_tokenised_text_has_words_in_any_language(asian: Path) -> None:
    spaced = ["私 は テニス 部員 で す 。", "エミ は 幸せ そう に 見え ま す 。", "<2en> a ,b ."]
    (asian / "spaced.ja").write_text("".join(f"{line}\n" for line in spaced), "utf-8")
    out = "".join(f"H-{i}\t-1.0\t{line}\n" for i, line in enumerate(spaced))
    (asian / "out").write_text(out, "utf-8")
    command = [*BERTKD, "compare", "--reference", "spaced.ja", "--system", "a=out", "--tokenized"]
    done = run_command([*command, "--resamples", "9", "--json", "x.json"], cwd=asian)
    report = json.loads((asian / "x.json").read_text("utf-8"))
    for score in report["scores"]["a"].values():
        assert score["score"] == pytest.approx(100)
    assert {*report["scores"]["a"]} == {"tokenized_bleu", "bleu", "chrf"}
    assert report["target"]["lengths"] == "words" and "has no spaces" not in done.stdout


def test_rouge_in_all_reports(files: Path) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    command = [*BERTKD, "compare", "--reference", "ref.en", "--system", "poor=poor.out"]
    command += ["--system", "good=good.out", "--resamples", "50", "--trials", "50"]
    done = run_command(
        [*command, "--metric", "rouge", "--json", "x.json", "--html", "x.html"], cwd=files
    )
    report = json.loads((files / "x.json").read_text("utf-8"))
    html = (files / "x.html").read_text("utf-8")
    for kind, title in (("rouge1", "ROUGE-1"), ("rouge2", "ROUGE-2"), ("rougeL", "ROUGE-L")):
        scorer = RougeScorer([kind], use_stemmer=True)
        f1 = [scorer.score(line, "a cat.")[kind].fmeasure for line in REFERENCE]
        poor, good = (report["scores"][name][kind] for name in ("poor", "good"))
        assert poor["score"] == pytest.approx(100 * sum(f1) / len(f1))
        assert good["score"] == pytest.approx(100) and good["against_first"]["bootstrap_p"] < 0.05
        signature = report["signatures"][kind]
        assert signature.startswith("nrefs:1|case:lc|tok:rouge|stem:porter|mean:sentences|version:")
        for text in (done.stdout, html):
            assert f"{title}: " in text and signature in text
            assert f"{poor['score']:.2f}" in text
    plain = run_command(command, cwd=files).stdout
    assert "ROUGE" not in plain


def test_the_seed_is_the_options_else_sacrebleus(files: Path) -> None:
    command = [*BERTKD, "compare", "--reference", "ref.en", "--system", "a=poor.out"]
    command += ["--system", "b=good.out", "--resamples", "20", "--trials", "20"]

    def report(*options: str, **env: str) -> str:
        return run_command([*command, *options], cwd=files, env=env).stdout

    seven = report("--seed", "7")
    assert "seed 7." in seven
    assert report(SACREBLEU_SEED="7") == seven == report("--seed", "7", SACREBLEU_SEED="none")
    assert "seed 12345." in report()
