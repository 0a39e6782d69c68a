"""``bertkd compare`` as a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertkd_fairseq import cli
from tests.conftest import BERTKD, run_command

REFERENCE = ["A man, alone.", "Two dogs run in the snow.", "It's a T-shirt!"] * 3
WORDS = ["a man , al ##one .", "two dog ##s run in the snow .", "it 's a T ￭- ￭shirt !"] * 3


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "ref.en").write_text("".join(f"{line}\n" for line in REFERENCE), "utf-8")
    for name, lines in (("good", WORDS), ("short", WORDS[:-2]), ("poor", ["a cat ."] * 9)):
        out = [f"H-{i}\t-1.0\t{line}\nD-{i}\t-1.0\t{line}" for i, line in enumerate(lines)]
        (tmp_path / f"{name}.out").write_text("\n".join(reversed(out)), "utf-8")
    return tmp_path


def test_table_and_json(files: Path) -> None:
    done = run_command(
        [*BERTKD, "compare", "--reference", "ref.en", "--lowercase", "--resamples", "50",
         "--system", "plain=poor.out", "--system", "distilled=good.out", "--json", "scores.json"],
        cwd=files,
    )  # fmt: skip
    header, plain, distilled, *_ = done.stdout.splitlines()
    assert header.split()[:3] == ["system", "tok", "BLEU"]
    assert plain.startswith("plain ") and distilled.startswith("distilled  ")
    assert "100.00" in distilled and "9 sentences; paired bootstrap of BLEU" in done.stdout
    scores = json.loads((files / "scores.json").read_text("utf-8"))
    assert scores["baseline"] == "plain" and scores["lowercase"] is True
    perfect = scores["scores"]["distilled"]
    assert [round(perfect[m]["score"], 6) for m in ("tokenized_bleu", "bleu", "chrf")] == [100] * 3
    assert perfect["bleu"]["difference"] > 50 and perfect["bleu"]["length_ratio"] == 1


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


def test_all_mistakes_in_the_options_at_once(files: Path) -> None:
    done = run_command(
        [*BERTKD, "compare", "--system", "a=x", "--system", "a=y", "--system", "z",
         "--resamples", "0"],
        cwd=files, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "error: 4 problems:\n"
        "  1. One of `--data-bin` and `--reference` must be given.\n"
        "  2. `--resamples` must be at least 1, but is 0 instead.\n"
        "  3. `--system` must give each name once, but gives 'a' again.\n"
        "  4. `--system` must be NAME=FILE, but is 'z' instead.\n"
    )


def test_text_is_tokenised_as_the_data_bin_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, words = "„Ja“ – sagte er.", "„ ja “ – sagte er ."
    settings = {"format": 1, "source_lang": "en", "target_lang": "de", "lowercase": True}
    for folder, line in (("references", raw), ("tokenized", words)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.de").write_text(f"{line}\n", "utf-8")
    (tmp_path / "out").write_text(f"{raw}\n", "utf-8")
    command = ["compare", "--data-bin", str(tmp_path), "--system", f"it={tmp_path}/out"]
    scores = {}
    for normalize in (False, True):
        text = json.dumps({**settings, "normalize_punctuation": normalize})
        (tmp_path / "bertkd.json").write_text(text)
        file = tmp_path / "scores.json"
        assert cli.main([*command, "--resamples", "10", "--json", str(file)]) == 0
        scores[normalize] = json.loads(file.read_text())["scores"]["it"]["tokenized_bleu"]["score"]
    capsys.readouterr()
    assert scores[False] == pytest.approx(100) and scores[True] < 50
