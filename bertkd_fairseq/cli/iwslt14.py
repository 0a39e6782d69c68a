"""``bertkd iwslt14``: the archive of IWSLT14 German-English to raw train, valid and test text."""

from __future__ import annotations

import argparse

from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments
from bertkd_fairseq.text.iwslt14 import Iwslt14Config, format_report, make_iwslt14

EXAMPLE = "bertkd iwslt14 --archive de-en.tgz --destdir text"
CONFIG = Iwslt14Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd iwslt14``."""
    add_settings(parser, Iwslt14Config)


def run(args: argparse.Namespace) -> int:
    """Make the text and print where it came from and what was dropped."""
    config = from_arguments(Iwslt14Config, args)
    print(format_report(make_iwslt14(config), config.destdir.absolute()))
    return 0
