"""Ordinary translation models as teachers, alone, together and beside a C-MLM one, against fairseq's own scores."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.sequence_scorer import SequenceScorer

from bertkd_fairseq.dump.config import DumpConfig
from bertkd_fairseq.dump.job import DumpJob
from bertkd_fairseq.dump.rows import token_batches
from bertkd_fairseq.dump.scores import from_records
from bertkd_fairseq.files import hash_file
from bertkd_fairseq.topk_store import TopKStore
from tests.conftest import BERTKD, USER_DIR, fairseq_command, run_command
from tests.integration.conftest import DISTILL, DUMP, STUDENT, logged, train_command

PLAIN = ("--task", "translation", "--criterion", "label_smoothed_cross_entropy")
LSTM = (
    *("--arch", "lstm", "--optimizer", "adam", "--lr", 5e-3, "--max-tokens", 1000),
    *("--encoder-embed-dim", 32, "--encoder-hidden-size", 32, "--encoder-layers", 1),
    *("--decoder-embed-dim", 32, "--decoder-hidden-size", 32, "--decoder-layers", 1),
    *("--decoder-out-embed-dim", 32),
)


@pytest.fixture(scope="session")
def translators(tmp_path_factory: pytest.TempPathFactory, data_bin: Path) -> list[Path]:
    """A Transformer and an LSTM after some updates, from src to tgt."""
    found = []
    for name, options in (("transformer", STUDENT), ("lstm", LSTM)):
        save = tmp_path_factory.mktemp(name)
        more = ("--max-update", 60, "--save-dir", save, "--disable-validation")
        run_command(train_command(data_bin, *options, *PLAIN, *more))
        found.append(save / "checkpoint_last.pt")
    return found


def reference_scores(data_bin: Path, paths: list[Path]) -> list[np.ndarray]:
    """Return log2 p of each token of the test split as fairseq-generate scores references, by sentence."""
    options = ["--score-reference", "--path", ":".join(map(str, paths)), "--max-tokens", 900]
    options += [
        "--required-batch-size-multiple",
        1,
        "--cpu",
    ]  # or the last of the sentences are left out
    command = [*fairseq_command("generate"), data_bin, "--user-dir", USER_DIR, *options]
    output = run_command(command).stdout
    lines = dict(re.findall(r"^P-(\d+)\t(.*)$", output, re.MULTILINE))
    return [np.array(lines[str(i)].split(), dtype=float) for i in range(len(lines))]


def job_of(data_bin: Path, paths: list[Path], **options: object) -> DumpJob:
    """A dump by the library."""
    options = {"precision": "fp32", **options}
    config = DumpConfig(
        data_bin=str(data_bin), path=":".join(map(str, paths)), destdir="-", **options
    )
    return DumpJob(config.path, str(data_bin), config.row_settings(config.precision, "cpu"))


def gold_log_probs(job: DumpJob) -> list[np.ndarray]:
    """Return log p(gold) of every sentence as the dump works it out, before anything is rounded to float16."""
    dump = job.dump(torch.device("cpu"))
    found = {}
    for batch in token_batches(dump.copies(range(len(job.target_sizes))), dump.max_tokens):
        log_probs, _ = dump.log_probs(batch)
        gold = np.concatenate([pair.target for pair in batch])
        of_gold = log_probs.numpy()[np.arange(len(gold)), gold]
        for pair, values in zip(
            batch, np.split(of_gold, np.cumsum([len(p.target) for p in batch])[:-1]), strict=True
        ):
            found[int(pair.rows[0])] = values
    return [found[row] for row in sorted(found)]


def scored_by_fairseq(job: DumpJob, data_bin: Path) -> list[np.ndarray]:
    """Return log p(gold) of every sentence by fairseq's own scorer, one at a time."""
    task = job.teachers[0].task
    task.load_dataset("test")
    dataset, scorer = task.dataset("test"), SequenceScorer(task.target_dictionary)
    models = [teacher.model for teacher in job.teachers]
    batches = (dataset.collater([dataset[i]]) for i in range(len(dataset)))
    return [scorer.generate(models, batch)[0][0]["positional_scores"].numpy() for batch in batches]


@pytest.mark.parametrize("which", [[0], [1], [0, 1]], ids=["transformer", "lstm", "both"])
def test_gold_scores_are_fairseqs(
    data_bin: Path, translators: list[Path], which: list[int]
) -> None:
    paths = [translators[i] for i in which]
    job = job_of(data_bin, paths, gen_subset="test")
    ours = gold_log_probs(job)
    for row, theirs in zip(ours, scored_by_fairseq(job, data_bin), strict=True):
        np.testing.assert_allclose(row, theirs, rtol=0, atol=1e-5)
    # What its command prints is to base 2, with four digits after the point.
    for row, theirs in zip(ours, reference_scores(data_bin, paths), strict=True):
        np.testing.assert_allclose(row / np.log(2), theirs, rtol=0, atol=6.5e-5)


@pytest.fixture(scope="module")
def mixture(
    tmp_path_factory: pytest.TempPathFactory, data_bin: Path, teacher: Path, translators: list[Path]
) -> Path:
    """Store of the training split from all three, by one process, every block in one file."""
    dest = tmp_path_factory.mktemp("mixture") / "topk"
    run_command(mixture_command(data_bin, [teacher, *translators], dest))
    return dest


def mixture_command(data_bin: Path, paths: list[Path], dest: Path) -> list[object]:
    """Return the argv of the dump of a weighted mixture."""
    options = ["--weights", ".5,.3,.2", "--topk", 4, "--block-size", 100]
    return [*DUMP, data_bin, "--path", ":".join(map(str, paths)), "--destdir", dest, *options]


def test_a_store_of_all_symbols_holds_the_weighted_mean(
    tmp_path: Path, data_bin: Path, teacher: Path, translators: list[Path]
) -> None:
    """Each teacher's own store, all of its symbols, averaged by hand."""
    symbols = len((data_bin / "dict.tgt.txt").read_text().splitlines()) + 4
    weights, dense = (0.6, 0.4), []
    paths = [teacher, translators[0]]
    for name, path in {
        "cmlm": paths[0],
        "nmt": paths[1],
        "both": ":".join(map(str, paths)),
    }.items():
        k = symbols - 4 if name == "cmlm" else symbols  # no <s>, <pad> and two made-up words
        command = [*DUMP, data_bin, "--path", path, "--destdir", tmp_path / name, "--topk", k]
        more = ["--weights", ".6,.4"] if name == "both" else []
        run_command([*command, "--gen-subset", "valid", *more])
        dense.append(probabilities(TopKStore.open(tmp_path / name), symbols))
    cmlm, nmt, both = dense
    wanted = weights[0] * cmlm + weights[1] * nmt
    np.testing.assert_allclose(both, wanted, rtol=8e-3, atol=1e-7)  # float16 below e^-8
    assert (both.argmax(1) == wanted.argmax(1)).mean() > 0.99


def probabilities(store: TopKStore, symbols: int) -> np.ndarray:
    """Return what a store says of every symbol at every token: (tokens, V)."""
    rows = store.sentences(np.arange(len(store)))
    dense = np.zeros((len(rows.ids), symbols))
    np.put_along_axis(dense, rows.ids.astype(int), np.exp(rows.logprobs.astype(float)), axis=1)
    return dense


def test_the_store_says_which_teachers_it_has(
    mixture: Path, teacher: Path, translators: list[Path]
) -> None:
    meta = json.loads((mixture / "meta.json").read_text())
    facts = [(t["kind"], t["arch"], t["sha256"], t["weight"]) for t in meta["teachers"]]
    assert facts == [
        ("cmlm", "bert_cmlm_teacher", hash_file(teacher), 0.5),
        ("translation", "transformer_iwslt_de_en", hash_file(translators[0]), 0.3),
        ("translation", "lstm", hash_file(translators[1]), 0.2),
    ]
    assert meta["teacher"]["arch"] == "mixture"
    assert (meta["num_masks"], meta["source_lang"], meta["target_lang"]) == (7, "src", "tgt")
    alone = {"teacher", "num_masks", "split", "hashes", "precision", "max_tokens", "too_long"}
    assert alone <= meta.keys()


def test_scores_of_each_teacher(mixture: Path, data_bin: Path, translators: list[Path]) -> None:
    """Those of the first translation model against its store of all symbols."""
    store = TopKStore.open(mixture)
    scores = from_records(store.meta["teacher_scores"])
    assert len(scores) == 4
    tokens, sentences = store.meta["num_tokens"], len(store)
    assert {score.all.tokens for score in scores} == {tokens}
    assert {score.eos.tokens for score in scores} == {sentences}
    assert all(0 < score.symbols.accuracy < 1 < score.symbols.perplexity for score in scores)
    alone = job_of(data_bin, [translators[0]], gen_subset="train")
    log_p = np.concatenate(gold_log_probs(alone))
    assert scores[1].all.logprob == pytest.approx(log_p.sum(), rel=1e-5)
    assert scores[1].all.perplexity == pytest.approx(np.exp(-log_p.mean()), rel=1e-5)
    # A mean of probabilities is worth at least the mean of what they are worth (Jensen).
    means = [score.all.logprob for score in scores]
    assert means[3] > 0.5 * means[0] + 0.3 * means[1] + 0.2 * means[2]


def test_a_killed_dump_continues_and_shards_agree(
    tmp_path: Path, data_bin: Path, teacher: Path, translators: list[Path], mixture: Path
) -> None:
    """Blocks of two processes, the second one's begun before the first one's: the same bytes, scores too."""
    dest = tmp_path / "topk"
    command = mixture_command(data_bin, [teacher, *translators], dest)
    run_command([*command, "--num-shards", 2, "--shard-id", 0])
    assert not dest.exists()
    other = run_command([*command[:-6], "--weights", ".4,.4,.2", *command[-4:]], check=False)
    assert other.returncode == 2
    assert "was made with other settings (teacher: {" in other.stderr
    run_command(command)  # goes on alone
    for file in mixture.iterdir():
        assert (dest / file.name).read_bytes() == file.read_bytes(), file.name


def test_draws_and_an_estimate(tmp_path: Path, data_bin: Path, translators: list[Path]) -> None:
    paths = ":".join(map(str, translators))
    command = [*DUMP, data_bin, "--path", paths, "--destdir", tmp_path / "topk", "--gen-subset"]
    output = run_command([*command, "valid", "--dry-run"]).stdout
    assert float(dict(line.split() for line in output.splitlines())["tokens_per_second"]) > 0
    assert not (tmp_path / "topk").exists()
    run_command([*command, "valid", "--entries", "sampled", "--num-samples", 9])
    store = TopKStore.open(tmp_path / "topk")
    rows = store.sentences(np.arange(len(store)))
    shares = 9 * np.exp(rows.logprobs.astype(float))
    np.testing.assert_allclose(shares.sum(1), 9, rtol=2e-3)


def test_too_long_for_one_of_them(tmp_path: Path, data_bin: Path, translators: list[Path]) -> None:
    """A model with 12 positions a side: longer sources are cut, and pairs with longer targets have no teacher."""
    more = ("--max-source-positions", 10, "--max-target-positions", 12, "--max-update", 1)
    skip = ("--skip-invalid-size-inputs-valid-test", "--save-dir", tmp_path / "short")
    run_command(train_command(data_bin, *STUDENT, *PLAIN, *more, *skip))
    paths = [translators[0], tmp_path / "short" / "checkpoint_last.pt"]
    job = job_of(data_bin, paths, gen_subset="train")
    source_sizes, target_sizes = np.asarray(job.pairs.src_sizes), job.target_sizes
    no_room, cut = target_sizes > 12, (source_sizes > 10) & (target_sizes <= 12)
    assert no_room.any() and cut.any()
    assert (job.too_long().no_teacher, job.too_long().source_cut) == (no_room.sum(), cut.sum())
    first = int(np.flatnonzero(no_room)[0])
    rows = job.dump(torch.device("cpu")).block([first], lambda tokens: None)
    assert not rows.has_teacher.any()


def test_half_precision_changes_little(data_bin: Path, translators: list[Path]) -> None:
    exact, rounded = (
        job_of(data_bin, translators, gen_subset="valid", precision=precision)
        for precision in ("fp32", "bf16")
    )
    difference = np.concatenate(gold_log_probs(exact)) - np.concatenate(gold_log_probs(rounded))
    assert 0 < np.abs(difference).mean() < 0.02


def test_a_student_trains_from_a_mixture(data_bin: Path, mixture: Path) -> None:
    options = ("--teacher-topk", mixture, "--max-update", 2, "--no-save", "--disable-validation")
    output = run_command(train_command(data_bin, *STUDENT, *DISTILL, *options)).stdout
    lines = logged(output)
    assert len(lines) == 2
    assert all(np.isfinite(line["loss"]) and line["kd_loss"] > 0 for line in lines)


def test_inspect_says_how_each_teacher_does(mixture: Path, topk: Path) -> None:
    output = run_command([*BERTKD, "inspect", mixture]).stdout
    table = output.split("\n\nTeachers\n")[1].splitlines()[1:5]
    names = ["cmlm bert_cmlm_teacher", "translation transformer_iwslt_de_en", "translation lstm"]
    for line, who in zip(table, [*names, "together"], strict=True):
        pattern = rf"{re.escape(who)}( [0-9a-f]{{8}})? +([\d.]+ +){{5}}0"
        assert re.fullmatch(pattern, line), line
    assert [line.split()[-6] for line in table] == ["0.50", "0.30", "0.20", "1.00"]
    assert "Teachers" not in run_command([*BERTKD, "inspect", topk]).stdout
