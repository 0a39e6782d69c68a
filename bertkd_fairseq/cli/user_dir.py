"""``bertkd user-dir``: print the folder to pass to fairseq's ``--user-dir``."""

from __future__ import annotations

import argparse

from bertkd_fairseq.installed import user_dir

EXAMPLE = 'fairseq-train data-bin --user-dir "$(bertkd user-dir)" --task bert_cmlm ...'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``bertkd user-dir`` has no options."""


def run(args: argparse.Namespace) -> int:
    """Print the folder of the package that runs, installed or a checkout."""
    print(user_dir())
    return 0
