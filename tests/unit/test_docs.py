"""Tables, options and pictures in the docs are what their sources say."""

from __future__ import annotations

import importlib.util
import math
import re
import shlex
import sys
from types import ModuleType

import pytest

from tests.conftest import CHECKOUT, run_command


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", CHECKOUT / "docs" / "tables.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_page_is_behind_its_tables() -> None:
    done = run_command([sys.executable, CHECKOUT / "docs" / "tables.py", "--check"])
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    "script", ["options.py", "sizes.py", "method_figure.py", "gains_figure.py"]
)
def test_what_a_script_writes_is_current(script: str) -> None:
    done = run_command([sys.executable, CHECKOUT / "docs" / script, "--check"], check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_every_page_has_a_table_and_every_file_is_used(tables: ModuleType) -> None:
    named = [set(tables.table_names(path.read_text("utf-8"))) for path in tables.PAGES]
    assert all(named)
    kept = {path.name for path in (CHECKOUT / "docs" / "results").iterdir()}
    assert kept == set.union(*named)


def test_scores(tables: ModuleType) -> None:
    def metric(score: float, spread: float | None = None) -> dict:
        return {"score": score, "spread": spread, "runs": [score], "length_ratio": 0.9414}

    test = {"difference": -0.516, "interval": [-1.0, 0.25], "bootstrap_p": 0.0123}
    test["randomization_p"] = None
    plain = {name: metric(37.304) for name in ("bleu", "tokenized_bleu", "chrf")}
    other = {name: metric(36.788, 0.5) for name in ("bleu", "tokenized_bleu", "chrf")}
    plain["bleu"]["against_first"], other["bleu"]["against_first"] = None, test
    assert list(tables.scores({"scores": {"plain": plain, "T 1": other}}))[2:] == [
        "| plain | 1 | 37.30 | 37.30 | 37.30 | 0.941 |  |  |  |",
        "| T 1 | 1 | 36.79 ±0.50 | 36.79 ±0.50 | 36.79 ±0.50 | 0.941 | -0.52 [-1.00, +0.25] | .012 |  |",
    ]


def test_teachers(tables: ModuleType) -> None:
    split = {"accuracy": 61.256, "gold_in_top_k": 80.0, "gold_perplexity": 5.101}
    row = {"corpus": "text", "teacher": "cmlm", "train": {**split, "calibration_error": 1.96}}
    row["valid"] = {**row["train"], "accuracy": 52.0}
    assert list(tables.teachers([row]))[2:] == [
        "| text | cmlm | train | 61.3% | 80.0% | 5.10 | 2.0 points |",
        "| text | cmlm | valid | 52.0% | 80.0% | 5.10 | 2.0 points |",
    ]


def test_students(tables: ModuleType) -> None:
    numbers = {"accuracy": 83.84, "teachers_first": 50, "confidence": None, "nll_bits": 4.836}
    tokens = {"first": 2, "later": 1, "outside": 1, "eos": 0, "all": 4}
    summary = {group: {"tokens": count, **numbers} for group, count in tokens.items()}
    students = {"plain": {"files": ["plain.pt"], "runs": [summary]}}
    record = {"students": students, "statistics": {"gold_rank_counts": [2, 1, 1]}}
    assert list(tables.students(record)) == [
        "| student | where the reference is | tokens | right | as teacher | confidence | nll, bits |",
        "|---|---|---|---|---|---|---|",
        "| plain | the teacher's first | 50.0% | 83.8% | 50.0% | - | 4.84 |",
        "| plain | another of its top 2 | 25.0% | 83.8% | 50.0% | - | 4.84 |",
        "| plain | none of these | 25.0% | 83.8% | 50.0% | - | 4.84 |",
        "| plain | EOS | 0.0% | 83.8% | 50.0% | - | 4.84 |",
        "| plain | all | 100.0% | 83.8% | 50.0% | - | 4.84 |",
    ]


def test_a_metric_on_valid(tables: ModuleType) -> None:
    def row(run: str, update: int, value: float, metric: str) -> dict[str, str]:
        return {
            "run": run,
            "split": "valid",
            "update": str(update),
            "metric": metric,
            "value": str(value),
        }

    rows = [row("a", 1000, 20, "bleu"), row("a", 500, 10, "bleu"), row("b", 500, 11.126, "bleu")]
    rows += [row("a", 1000, 3, "nll_loss"), row("a", 500, 2.25, "nll_loss")]
    assert list(tables.on_valid(rows, "bleu")) == [
        "| updates | 500 | 1,000 |",
        "|---|---|---|",
        "| a | 10.00 | **20.00** |",
        "| b | **11.13** |  |",
    ]
    assert list(tables.on_valid(rows, "nll_loss")) == [
        "| updates | 500 | 1,000 |",
        "|---|---|---|",
        "| a | **2.25** | 3.00 |",
    ]


def test_ladder(tables: ModuleType) -> None:
    def row(arm: str, seed: int, nll: float, bleu: float, **more: object) -> dict[str, object]:
        facts = {"against": "plain", "updates": 1200, "seconds": 90, "cpu": "CPU", "threads": 1}
        facts |= {"precision": "bf16", "signature": "sig", "valid_nll": nll, "valid_bleu": bleu}
        return {"arm": arm, "seed": seed, **facts, **more}

    rows = [row("plain", 1, 3, 30), row("plain", 2, 3.1, 31), row("plain", 3, 3.2, 30)]
    rows += [row("kd", 1, 2.9, 30.5), row("kd", 2, 2.8, 31.5, test_bleu=33)]
    rows += [row("one", 3, 3.2, 29)]
    assert list(tables.ladder(rows))[2:] == [
        "| plain | 3 | 1,200 | 3.100 ±0.100 | 30.33 ±0.58 |  |  |  |  |  |  | 2 |  |",
        "| kd | 2 | 1,200 | 2.850 ±0.071 | 31.00 ±0.71 | plain | 2 | -0.200 | .295 | +0.50 |  | 2 | 33.00 |",
        "| one | 1 | 1,200 | 3.200 | 29.00 | plain | 1 | +0.000 |  | -1.00 |  | 2 |  |",
        "",
        "`sig`; CPU, 1 thread(s), bf16.",
    ]
    assert len(list(tables.ladder([]))) == 2


@pytest.mark.parametrize("gaps", [[0.2, 0.5, 0.1], [-1.0, 1.0], [1.03, 0.19, 0.65]])
def test_paired_t_test_over_seeds(tables: ModuleType, gaps: list[float]) -> None:
    """Student's t by its closed forms for one and two degrees of freedom."""
    n, mean = len(gaps), sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / (n - 1)
    t = abs(mean) / math.sqrt(variance / n)
    tail = 1 - 2 / math.pi * math.atan(t) if n == 2 else 1 - t / math.sqrt(2 + t * t)
    assert tables.over_seeds_p(gaps) == pytest.approx(tail, abs=1e-12)


@pytest.mark.parametrize(
    ("file", "page", "command"),
    [
        ("teacher.txt", "teacher.md", "--task bert_cmlm"),
        ("student.txt", "student.md", "--arch transformer_iwslt_de_en"),
        ("generate.txt", "compare.md", "fairseq-generate"),
    ],
)
def test_pages_quote_the_options_of_the_method(file: str, page: str, command: str) -> None:
    options = (CHECKOUT / "bertkd_fairseq" / "options" / file).read_text("utf-8").splitlines()
    text = (CHECKOUT / "docs" / page).read_text("utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    quoted = next(block for block in blocks if command in block)
    words = shlex.split(quoted.replace("\\\n", " "), comments=True)
    assert [option for option in options if option not in words] == []
