"""Targets beyond the paper's through the real commands: tails, sampled targets, schedules, consistency training."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bertkd_fairseq.topk_store import TopKStore
from tests.conftest import BERTKD, USER_DIR, fairseq_command, run_command
from tests.integration.conftest import DISTILL, DUMP, STUDENT, logged, train_command

UPDATES = ("--max-update", 5, "--disable-validation")


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory, data_bin: Path, teacher: Path) -> Path:
    """A store of 12 draws a token."""
    dest = tmp_path_factory.mktemp("sampled") / "topk"
    dump = [*DUMP, data_bin, "--path", teacher, "--destdir", dest]
    run_command([*dump, "--entries", "sampled", "--num-samples", 12, "--block-size", 50])
    return dest


def test_a_run_with_everything_logs_it_and_its_checkpoint_decodes(
    tmp_path: Path, data_bin: Path, topk: Path
) -> None:
    options = ("--kd-tail", "ghost", "--kd-temperature", 1, "--kd-eos", "hard", "--kd-topk", 2)
    schedule = ("--kd-alpha-schedule", "linear", "--kd-alpha-end", 0.1, "--kd-alpha-updates", 4)
    command = (*STUDENT, *DISTILL, "--teacher-topk", topk, *options, *schedule, *UPDATES)
    consistency = ("--simcut-alpha", 3, "--save-dir", tmp_path)
    lines = logged(run_command(train_command(data_bin, *command, *consistency)).stdout)
    assert [line["kd_alpha"] for line in lines] == [0.5, 0.4, 0.3, 0.2, 0.1]
    for line in lines:
        assert line["kd_loss"] > 0
        assert line["consistency_loss"] > 0
        assert 0 < line["teacher_mass"] < 100
        assert 0 <= line["teacher_agreement"] <= 100
        # Every sentence has one EOS, which goes without.
        assert line["without_teacher"] == pytest.approx(100 * line["bsz"] / line["wpb"], abs=0.2)
    generate = [*fairseq_command("generate"), data_bin, "--path", tmp_path / "checkpoint_last.pt"]
    run_command([*generate, "--user-dir", USER_DIR, "--max-len-b", 10, "--beam", 1])


def test_a_run_with_selected_and_corrected_tokens_logs_it(data_bin: Path, topk: Path) -> None:
    selection = ("--kd-token-selection", "student-loss", "--kd-token-share", 0.5)
    more = ("--kd-better-only", "--kd-loss-correction", 1, "--kd-rank-first", 0.5)
    command = (*STUDENT, *DISTILL, "--teacher-topk", topk, "--no-save", *selection, *more)
    lines = logged(run_command(train_command(data_bin, *command, *UPDATES)).stdout)
    assert len(lines) == 5
    for line in lines:
        assert 0 < line["kd_selected"] <= 51
        assert line["kd_selected"] == pytest.approx(100 - line["without_teacher"], abs=0.01)
        assert 0 < line["kd_rank_loss"] < 1


def test_augmented_inputs_are_the_same_after_a_resume(
    tmp_path: Path, data_bin: Path, topk: Path
) -> None:
    """With data-loader workers, and without any share of the teacher.

    The resume is in the middle of the first epoch: after one in a later epoch fairseq makes other batches, because it
    orders sentences of equal length by the epoch in which a process began.
    """
    augment = ("--kd-augment", 0.3, "--kd-alpha", 0, "--dropout", 0, "--num-workers", 1)
    command = (*STUDENT, *DISTILL, "--teacher-topk", topk, "--disable-validation", *augment)
    updates = ("--max-tokens", 2500, "--save-interval-updates", 1, "--max-update")

    def train(folder: str, last: int) -> list[dict[str, float]]:
        save = ("--save-dir", tmp_path / folder)
        return logged(run_command(train_command(data_bin, *command, *updates, last, *save)).stdout)

    one, parts = train("one", 8), [*train("two", 3), *train("two", 8)]
    assert len(one) == len(parts) == 8
    assert (one[3]["epoch"], one[-1]["epoch"]) == (1, 2)
    for first, second in zip(one, parts, strict=True):
        for key in ("kd_augmented", "loss", "gnorm"):
            assert second[key] == first[key], key
    assert all(5 < line["kd_augmented"] < 40 for line in one)


def test_augmentation_needs_a_store(data_bin: Path) -> None:
    options = (*STUDENT, *DISTILL, "--no-save", "--kd-alpha", 0, "--kd-augment", 0.1, *UPDATES)
    done = run_command(train_command(data_bin, *options), check=False)
    assert (done.returncode, done.stderr[done.stderr.index("error:") :]) == (
        2,
        "error: --teacher-topk must name a teacher store for --kd-augment to draw from, but is missing. "
        "Make one with `bertkd dump-topk`, or leave --kd-augment out.\n",
    )


def test_sampled_targets_say_what_they_are(data_bin: Path, sampled: Path) -> None:
    store = TopKStore.open(sampled)
    assert store.sampled
    assert (store.k, store.meta["seed"]) == (12, 1)
    assert store.meta["signature"].endswith("|targets:sampled, seed 1")
    assert store.verify() == []
    rows = store.sentences(np.arange(len(store)))
    shares = np.exp(rows.logprobs.astype(np.float64))  # (tokens, 12)
    np.testing.assert_allclose(shares.sum(1), 1, atol=2e-3)
    counts = 12 * shares
    np.testing.assert_allclose(counts, counts.round(), atol=0.02)
    assert (np.diff(shares, axis=1) <= 0).all()


def test_inspect_says_of_draws_what_they_can_tell(data_bin: Path, sampled: Path) -> None:
    inspect = [*BERTKD, "inspect", sampled, "--data-bin", data_bin]
    sections = run_command(inspect).stdout.split("\n\n")
    assert [section.splitlines()[0] for section in sections] == [
        "Teacher store",
        "Against the gold tokens, EOS apart",
        "Probability of the drawn symbols, EOS apart",
    ]
    names = [re.split("  +", line)[0] for line in sections[1].splitlines()[1:]]
    assert names == [
        "all target tokens, EOS included",
        "those without a teacher, left out below",
        "gold token is among the draws",
        "probability of the drawn symbols, mean",
        "perplexity of the gold token",
    ]
    done = run_command([*inspect, "--plot", "draws.png"], check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        f"error: --plot draws the teacher's top K, but the targets of {sampled} are sampled. Leave it out.",
    )
    done = run_command([*inspect, "--student", f"plain={sampled}/meta.json"], check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        f"error: --student counts by the teacher's top K, but the targets of {sampled} are sampled. Leave it out.",
    )


def test_sampled_targets_do_not_depend_on_the_workers(
    tmp_path: Path, data_bin: Path, teacher: Path, sampled: Path
) -> None:
    dest = tmp_path / "topk"
    dump = [*DUMP, data_bin, "--path", teacher, "--destdir", dest, "--block-size", 50]
    for shard in (0, 1):
        shards = ("--num-shards", 2, "--shard-id", shard)
        run_command([*dump, "--entries", "sampled", "--num-samples", 12, *shards])
    for file in sampled.iterdir():
        assert (dest / file.name).read_bytes() == file.read_bytes(), file.name


def test_students_learn_from_sampled_targets_at_temperature_one(
    data_bin: Path, sampled: Path
) -> None:
    options = (*STUDENT, *DISTILL, "--teacher-topk", sampled, "--no-save", "--rdrop-alpha", 1)
    done = run_command(train_command(data_bin, *options, "--kd-temperature", 1, *UPDATES))
    lines = logged(done.stdout)
    assert lines[-1]["kd_loss"] < lines[0]["kd_loss"]
    assert lines[-1]["consistency_loss"] > 0


def test_what_would_bias_sampled_targets_is_refused(data_bin: Path, sampled: Path) -> None:
    options = (*STUDENT, *DISTILL, "--teacher-topk", sampled, "--no-save", "--kd-topk", 4)
    options += ("--kd-loss-correction", 1, "--kd-rank-first", 2)
    options += ("--kd-token-selection", "teacher-right")
    done = run_command(train_command(data_bin, *options, *UPDATES), check=False)
    because = f"with {sampled}, whose targets are sampled"
    assert (done.returncode, done.stderr[done.stderr.index("error:") :]) == (
        2,
        "error: 5 problems:\n"
        f"  1. `--kd-temperature` must be 1 {because}, but is 10.0 instead.\n"
        f"  2. `--kd-topk` must be 0 {because}, but is 4 instead.\n"
        f"  3. `--kd-loss-correction` must be 0 {because}, but is 1.0 instead.\n"
        f"  4. `--kd-rank-first` must be 0 {because}, but is 2.0 instead.\n"
        f"  5. `--kd-token-selection` must be all or student-loss {because}, but is teacher-right instead.\n",
    )


def test_options_of_the_other_kind_of_targets_are_refused(data_bin: Path, tmp_path: Path) -> None:
    dump = [*DUMP, data_bin, "--path", "teacher.pt", "--destdir", tmp_path / "topk"]
    done = run_command([*dump, "--num-samples", 5], check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: --num-samples has no meaning with --entries topk. Leave it out.\n",
    )
    done = run_command([*dump, "--entries", "sampled", "--topk", 5, "--seed", -1], check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: 2 problems:\n"
        "  1. `--seed` must be at least 0, but is -1 instead.\n"
        "  2. --topk has no meaning with --entries sampled. Leave it out.\n",
    )
