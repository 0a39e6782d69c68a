"""Completion of ``bertkd`` in a shell: ``eval "$(register-python-argcomplete bertkd)"``."""

from __future__ import annotations

import argparse
import importlib
import os

from bertkd_fairseq.cli import COMMANDS


def complete() -> int:
    """Answer what the shell asks in the environment, by argcomplete, which ends the process; 1 without it."""
    try:
        import argcomplete
    except ImportError:
        return 1
    parser = argparse.ArgumentParser(prog="bertkd")
    subparsers = parser.add_subparsers()
    typed = os.environ.get("COMP_LINE", "").split()[1:2]
    for name, text in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=text)
        if name in typed:  # no other has to be imported
            module = importlib.import_module(f"bertkd_fairseq.cli.{name.replace('-', '_')}")
            module.add_arguments(subparser)
    argcomplete.autocomplete(parser)
    return 1
