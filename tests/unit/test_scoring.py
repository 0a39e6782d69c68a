"""Reading translations and scoring them: every sentence once, and sacrebleu's own numbers."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.scoring import compare_systems, format_table, read_system
from tests.conftest import run_command

RAW = ["A man, alone.", "Two dogs run.", "It's a T-shirt!"]
WORDS = ["A man , alone .", "Two dogs run .", "It 's a T-shirt !"]
SEGMENTED = ["A man , al ##one .", "Two dog ##s run .", "It 's a T ￭- ￭shirt !"]


def tokenize(lines: list[str]) -> list[str]:
    """Stand in for Moses: knows the three sentences only."""
    return [WORDS[RAW.index(line)] for line in lines]


def detokenize(lines: list[str]) -> list[str]:
    return [RAW[WORDS.index(line)] for line in lines]


def read(path: Path, count: int = 3) -> tuple[str, list[str], list[str]]:
    system = read_system("x", path, count, tokenize=tokenize, detokenize=detokenize)
    return system.format, system.text, system.tokenized


def generated(path: Path, decoded: list[str] | None, ids: list[int] | None = None) -> Path:
    """Write lines as fairseq-generate does, in the order of ``ids``, between lines of its log."""
    lines = ["2026-01-01 00:00:00 | INFO | fairseq_cli.generate | loading model(s) from x"]
    for i in ids or [2, 0, 1]:
        lines += [f"S-{i}\tquelle", f"T-{i}\ttarget", f"H-{i}\t-0.5\t{SEGMENTED[i % 3]}"]
        if decoded is not None:
            lines.append(f"D-{i}\t-0.5\t{decoded[i % 3]}")
        lines.append(f"P-{i}\t-0.1 -0.2")
    path.write_text("\n".join([*lines, "Generate test with beam=5: BLEU4 = 1"]), "utf-8")
    return path


@pytest.mark.parametrize("decoded", [RAW, WORDS, SEGMENTED, None])
def test_generate_output_is_read_in_reference_order_however_it_was_decoded(
    tmp_path: Path, decoded: list[str] | None
) -> None:
    path = generated(tmp_path / "out", decoded)
    assert read(path) == ("fairseq-generate", RAW, WORDS)


def test_plain_text_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("".join(f"{line}\r\n" for line in RAW), "utf-8", newline="")
    assert read(tmp_path / "out") == ("text", RAW, WORDS)


def test_only_newline_ends_a_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a\u2028b\x85c\n\nd", "utf-8")
    system = read_system("x", tmp_path / "out", 3, tokenize=list, detokenize=list)
    assert system.text == ["a\u2028b\x85c", "", "d"]


def test_empty_hypothesis_counts_as_one(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("H-0\t-1\t\nD-0\t-1\t\n")
    system = read_system("x", path, 1, tokenize=tokenize, detokenize=lambda lines: lines)
    assert system.text == system.tokenized == [""]


def message(path: Path, count: int) -> str:
    with pytest.raises(DataError) as caught:
        read(path, count)
    return str(caught.value).replace(str(path), "OUT")


def test_missing_hypotheses(tmp_path: Path) -> None:
    path = generated(tmp_path / "out", None, [0, 2])
    assert message(path, 9) == (
        "`OUT` has no H- line for 7 of 9 sentences (ids 1, 3, 4, 5, 6, ...). Decode with "
        "`--required-batch-size-multiple 1`: otherwise fairseq drops the last batch."
    )


def test_missing_decoded_line(tmp_path: Path) -> None:
    path = generated(tmp_path / "out", RAW)
    path.write_text(path.read_text("utf-8").replace("D-1\t", "X-1\t"), "utf-8")
    assert message(path, 3).startswith("`OUT` has no D- line for 1 of 3 sentences (ids 1).")


def test_duplicate_and_surplus_hypotheses_are_told_at_once(tmp_path: Path) -> None:
    path = generated(tmp_path / "out", None, [0, 1, 1, 2])
    assert message(path, 2) == (
        "2 problems:\n"
        "  1. `OUT` has several H- lines for 1 of 2 sentences (ids 1). It must hold one run of "
        "fairseq-generate with `--nbest 1`.\n"
        "  2. `OUT` has H- lines for 1 sentences (ids 2) beyond the 2 references. Is it the "
        "output for another split?"
    )


def test_text_of_another_length(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a\nb\n")
    wanted = "`OUT` must have 3 lines, one for each reference, but has 2 instead."
    assert message(tmp_path / "out", 3) == wanted


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    """A reference and two systems that repeat it with different shares of wrong words."""
    rng = random.Random(0)
    words = [f"{a}{b}" for a in "bdfgklm" for b in ("an", "e's", "i-o", "U")]
    reference = [
        " ".join(rng.choices(words, k=rng.randint(1, 15))).capitalize() + "." for _ in range(80)
    ]

    def spoil(rate: float) -> list[str]:
        lines = (line.split() for line in reference)
        return [
            " ".join(w if rng.random() > rate else rng.choice(words) for w in line)
            for line in lines
        ]

    return {"ref": reference, "plain": spoil(0.3), "better": spoil(0.1)}


@pytest.mark.parametrize("lowercase", [False, True])
def test_scores_are_those_of_the_sacrebleu_command(
    tmp_path: Path, texts: dict[str, list[str]], lowercase: bool
) -> None:
    for name, lines in texts.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    systems = [
        read_system(name, tmp_path / name, 80, tokenize=list, detokenize=list)
        for name in ("plain", "better")
    ]
    ours = compare_systems(
        systems, texts["ref"], texts["ref"], lowercase=lowercase, num_resamples=200
    )

    def sacrebleu(*options: str) -> str:
        case = ["--lowercase", "--chrf-lowercase"] * lowercase
        argv = [sys.executable, "-m", "sacrebleu", "ref", *case, *options]
        return run_command(argv, cwd=tmp_path).stdout

    for name in ("plain", "better"):
        for key, options in {
            "bleu": ("-m", "bleu"),
            "chrf": ("-m", "chrf"),
            "tokenized_bleu": ("-m", "bleu", "--tokenize", "none", "--force"),
        }.items():
            theirs = json.loads(sacrebleu("-f", "json", "-w", "13", "-i", name, *options))
            score = ours.scores[name][key]
            assert round(score.score, 13) == theirs["score"]
            assert score.signature == theirs["signature"]
    paired = sacrebleu(
        *("-f", "text", "-w", "10", "-i", "plain", "better", "-m", "bleu", "chrf"),
        *("--paired-bs", "--paired-bs-n", "200"),
    )
    for name in ("plain", "better"):
        for key in ("bleu", "chrf"):
            score = ours.scores[name][key]
            assert f" {score.score:.10f} ({score.mean:.10f} ± {score.interval:.10f}) " in paired
            if score.p_value is not None:
                assert f"(p = {score.p_value:.4f})" in paired


def test_difference_is_paired_and_the_table_shows_it(texts: dict[str, list[str]]) -> None:
    from bertkd_fairseq.scoring import System

    systems = [
        System(name, Path(name), "text", texts[name], texts[name]) for name in ("plain", "better")
    ]
    systems.append(System("same", Path("same"), "text", texts["plain"], texts["plain"]))
    ours = compare_systems(systems, texts["ref"], texts["ref"], lowercase=True, num_resamples=100)
    better, same = ours.scores["better"]["bleu"], ours.scores["same"]["bleu"]
    assert same.difference == 0 and same.difference_interval == (0, 0)
    assert better.difference_interval is not None and better.difference is not None
    assert 0 < better.difference_interval[0] < better.difference < better.difference_interval[1]
    assert better.p_value is not None and better.p_value < 0.02
    table = format_table(ours)
    assert f"{better.difference:+.2f} [" in table
    assert "paired bootstrap of BLEU against 'plain', 100 resamples, seed 12345" in table
    assert "Case is ignored" in table and "case:lc" in table
