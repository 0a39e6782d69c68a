"""The ``bertkd`` command itself: its help, its exit codes, and ``user-dir``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from bertkd_fairseq import __version__, cli
from bertkd_fairseq.errors import DataError
from tests.conftest import BERTKD, USER_DIR, command_environment, run_command

COMMANDS = sorted(cli.COMMANDS)


def module_of(command: str) -> types.ModuleType:
    return importlib.import_module(f"bertkd_fairseq.cli.{command.replace('-', '_')}")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A subcommand ``stub`` whose ``run`` the test sets."""
    module = types.ModuleType("bertkd_fairseq.cli.stub")
    module.EXAMPLE = "bertkd stub"
    module.add_arguments = lambda parser: parser.add_argument("--code", type=int, default=0)
    module.run = lambda args: args.code
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.COMMANDS, "stub", "do nothing")
    return module


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: bertkd {command} ")
    assert cli.COMMANDS[command] in " ".join(text.split())
    assert text.endswith(f"example:\n  {module_of(command).EXAMPLE}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_begins_with_a_command_and_knows_its_options(command: str) -> None:
    module = module_of(command)
    words = module.EXAMPLE.split()
    if words[:2] != ["bertkd", command]:
        assert f"$(bertkd {command})" in module.EXAMPLE
        return
    parser = argparse.ArgumentParser(exit_on_error=False)
    module.add_arguments(parser)
    parser.parse_args(words[2:])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(
        rf"bertkd-fairseq {re.escape(__version__)}( \(commit \w+(-dirty)?\))?\n", out
    )


def test_a_checkout_tells_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bertkd_fairseq.installed.user_dir", lambda: tmp_path / "bertkd_fairseq")
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"bertkd-fairseq {__version__}\n"  # an installed package
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    for content, mark in (("one", ""), ("two", "-dirty")):
        (tmp_path / "file").write_text(content)
        assert cli.main(["--version"]) == 0
        found = re.fullmatch(r"bertkd-fairseq \S+ \(commit (\w+)(.*)\)\n", capsys.readouterr().out)
        assert found and head.stdout.startswith(found[1]) and found[2] == mark


def completions(line: str, tmp_path: Path) -> list[str]:
    """Return what argcomplete offers a shell at the end of a line."""
    answer = tmp_path / "answer"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_IFS": "\n"}
    asked |= {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    asked |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}
    env = {**command_environment(), **asked}
    subprocess.run([*BERTKD], env=env, check=True, capture_output=True)
    return answer.read_text().split("\n")


@pytest.mark.skipif(
    importlib.util.find_spec("argcomplete") is None, reason="argcomplete isn't installed"
)
def test_a_shell_completes_commands_options_and_choices(tmp_path: Path) -> None:
    assert completions("bertkd e", tmp_path) == ["explore", "export"]
    assert completions("bertkd export --qu", tmp_path) == ["--quantization"]
    found = completions("bertkd export --quantization int", tmp_path)
    assert found == ["int8", "int16", "int8_float16"]


def test_help_comes_at_once() -> None:
    """In processor time, which other work on the machine doesn't lengthen much; with the interpreter's own start."""
    times = []
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [*BERTKD, "--help"], env=command_environment(), check=True, capture_output=True
        )
        after = os.times()
        times.append(sum(after[2:4]) - sum(before[2:4]))
    assert min(times) < 0.3


def test_help_shows_defaults_as_they_are_typed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    texts = {}
    for command in ("iwslt14", "curves"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        texts[command] = capsys.readouterr().out
    assert "(default: 160239 7283 6750)" in texts["iwslt14"]
    assert "text above the picture\n" in texts["curves"]  # none


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for command, summary in cli.COMMANDS.items():
        assert f"  {command} " in out
        assert summary in out
    for chapter in cli.CONTENTS:
        assert f"\n\n{chapter}:\n" in out


def test_no_command_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: bertkd COMMAND [options]")
    assert "error" not in err


def test_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["distil"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "error: `COMMAND` must be one of the above, but is 'distil' instead."


def test_exit_code_is_the_commands(stub: types.ModuleType) -> None:
    assert cli.main(["stub", "--code", "1"]) == 1


def test_mistake_of_the_user_is_one_message(
    stub: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: argparse.Namespace) -> int:
        raise DataError("`text` is empty.")

    stub.run = run
    assert cli.main(["stub"]) == 2
    assert capsys.readouterr() == ("", "error: `text` is empty.\n")


def test_a_path_that_cannot_be_read_is_one_message(
    stub: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.run = lambda args: Path("/nowhere/text").read_text()
    assert cli.main(["stub"]) == 2
    assert capsys.readouterr().err == (
        "error: `/nowhere/text` can't be read or written: No such file or directory. "
        "Check the path and its permissions.\n"
    )


def test_bug_keeps_its_traceback(stub: types.ModuleType) -> None:
    def run(args: argparse.Namespace) -> int:
        raise ValueError("a bug")

    stub.run = run
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["stub"])


def test_interrupt_is_130(stub: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def run(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    stub.run = run
    assert cli.main(["stub"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_user_dir_prints_the_package(tmp_path: Path) -> None:
    done = run_command([*BERTKD, "user-dir"], cwd=tmp_path)
    assert done.stdout == f"{USER_DIR}\n"


def test_light_commands_import_neither_torch_nor_fairseq() -> None:
    code = (
        "import sys; from bertkd_fairseq import cli; cli.main(['user-dir']); "
        "print({'torch', 'fairseq', 'transformers'} & set(sys.modules))"
    )
    assert run_command([sys.executable, "-c", code]).stdout.endswith("\nset()\n")


def test_a_reader_that_has_seen_enough() -> None:
    """As in `bertkd ... | head -1`: no traceback, and the exit code of a program that SIGPIPE ends."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*BERTKD, "user-dir"], env=command_environment(), stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_loads_what_only_its_work_needs(command: str) -> None:
    """Help, completion and a mistake in the options come at once; torch alone takes more than a second."""
    code = f"import sys, {module_of(command).__name__}; print(*sys.modules)"
    loaded = run_command([sys.executable, "-c", code]).stdout.split()
    assert not {"torch", "transformers", "fairseq", "matplotlib", "sacrebleu"} & {*loaded}
