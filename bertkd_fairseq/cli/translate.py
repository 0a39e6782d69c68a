"""``bertkd translate``: raw text in, raw text out, by one student."""

from __future__ import annotations

import argparse
import logging
import sys

from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.files import whole_file
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments
from bertkd_fairseq.text.lines import decode_lines, read_lines, write_lines
from bertkd_fairseq.text.outputs import output_problems
from bertkd_fairseq.translation.config import TranslateConfig

EXAMPLE = (
    "bertkd translate --path distilled/checkpoint_best.pt --data-bin data-bin "
    "--input text.de --output text.en"
)
CONFIG = TranslateConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd translate``."""
    add_settings(parser, TranslateConfig)
    text = parser.add_argument_group("text, a sentence a line")
    text.add_argument("--input", metavar="FILE", help="translate this file, not standard input")
    text.add_argument("--output", metavar="FILE", help="write there, not to standard output")
    text.add_argument("--force", action="store_true", help="replace a file at --output")


def run(args: argparse.Namespace) -> int:
    """Write a translation for every line, in their order."""
    config = from_arguments(TranslateConfig, args)
    output = {"--output": args.output}
    raise_all(config.problems() + output_problems(output, force=args.force, force_name="--force"))
    if args.input:
        lines = read_lines(args.input)
    else:
        lines = decode_lines(sys.stdin.buffer.read(), "standard input")
    from bertkd_fairseq.translation.run import translate  # takes a moment

    logging.getLogger("fairseq").setLevel(logging.WARNING)
    found = translate(config, lines)
    if args.output:
        with whole_file(args.output) as partial:
            write_lines(partial, found)
    else:
        sys.stdout.buffer.write("".join(f"{line}\n" for line in found).encode("utf-8"))
        sys.stdout.buffer.flush()
    return 0
