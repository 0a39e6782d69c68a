"""``bertkd compare``: score systems against the reference and test each against the first."""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import asdict

from bertkd_fairseq.analysis.compare.html import format_html
from bertkd_fairseq.analysis.compare.run import CompareConfig, compare
from bertkd_fairseq.analysis.compare.scoring import SEED
from bertkd_fairseq.analysis.compare.text import format_comparison
from bertkd_fairseq.cli.reports import named_files, write_json
from bertkd_fairseq.errors import must_be, raise_all
from bertkd_fairseq.files import whole_file
from bertkd_fairseq.settings import add_arguments as add_settings
from bertkd_fairseq.settings import from_arguments
from bertkd_fairseq.text.outputs import output_problems

EXAMPLE = (
    "bertkd compare --data-bin data-bin --system plain=plain.1.out --system plain=plain.2.out "
    "--system distilled=kd.1.out --system distilled=kd.2.out --html compare.html"
)
CONFIG = CompareConfig

_SEED_VARIABLE = "SACREBLEU_SEED"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd compare``."""
    # Repeated names, because a shell expands --system={plain=a,plain=b} and file names hold commas.
    parser.add_argument(
        "--system",
        action="append",
        required=True,
        metavar="NAME=FILE",
        help="output of fairseq-generate, or plain text. Repeat the option for each system. Files under the same NAME "
        "are runs of one system with different seeds. The first NAME is the baseline",
    )
    add_settings(parser, CompareConfig)
    help_seed = f"seed of all tests; if not given, that of sacreBLEU: {_SEED_VARIABLE} or {SEED}"
    parser.add_argument("--seed", type=int, help=help_seed)
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write everything there as JSON, too")
    output.add_argument("--html", metavar="FILE", help="write a report with plots, in one file")
    output.add_argument("--text", metavar="FILE", help="write what is printed there, too")
    output.add_argument("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Print the report; every sentence must have its translation by every run."""
    logging.getLogger("sacrebleu").setLevel(logging.WARNING)
    files, problems = named_files("--system", "NAME=FILE", args.system)
    systems: dict[str, list[str]] = {}
    for name, file in files:
        systems.setdefault(name, []).append(file)
    seed, unusable = _seed(args.seed)
    config = from_arguments(CompareConfig, args, systems=systems, seed=seed)
    outputs = {"--json": args.json, "--html": args.html, "--text": args.text}
    raise_all(
        unusable
        + config.problems()
        + problems
        + output_problems(outputs, force=args.force, force_name="--force")
    )
    compared = compare(config)
    comparison = compared.comparison
    read = {s.name: [[str(r.path), r.format] for r in s.runs] for s in compared.systems}
    facts = {"reference": compared.reference, "files": read, "baseline": compared.systems[0].name}
    facts["seed"] = str(config.seed)
    write_json("bertkd compare", args.json, {**facts, **asdict(comparison)})
    text = format_comparison(comparison)
    html = format_html(comparison, compared.reference, compared.systems) if args.html else ""
    for path, content in ((args.html, html), (args.text, f"{text}\n")):
        if path:
            with whole_file(path) as partial:
                partial.write_text(content, encoding="utf-8")
    print(text)
    return 0


def _seed(given: int | None) -> tuple[int, list[str]]:
    """Return the seed, and what is wrong with that of the environment if it is asked."""
    if given is not None:
        return given, []
    seed = os.environ.get(_SEED_VARIABLE, str(SEED))
    if seed.isdecimal() and int(seed) > 0:
        return int(seed), []
    # sacrebleu itself would take it for none: resamples would not be paired.
    hint = f"Unset it for sacrebleu's own, {SEED}."
    return SEED, [must_be(_SEED_VARIABLE, "a whole number from 1 on", repr(seed), hint)]
