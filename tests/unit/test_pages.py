"""Every page of the docs: links lead somewhere, blocks of code are code, options exist, and each page can be found."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from bertkd_fairseq import cli
from tests.conftest import CHECKOUT
from tests.pages import NOTEBOOKS, PAGES, blocks, headings, links, name_of, site_hooks, without_code

_END = re.compile(r"[;|&()<>]+")


@functools.cache
def options_of(command: str) -> set[str]:
    module = importlib.import_module(f"bertkd_fairseq.cli.{command.replace('-', '_')}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return {name for action in parser._actions for name in action.option_strings}


@functools.cache
def fairseq_options() -> set[str]:
    """Return the options of every part that fairseq and this package have, whichever a command would choose."""
    from fairseq import models, options, registry, tasks
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.dataclass.utils import gen_parser_from_dataclass
    from fairseq.models.transformer import TransformerConfig

    importlib.import_module("bertkd_fairseq.tasks")
    parts = [
        TransformerConfig,
        *(field.default_factory for field in dataclasses.fields(FairseqConfig)),
    ]
    parts += [*tasks.TASK_DATACLASS_REGISTRY.values(), *models.MODEL_DATACLASS_REGISTRY.values()]
    for kind in registry.REGISTRIES.values():
        parts += kind["dataclass_registry"].values()
    parsers = [
        options.get_preprocessing_parser(),
        options.get_generation_parser(),
        options.get_training_parser(),
    ]
    for part in parts:
        if dataclasses.is_dataclass(part):
            parsers.append(argparse.ArgumentParser(add_help=False))
            gen_parser_from_dataclass(parsers[-1], part())
    return {
        name for parser in parsers for action in parser._actions for name in action.option_strings
    }


def calls(code: str) -> list[list[str]]:
    """Return the words of every call of ``bertkd`` and of fairseq's commands in a block of bash."""
    lexer = shlex.shlex(code.replace("\\\n", " "), posix=True, punctuation_chars=";|&()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, "#"
    found: list[list[str]] = []
    inside = False
    for word in lexer:
        if _END.fullmatch(word) or "\n" in word:
            inside = False
        elif word == "bertkd" or word.startswith("fairseq-"):
            found.append([word])
            inside = True
        elif inside:
            found[-1].append(word)
    return found


def test_calls_are_found() -> None:
    loop = "for x in a; do\n    bertkd inspect topk --json \\\n        'a b' > out # --no\ndone\n"
    code = f"{loop}echo --x | bertkd doctor"
    assert calls(code) == [["bertkd", "inspect", "topk", "--json", "a b"], ["bertkd", "doctor"]]
    code = "torchrun --no-python fairseq-train data-bin --lr 1 && true --x"
    assert calls(code) == [["fairseq-train", "data-bin", "--lr", "1"]]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target, heading in links(page):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name_of(page)} links to {target}, which isn't there"
        if heading:
            assert heading in headings(path), f"{name_of(page)} links to {target}#{heading}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_line_is_taken_for_the_target_of_a_link(page: Path) -> None:
    """Markdown hides a line such as ``[-0.1, +0.3]: none``."""
    hidden = re.findall(
        r"^ {0,3}\[[^\]]+\]:.*", without_code(page.read_text("utf-8")), re.MULTILINE
    )
    assert hidden == []


def test_there_are_blocks_and_calls() -> None:
    assert len(blocks("bash")) > 20
    assert sum(len(calls(block.code)) for block in blocks("bash")) > 25
    assert len(blocks("python")) > 2


@pytest.mark.parametrize("block", blocks("bash"), ids=lambda block: block.page)
def test_bash_parses_and_its_options_exist(block) -> None:  # type: ignore[no-untyped-def]
    checked = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    for words in calls(block.code):
        given = {word.split("=")[0] for word in words if re.match("--[a-z]", word)} - {"--help"}
        if words[0] == "bertkd" and "--version" not in given and len(words) > 1:
            assert words[1] in cli.COMMANDS, f"{block.page}: bertkd {words[1]}"
            given -= options_of(words[1])
        elif words[0] != "bertkd":
            given -= fairseq_options()
        assert not given, f"{block.page}: {' '.join(words[:2])} has no {', '.join(sorted(given))}"


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.page)
def test_python_compiles_and_its_imports_exist(block) -> None:  # type: ignore[no-untyped-def]
    compile(block.code, block.page, "exec")
    for line in block.code.splitlines():
        if line.startswith(("import bertkd", "from bertkd")):
            exec(line, {})


def test_every_page_is_in_the_navigation() -> None:
    class Loader(yaml.SafeLoader):
        pass

    def uris(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        parts = entry.values() if isinstance(entry, dict) else entry
        return [uri for part in parts for uri in uris(part)]  # type: ignore[attr-defined]

    nav = yaml.load((CHECKOUT / "mkdocs.yml").read_text("utf-8"), Loader)["nav"]
    placed = [site_hooks().place(name_of(page)) for page in (*PAGES, *NOTEBOOKS)]
    assert sorted(uris(nav)) == sorted(placed)


def test_links_in_the_site(tmp_path: Path) -> None:
    hooks = site_hooks()
    text = "[a](../README.md#x) [b](files.md) [c](../setup.py) [d](results) ![e](floors.svg) [f](https://x.org/y)"
    assert hooks.as_in_site(text, "docs/dump.md") == (
        "[a](index.md#x) [b](files.md) [c](source/setup.py.txt) d ![e](floors.svg) [f](https://x.org/y)"
    )
    text = "[a](../../docs/results.md) [b](../stages/paper.sh) [c](../iwslt14_deen/README.md)"
    assert hooks.as_in_site(text, "examples/wmt14_ende/README.md") == (
        "[a](../results.md) [b](../source/examples/stages/paper.sh.txt) [c](iwslt14_deen.md)"
    )


def test_sizes_are_those_of_a_real_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CHECKOUT / "docs"))
    sizes = importlib.import_module("sizes")
    folder = CHECKOUT / "tests" / "data" / "before_rooms" / "topk"
    on_disk = sum(path.stat().st_size - 128 for path in folder.glob("*.npy"))
    # That store is of format 1, which has no log-probability of the target token: two bytes a token less.
    assert sizes.store_bytes(40, 1031, 4, 136) == on_disk + 2 * 1031
    assert sizes.dump_seconds(933 * 60, 933) == 60
    assert sizes.dump_seconds(933 * 60, 933, 4) == 15
    rows = sizes.table().splitlines()
    assert "| 4.5 million | 112.5 million | 4.10 GB |" in rows[3]


def test_workflows_have_every_python() -> None:
    from bertkd_fairseq.installed import PYTHONS

    text = (CHECKOUT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    matrix = yaml.safe_load(text)["jobs"]["tests"]["strategy"]["matrix"]["python"]
    (_, oldest), (_, newest) = PYTHONS
    assert matrix == [f"3.{minor}" for minor in range(oldest, newest + 1)]
