"""Half of --max-tokens and twice --update-freq: the same training, where batches can be halved.

They can where all pairs are of one length. Elsewhere fairseq makes other batches of the same pairs;
what stays is the number of tokens an update, and that the loss is divided by all of them at once.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import torch

from bertkd_fairseq.demo.language import write_corpus
from bertkd_fairseq.text.segmentation.wordpiece import WordPieceSegmenter
from tests.conftest import BERTKD, USER_DIR, run_command
from tests.integration.conftest import DISTILL, DUMP, EXACT, STUDENT, logged, train_command

PAIRS, UPDATES = 32, 3
TASKS = {
    "teacher": (
        *EXACT,
        *("--user-dir", USER_DIR, "--task", "bert_cmlm", "--arch", "bert_cmlm_teacher"),
        *("--criterion", "bert_cmlm_cross_entropy", "--dropout", 0),
    ),
    "plain": (*STUDENT, "--dropout", 0, "--criterion", "label_smoothed_cross_entropy"),
    "distilled": (*STUDENT, "--dropout", 0, *DISTILL, "--kd-alpha", 0.5, "--kd-temperature", 10),
}


def equal_pairs(folder: Path, tokenizer: Path) -> tuple[int, int]:
    """Write training pairs of one length on either side, valid pairs; return the two lengths."""
    write_corpus(folder / "all", num_train=3000, num_valid=20, num_test=1)
    segmenter = WordPieceSegmenter(tokenizer)
    sides = [
        (folder / "all" / f"train.{lang}").read_text("utf-8").splitlines()
        for lang in ("src", "tgt")
    ]
    by_length: dict[tuple[int, ...], list[tuple[str, ...]]] = defaultdict(list)
    for pair in zip(*sides, strict=True):
        by_length[tuple(len(segmenter.segment(side).split()) for side in pair)].append(pair)
    (source, target), pairs = max(by_length.items(), key=lambda item: len(item[1]))
    assert len(pairs) >= PAIRS
    for lang, side in zip(("src", "tgt"), zip(*pairs[:PAIRS], strict=True), strict=True):
        (folder / f"train.{lang}").write_text("".join(f"{line}\n" for line in side), "utf-8")
    return source + 1, target + 1  # EOS


@pytest.fixture(scope="module")
def equal(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> tuple[Path, dict[str, int]]:
    """The data-bin, and the tokens that a pair counts as in each training."""
    folder = tmp_path_factory.mktemp("equal")
    source, target = equal_pairs(folder, tiny_bert)
    prepare = [*BERTKD, "prepare", "--source-lang", "src", "--target-lang", "tgt"]
    prepare += ["--train", folder / "train", "--valid", folder / "all" / "valid"]
    run_command([*prepare, "--tokenizer", tiny_bert, "--destdir", folder / "data-bin"])
    longer = max(source, target)
    tokens = {"teacher": 1 + source + target, "plain": longer, "distilled": longer}
    return folder / "data-bin", tokens


def random_store(data_bin: Path, dest: Path, tiny_bert: Path) -> Path:
    """Return a store of an untrained teacher."""
    save_dir = dest.with_name("untrained")
    options = (*TASKS["teacher"], "--bert-model", tiny_bert, "--optimizer", "sgd", "--lr", 1e-9)
    few = ("--batch-size", 32, "--max-update", 1, "--save-dir", save_dir, "--disable-validation")
    run_command(train_command(data_bin, *options, *few))
    path = save_dir / "checkpoint_last.pt"
    run_command([*DUMP, data_bin, "--path", path, "--destdir", dest, "--topk", 4])
    return dest


@pytest.mark.parametrize("name", TASKS)
def test_half_the_tokens_twice_as_often(
    name: str, equal: tuple[Path, dict[str, int]], tmp_path: Path, tiny_bert: Path
) -> None:
    data_bin, tokens = equal
    options: list[object] = [*TASKS[name], "--optimizer", "sgd", "--lr", 0.5, "--clip-norm", 1.0]
    options += ["--max-update", UPDATES, "--disable-validation"]
    if name == "teacher":
        options += ["--bert-model", tiny_bert]
    if name == "distilled":
        options += ["--teacher-topk", random_store(data_bin, tmp_path / "topk", tiny_bert)]
    whole = PAIRS * tokens[name]
    results = {}
    for max_tokens, update_freq in ((whole, 1), (whole // 2, 2), (whole // 2, 1)):
        save_dir = tmp_path / f"{max_tokens}x{update_freq}"
        sizes = ["--max-tokens", max_tokens, "--update-freq", update_freq, "--save-dir", save_dir]
        done = run_command(train_command(data_bin, *options, *sizes))
        model = torch.load(save_dir / "checkpoint_last.pt", weights_only=False)["model"]
        results[max_tokens, update_freq] = logged(done.stdout), model
    (lines, model), (halved, other), (fewer, different) = results.values()
    assert [line["bsz"] for line in lines] == [line["bsz"] for line in halved] == [PAIRS] * UPDATES
    assert {line["bsz"] for line in fewer} == {PAIRS / 2}
    for key in ("loss", "gnorm", "wpb"):
        assert [line[key] for line in lines] == pytest.approx([x[key] for x in halved], abs=2e-3)
    distances = [
        max(float((model[key].double() - m[key].double()).abs().max()) for key in model)
        for m in (other, different)
    ]
    assert distances[0] < 1e-5 < 1e-3 < distances[1]
