"""Reading translations: every sentence once, in the order of the reference, in both forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertkd_fairseq.analysis.compare.translations import read_run
from bertkd_fairseq.errors import DataError

RAW = ["A man, alone.", "Two dogs run.", "It's a T-shirt!"]
WORDS = ["A man , alone .", "Two dogs run .", "It 's a T-shirt !"]
SEGMENTED = ["A man , al ##one .", "Two dog ##s run .", "It 's a T ￭- ￭shirt !"]


def tokenize(lines: list[str]) -> list[str]:
    """Stand in for Moses: knows the three sentences only."""
    return [WORDS[RAW.index(line)] for line in lines]


def detokenize(lines: list[str]) -> list[str]:
    return [RAW[WORDS.index(line)] for line in lines]


def read(
    path: Path, count: int = 3, reference: list[str] | None = None
) -> tuple[str, list[str], list[str]]:
    run = read_run(path, count, tokenize=tokenize, detokenize=detokenize, reference=reference)
    return run.format, run.text, run.tokenized


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


@pytest.mark.parametrize("order", ["as printed", "sorted"])
def test_the_first_of_each_list_counts(tmp_path: Path, order: str) -> None:
    lines = generated(tmp_path / "out", RAW).read_text("utf-8").splitlines()
    others = {i: [f"H-{i}\t-9.5\tworse", f"D-{i}\t-9.5\tworse", f"P-{i}\t-9.1"] for i in range(3)}
    lists = [
        part
        for line in lines
        for part in (line, *(others[int(line[2])] if line[:1] == "P" else ()))
    ]
    (tmp_path / "out").write_text("\n".join(lists if order == "as printed" else sorted(lists)))
    assert read(tmp_path / "out") == ("fairseq-generate", RAW, WORDS)


def test_plain_text_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("".join(f"{line}\r\n" for line in RAW), "utf-8", newline="")
    assert read(tmp_path / "out") == ("text", RAW, WORDS)


def test_only_newline_ends_a_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a\u2028b\x85c\n\nd", "utf-8")
    run = read_run(tmp_path / "out", 3, tokenize=list, detokenize=list)
    assert run.text == ["a\u2028b\x85c", "", "d"]


def test_empty_hypothesis_counts_as_one(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("H-0\t-1\t\nD-0\t-1\t\n")
    run = read_run(path, 1, tokenize=tokenize, detokenize=lambda lines: lines)
    assert run.text == run.tokenized == [""]


def message(path: Path, count: int, reference: list[str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(path, count, reference)
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
        "  1. `OUT` has H- lines in several places for 1 of 2 sentences (ids 1). It must hold the output of one run of "
        "fairseq-generate.\n"
        "  2. `OUT` has H- lines for 1 sentences (ids 2) beyond the 2 references. Is it the "
        "output for another split?"
    )


def test_text_of_another_length(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a\nb\n")
    wanted = "`OUT` must have 3 lines, one for each reference, but has 2 instead."
    assert message(tmp_path / "out", 3) == wanted


def with_targets(path: Path, targets: list[str]) -> Path:
    generated(path, None)
    lines = path.read_text("utf-8").splitlines()
    told = {f"T-{i}\t": f"T-{i}\t{text}" for i, text in enumerate(targets)}
    named = [told.get(line.partition("\t")[0] + "\t", line) for line in lines]
    path.write_text("\n".join(named), "utf-8")
    return path


@pytest.mark.parametrize(
    "targets",
    [
        SEGMENTED,
        ["a man , al@@ one .", "two dog@@ s run .", "it &apos;s a t-shirt !"],  # BPE, lowercased
        ["▁A ▁man , ▁alone .", "▁Two ▁dogs ▁run .", "▁It ' s ▁a ▁T - shirt !"],
        [SEGMENTED[0], SEGMENTED[1], "It 's a <<unk>> !"],
    ],
)
def test_targets_of_the_same_sentences_however_they_were_cut(
    tmp_path: Path, targets: list[str]
) -> None:
    path = with_targets(tmp_path / "out", targets)
    assert read(path, 3, RAW) == ("fairseq-generate", RAW, WORDS)


def test_translations_of_another_split_of_the_same_size(tmp_path: Path) -> None:
    path = with_targets(tmp_path / "out", [SEGMENTED[0], "Other words .", "And more ."])
    assert message(path, 3, RAW) == (
        "`OUT` must be translations of this reference, but its T- lines agree with only 1 of 3 sentences. "
        "Decode this split (--gen-subset), or name the reference of the other split."
    )


OTHERS = {
    "bpe": ["A man , al@@ one .", "Two dog@@ s run .", "It &apos;s a T@@ -@@ shirt !"],
    "sentencepiece": ["▁A ▁man , ▁al one .", "▁Two ▁dog s ▁run .", "▁It ' s ▁a ▁T - shirt !"],
}


def of_other_tools(path: Path, symbols: list[str], decoded: list[str]) -> Path:
    pairs = enumerate(zip(symbols, decoded, strict=True))
    lines = [f"H-{i}\t-0.5\t{h}\nD-{i}\t-0.5\t{d}" for i, (h, d) in pairs]
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.mark.parametrize("scheme", OTHERS)
def test_words_of_other_schemes_are_those_of_the_decoded_text(tmp_path: Path, scheme: str) -> None:
    path = of_other_tools(tmp_path / "out", OTHERS[scheme], RAW)
    assert read(path, reference=RAW) == ("fairseq-generate", RAW, WORDS)


@pytest.mark.parametrize("scheme", OTHERS)
def test_symbols_of_other_schemes_have_to_be_decoded(tmp_path: Path, scheme: str) -> None:
    path = of_other_tools(tmp_path / "out", OTHERS[scheme], OTHERS[scheme])
    assert message(path, 3) == (
        f"`OUT` must hold words or text, but holds symbols of {scheme}. Decode again with --bpe, or with "
        "--post-process."
    )


def test_words_that_moses_escaped_are_those_of_the_reference(tmp_path: Path) -> None:
    """As ``--remove-bpe`` leaves them, where the data-bin was made with Moses' own escapes."""
    escaped = [words.replace("'", "&apos;") for words in WORDS]
    path = of_other_tools(tmp_path / "out", escaped, escaped)
    assert read(path, reference=RAW) == ("fairseq-generate", RAW, WORDS)
