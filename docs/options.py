"""Write docs/options.md, every option of every command, from the parsers themselves.

python docs/options.py            # write the page
python docs/options.py --check    # exit code 1 if the page isn't what the parsers say
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from current import write_or_check

PAGE = Path(__file__).resolve().parent / "options.md"
_ALL_CPUS = 7919
"""What a default that counts this machine's CPUs is here, to be known again."""

_HEAD = """\
# Options

Every option of `bertkd` and of what it adds to fairseq's own commands, written by `python docs/options.py` from the
parsers themselves; the tests compare. `bertkd COMMAND --help` shows the same. fairseq's options are in its own
documentation; any of them may be given beside these.
"""
_FAIRSEQ = """
## fairseq-train, fairseq-generate and fairseq-interactive

With `--user-dir bertkd_fairseq`, or `--user-dir "$(bertkd user-dir)"` from any folder.
"""


def page() -> str:
    """Return docs/options.md."""
    from bertkd_fairseq import cli

    parts = [_HEAD]
    for name, purpose in cli.COMMANDS.items():
        module = importlib.import_module(f"bertkd_fairseq.cli.{name.replace('-', '_')}")
        parser = argparse.ArgumentParser(add_help=False)
        module.add_arguments(parser)
        parts += [f"\n## bertkd {name}\n\n{_sentence(purpose)}\n", *_groups(parser)]
    parts.append(_FAIRSEQ)
    for part, config in _fairseq_parts():
        parts += [f"\n### {part}\n\n", *_table(_own_options(config))]
    return "".join(parts)


def _groups(parser: argparse.ArgumentParser) -> Iterator[str]:
    for number, group in enumerate(parser._action_groups):
        rows = [_command_row(action) for action in group._group_actions]
        if rows:
            yield f"\n{_sentence(group.title or '')}\n\n" if number > 1 else "\n"
            yield from _table(rows)


def _command_row(action: argparse.Action) -> tuple[str, str, str]:
    name = action.option_strings[0] if action.option_strings else action.dest
    value = action.metavar or (None if action.choices else action.dest.upper())
    if action.choices:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if isinstance(value, tuple):
        value = " ".join(value)
    takes_value = action.nargs != 0 and action.option_strings
    old = f", before: `{action.option_strings[1]}`" if len(action.option_strings) > 1 else ""
    shown = f"`{name} {value}`{old}" if takes_value else f"`{name}`"
    return shown, "required" if action.required else _default(action.default), str(action.help)


def _fairseq_parts() -> list[tuple[str, Any]]:
    from bertkd_fairseq.criterions import bert_kd_label_smoothed_cross_entropy as distilling
    from bertkd_fairseq.data import encoders
    from bertkd_fairseq.models import bert_cmlm_teacher
    from bertkd_fairseq.optim import bert_adamw
    from bertkd_fairseq.tasks import bert_cmlm, translation_bert_kd

    return [
        ("--task bert_cmlm", bert_cmlm.BertCMLMConfig),
        ("--arch bert_cmlm_teacher", bert_cmlm_teacher.BertCMLMTeacherConfig),
        ("--optimizer bert_adamw", bert_adamw.BertAdamWConfig),
        ("--task translation_bert_kd", translation_bert_kd.TranslationBertKDConfig),
        (
            "--criterion bert_kd_label_smoothed_cross_entropy",
            distilling.BertKDLabelSmoothedCrossEntropyConfig,
        ),
        ("--tokenizer bertkd_moses", encoders.BertKDMosesConfig),
    ]


def _own_options(config: type) -> list[tuple[str, str, str]]:
    """Return a row for each option that this package declares, not those that fairseq's own parts have."""
    own = [kind for kind in config.__mro__ if kind.__module__.startswith("bertkd_fairseq.")]
    names = {name for kind in own for name in vars(kind).get("__annotations__", {})}
    rows = []
    for field in dataclasses.fields(config):
        text = str(field.metadata.get("help", ""))
        taken_over = isinstance(field.default, str) and field.default.startswith("${")
        if field.name in names and text and not taken_over and "set by training" not in text:
            rows.append((f"`--{field.name.replace('_', '-')}`", _default(field.default), text))
    return rows


def _default(value: Any) -> str:
    if value is None or value is False or value in ("", [], argparse.SUPPRESS):
        return ""
    if value == _ALL_CPUS:
        return "number of CPUs"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, (tuple, list)):
        value = " ".join(map(str, value))
    return f"`{value}`"


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    yield "| option | default | what it does |\n|---|---|---|\n"
    for shown, default, text in rows:
        cells = (shown, default, text.replace("<", "\\<"))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def main(argv: list[str]) -> int:
    """Write or check the page; return the exit code."""
    os.cpu_count = lambda: _ALL_CPUS
    for variable in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        os.environ.pop(variable, None)
    behind = "isn't what the parsers say. Run: python docs/options.py"
    return write_or_check(PAGE, page(), argv, behind)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
