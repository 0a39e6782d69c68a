"""``bertkd export``: a student for CTranslate2."""

from __future__ import annotations

import argparse
import logging

from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments
from bertkd_fairseq.translation.config import ExportConfig

EXAMPLE = (
    "bertkd export --path distilled/checkpoint_best.pt --data-bin data-bin "
    "--quantization int8 --destdir export"
)
CONFIG = ExportConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd export``."""
    add_settings(parser, ExportConfig)


def run(args: argparse.Namespace) -> int:
    """Write the folder and say how large it is."""
    config = from_arguments(ExportConfig, args)
    raise_all(config.problems())
    from bertkd_fairseq.translation.export import export  # loads torch

    logging.getLogger("fairseq").setLevel(logging.WARNING)
    folder = export(config)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {config.quantization}, {size / 1e6:.1f} MB")
    return 0
