"""A dataclass of settings makes its parser, is filled from it, and tells what is out of range."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
    max_ratio: float = setting("of lengths", default=2.5, at_least=1)
    entries: str = setting("kind", default="topk", choices=("topk", "sampled"))
    seed: int | None = setting("of the draws", default=None, at_least=0)
    lowercase: bool = setting("lowercase it", default=False)
    gen_subset: str = setting("split", default="test", old_option="--split")
    inputs: tuple[Path, ...] | None = setting("files", default=None, several=True)
    logs: tuple[str, ...] = setting("by the subcommand", default=(), option="--run", declared=False)
    pairs: tuple[int, ...] = setting("how many", default=(3, 2, 1), metavar=("A", "B", "C"))


def parsed(*argv: str) -> ExampleConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser, ExampleConfig)
    args = parser.parse_args(["bin", "--dest", "out", *argv])
    return from_arguments(ExampleConfig, args, logs=("a",))


def config(**more: Any) -> ExampleConfig:
    return ExampleConfig(data_bin=Path("bin"), dest=Path("out"), logs=("a",), **more)


def test_without_options_the_parser_gives_the_defaults_of_the_dataclass() -> None:
    assert parsed() == config()


def test_every_kind_of_value_is_read() -> None:
    argv = "--topk 3 --max-ratio 1.25 --entries sampled --seed 7 --lowercase --gen-subset valid"
    several = ("--inputs", "a", "b", "--pairs", "4", "5", "6")
    assert parsed(*argv.split(), *several) == config(
        topk=3,
        max_ratio=1.25,
        entries="sampled",
        seed=7,
        lowercase=True,
        gen_subset="valid",
        inputs=[Path("a"), Path("b")],
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
    wrong = config(topk=0, max_ratio=math.nan, entries="draws", seed=-1)
    assert range_problems(wrong) == [
        "`ExampleConfig.topk` must be at least 1, but is 0 instead.",
        "`ExampleConfig.max_ratio` must be at least 1, but is nan instead.",
        "`ExampleConfig.entries` must be one of topk, sampled, but is 'draws' instead.",
        "`ExampleConfig.seed` must be at least 0, but is -1 instead.",
    ]
    assert range_problems(config(topk=1, max_ratio=1.0, seed=0)) == []


def test_command_line_names_options_where_python_names_fields() -> None:
    message = f"`{named(config(), 'max_ratio')}` and {named(ExampleConfig, 'logs')} of max_ratio"
    assert message == "`ExampleConfig.max_ratio` and ExampleConfig.logs of max_ratio"
    assert in_options(message, ExampleConfig) == "`--max-ratio` and --run of max_ratio"
