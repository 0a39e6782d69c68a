"""Scores and tests: sacrebleu's own numbers for one run, a naive reference for several."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from bertkd_fairseq.analysis.compare.comparison import Comparison, Texts, compare_systems
from bertkd_fairseq.analysis.compare.plots import draw_plots
from bertkd_fairseq.analysis.compare.scoring import Measurement, Trials
from bertkd_fairseq.analysis.compare.target import Target
from bertkd_fairseq.analysis.compare.text import length_table
from bertkd_fairseq.analysis.compare.translations import Run, System
from tests.conftest import run_command


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    """A reference and translations that repeat it with different shares of wrong words."""
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

    rates = {"plain": 0.3, "plain2": 0.32, "better": 0.1, "better2": 0.14}
    return {"ref": reference, **{name: spoil(rate) for name, rate in rates.items()}}


def compare(
    texts: dict[str, list[str]], systems: dict[str, list[str]], **kwargs: Any
) -> Comparison:
    """Compare ``systems``, the names of the runs of each."""
    read = [
        System(name, [Run(Path(run), "text", texts[run], texts[run]) for run in runs])
        for name, runs in systems.items()
    ]
    kwargs.setdefault("target", Target("en", "13a"))
    return compare_systems(read, Texts(texts["ref"], texts["ref"]), **kwargs)


@pytest.mark.parametrize("lowercase", [False, True])
def test_one_run_has_the_numbers_of_the_sacrebleu_command(
    tmp_path: Path, texts: dict[str, list[str]], lowercase: bool
) -> None:
    for name, lines in texts.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    systems = {"plain": ["plain"], "better": ["better"]}
    ours = compare(texts, systems, lowercase=lowercase, trials=Trials(200, 300))

    def sacrebleu(*options: str) -> str:
        case = ["--lowercase", "--chrf-lowercase"] * lowercase
        argv = [sys.executable, "-m", "sacrebleu", "ref", *case, *options]
        return run_command(argv, cwd=tmp_path).stdout

    metrics = {
        "bleu": ("-m", "bleu"),
        "chrf": ("-m", "chrf"),
        "tokenized_bleu": ("-m", "bleu", "--tokenize", "none", "--force"),
    }
    for key, options in metrics.items():
        for name in systems:
            theirs = json.loads(sacrebleu("-f", "json", "-w", "13", "-i", name, *options))
            assert round(ours.scores[name][key].score, 13) == theirs["score"]
            assert ours.signatures[key] == theirs["signature"]
        compared = ("-f", "text", "-w", "10", "-i", "plain", "better", *options)
        bootstrap = sacrebleu(*compared, "--paired-bs", "--paired-bs-n", "200")
        shuffled = sacrebleu(*compared, "--paired-ar", "--paired-ar-n", "300")
        for name in systems:
            score = ours.scores[name][key]
            mean, interval = score.resampled_mean, score.interval
            assert f" {score.score:.10f} ({mean:.10f} ± {interval:.10f}) " in bootstrap
        found = ours.scores["better"][key].against_first
        assert found is not None
        assert f"(p = {found.bootstrap_p:.4f})" in bootstrap
        assert f"(p = {found.randomization_p:.4f})" in shuffled


def _naive_bleu(texts: dict[str, list[str]], lines: list[str], where: Any) -> float:
    picked = [lines[i] for i in where], [[texts["ref"][i] for i in where]]
    return BLEU().corpus_score(*picked).score


def test_tests_of_several_runs_against_naive_ones(texts: dict[str, list[str]]) -> None:
    """Sentences are drawn, or swapped, with the translations of all runs; the means are compared."""
    texts = {name: lines[:25] for name, lines in texts.items()}
    systems = {"plain": ["plain", "plain2"], "better": ["better", "better2"]}
    ours = compare(texts, systems, lowercase=False, trials=Trials(40, 50))
    everything = range(25)

    def mean(runs: list[list[str]], where: Any) -> float:
        return fmean(_naive_bleu(texts, lines, where) for lines in runs)

    plain, better = ([texts[run] for run in runs] for runs in systems.values())
    difference = mean(better, everything) - mean(plain, everything)
    score = ours.scores["better"]["bleu"]
    single = [_naive_bleu(texts, lines, everything) for lines in better]
    assert score.runs == pytest.approx(single, abs=1e-9)
    assert (score.score, score.spread) == pytest.approx((fmean(single), stdev(single)))
    found = score.against_first
    assert found is not None and found.difference == pytest.approx(difference)

    drawn = np.random.default_rng(12345).choice(25, size=(40, 25), replace=True)
    gaps = np.array([mean(better, where) - mean(plain, where) for where in drawn])
    assert found.interval == pytest.approx(np.quantile(gaps, (0.025, 0.975)), abs=1e-3)
    beyond = np.abs(gaps) - np.abs(gaps).mean() > abs(difference)  # as in Moses
    assert found.bootstrap_p == pytest.approx((beyond.sum() + 1) / 41)

    kept = np.random.default_rng(12345).integers(2, size=(50, 25), dtype=bool)
    extreme = 0
    for keep in kept:
        mixed = [
            [[p if k else b for p, b, k in zip(*pair, keep, strict=True)] for pair in pairs]
            for pairs in (
                list(zip(plain, better, strict=True)),
                list(zip(better, plain, strict=True)),
            )
        ]
        extreme += abs(mean(mixed[0], everything) - mean(mixed[1], everything)) > abs(difference)
    assert found.randomization_p == pytest.approx((extreme + 1) / 51)


def test_repeating_a_run_changes_no_test(texts: dict[str, list[str]]) -> None:
    """Runs are no further sentences: more of the same must not make a difference significant."""
    trials = Trials(60, 60)
    once = compare(texts, {"a": ["plain"], "b": ["plain2"]}, lowercase=False, trials=trials)
    systems = {"a": ["plain"] * 4, "b": ["plain2"] * 4}
    often = compare(texts, systems, lowercase=False, trials=trials)
    for metric in often.scores["b"]:
        one, four = (c.scores["b"][metric].against_first for c in (once, often))
        assert one is not None and four is not None
        assert four.bootstrap_p == one.bootstrap_p
        assert four.randomization_p == one.randomization_p
        assert four.interval == pytest.approx(one.interval, abs=1e-3)
        assert often.scores["b"][metric].spread == pytest.approx(0)


def test_system_against_itself_and_unequal_numbers_of_runs(texts: dict[str, list[str]]) -> None:
    systems = {"a": ["plain"], "same": ["plain"], "b": ["better", "better2"]}
    scores = compare(texts, systems, lowercase=True, trials=Trials(50, 50)).scores
    assert scores["a"]["bleu"].against_first is None and scores["a"]["bleu"].spread is None
    same, other = (scores[name]["bleu"].against_first for name in ("same", "b"))
    assert same is not None and (same.difference, same.interval) == (0, (0, 0))
    assert (same.bootstrap_p, same.randomization_p) == (1, 1)
    assert other is not None and other.randomization_p is None
    assert 0 < other.interval[0] < other.difference < other.interval[1]
    assert scores["a"]["chrf"].length_ratio is None
    bleu = BLEU(lowercase=True).corpus_score(texts["plain"], [texts["ref"]])
    assert (scores["a"]["bleu"].length_ratio, scores["a"]["bleu"].brevity_penalty) == (
        bleu.ratio,
        bleu.bp,
    )


def test_same_runs_in_another_order_or_number_do_not_differ(texts: dict[str, list[str]]) -> None:
    swapped = {"a": ["plain", "better"], "b": ["better", "plain"]}
    repeated = {"a": ["plain"] * 2, "b": ["plain"]}
    found, once = (
        compare(texts, systems, lowercase=False, trials=Trials(99, 99)).scores["b"]
        for systems in (swapped, repeated)
    )
    for metric, score in found.items():
        other, fewer = score.against_first, once[metric].against_first
        assert other is not None and (other.bootstrap_p, other.randomization_p) == (1, 1)
        assert fewer is not None and (fewer.bootstrap_p, fewer.randomization_p) == (1, None)


def test_single_sentence_is_no_sample(texts: dict[str, list[str]]) -> None:
    texts = {name: lines[:3] for name, lines in texts.items()}
    texts["ref"] = ["one", "one two", "one two three"]
    systems = {"a": ["plain"], "b": ["better"]}
    ours = compare(texts, systems, lowercase=False, trials=Trials(9, 9), bucket_ends=[2])
    assert [bucket.num_sentences for bucket in ours.length_buckets] == [2, 1]
    pair, single = (bucket.bleu["b"] for bucket in ours.length_buckets)
    assert pair.interval is not None and single.interval is None
    found = single.against_first
    assert found is not None and (found.interval, found.bootstrap_p) == (None, None)
    assert [row[-1] for row in length_table(ours)][-1] == "+0.00 [-]"
    assert "Hollow" not in draw_plots(ours)[0].description  # no system has several runs


def test_plot_of_several_runs_says_what_hollow_markers_are(texts: dict[str, list[str]]) -> None:
    systems = {"a": ["plain"], "b": ["better", "plain"]}
    ours = compare(texts, systems, lowercase=False, trials=Trials(9, 9))
    assert draw_plots(ours)[0].description.endswith(" Hollow markers are single runs.")


def test_another_seed_draws_other_sentences(texts: dict[str, list[str]]) -> None:
    systems = {"a": ["plain"], "b": ["plain2"]}
    drawn = {
        (seed, turn): compare(texts, systems, lowercase=False, trials=Trials(50, 50, seed)).scores
        for seed in (1, 2)
        for turn in "ab"
    }
    assert drawn[1, "a"] == drawn[1, "b"] != drawn[2, "a"] == drawn[2, "b"]
    first, second = (drawn[seed, "a"]["b"]["bleu"] for seed in (1, 2))
    assert first.score == second.score and first.resampled_mean != second.resampled_mean


def test_sentence_scores_are_sacrebleus(texts: dict[str, list[str]]) -> None:
    runs = [texts["plain"], texts["plain2"]]
    measured = Measurement(CHRF(references=[texts["ref"]]), [runs])
    for i, score in enumerate(measured.sentence_scores()[0]):
        single = [CHRF().sentence_score(run[i], [texts["ref"][i]]).score for run in runs]
        assert score == pytest.approx(fmean(single))
