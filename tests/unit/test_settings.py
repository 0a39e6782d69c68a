"""A dataclass of settings makes its parser, is filled from it, and tells what is out of range."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertkd_fairseq.settings import (
    add_arguments,
    from_arguments,
    in_options,
    named,
    range_problems,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class ExampleConfig:
    """One of every kind."""

    data_bin: Path = setting("where from", positional=True)
    dest: Path = setting("where to", metavar="DIR")
    topk: int = setting("entries", default=8, at_least=1)
    mask_rate: float = setting("share of masks", default=0.5, above=0, at_most=1)
    alpha: float = setting("weight", default=0.5, at_least=0, at_most=1)
    entries: str = setting("kind", default="topk", choices=("topk", "sampled"))
    seed: int | None = setting("of the draws", default=None, at_least=0)
    lowercase: bool = setting("lowercase it", default=False)
    gen_subset: str = setting("split", default="test", old_option="--split")
    runs: tuple[str, ...] = setting("runs", default=(), repeated=True, read=tuple, option="--run")
    pairs: tuple[int, ...] = setting("how many", default=(3, 2, 1), metavar=("A", "B", "C"))


def parsed(*argv: str) -> ExampleConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser, ExampleConfig)
    return from_arguments(ExampleConfig, parser.parse_args([*argv, "bin", "--dest", "out"]))


def config(**more: Any) -> ExampleConfig:
    return ExampleConfig(data_bin=Path("bin"), dest=Path("out"), **more)


def test_without_options_the_parser_gives_the_defaults_of_the_dataclass() -> None:
    assert parsed() == config()


def test_every_kind_of_value_is_read() -> None:
    argv = "--topk 3 --mask-rate .25 --entries sampled --seed 7 --lowercase --gen-subset valid"
    runs = ("--run", "a", "--run", "b", "--pairs", "4", "5", "6")
    assert parsed(*argv.split(), *runs) == config(
        topk=3,
        mask_rate=0.25,
        entries="sampled",
        seed=7,
        lowercase=True,
        gen_subset="valid",
        runs=("a", "b"),
        pairs=[4, 5, 6],
    )


def test_old_name_works_and_says_what_to_write(caplog: pytest.LogCaptureFixture) -> None:
    assert parsed("--split", "valid") == config(gen_subset="valid")
    assert caplog.messages == [
        "--split is now called --gen-subset; the old name goes in the next version"
    ]
    caplog.clear()
    assert parsed("--gen-subset", "valid") == config(gen_subset="valid")
    assert not caplog.messages


def test_all_that_is_out_of_range_is_told_at_once() -> None:
    wrong = config(topk=0, mask_rate=0.0, alpha=math.nan, entries="draws", seed=-1)
    assert range_problems(wrong) == [
        "`ExampleConfig.topk` must be at least 1, but is 0 instead.",
        "`ExampleConfig.mask_rate` must be above 0 and at most 1, but is 0.0 instead.",
        "`ExampleConfig.alpha` must be from 0 to 1, but is nan instead.",
        "`ExampleConfig.entries` must be one of topk, sampled, but is 'draws' instead.",
        "`ExampleConfig.seed` must be at least 0, but is -1 instead.",
    ]
    assert range_problems(config()) == []


@given(st.floats())
def test_range_is_exactly_the_one_declared(alpha: float) -> None:
    assert bool(range_problems(config(alpha=alpha))) == (not 0 <= alpha <= 1)


def test_command_line_names_options_where_python_names_fields() -> None:
    message = f"`{named(config(), 'mask_rate')}` and {named(ExampleConfig, 'runs')} of mask_rate"
    assert message == "`ExampleConfig.mask_rate` and ExampleConfig.runs of mask_rate"
    assert in_options(message, ExampleConfig) == "`--mask-rate` and --run of mask_rate"
