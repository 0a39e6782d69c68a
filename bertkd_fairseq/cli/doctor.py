"""``bertkd doctor``: try what every stage needs, and say what works and what to do about the rest."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from bertkd_fairseq.cli.reports import add_json, json_problems, write_json
from bertkd_fairseq.doctor.checks import examine, healthy
from bertkd_fairseq.doctor.report import export_lines, format_findings, precision_here
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.process import threads

EXAMPLE = "bertkd doctor --json doctor.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd doctor``."""
    add_json(parser)
    parser.add_argument(
        "--exports",
        action="store_true",
        help="check nothing; print only the environment variables that fairseq-train needs here to be fast, and "
        "PRECISION, which is what --precision auto takes here. To set them all: "
        'eval "$(bertkd doctor --exports)"',
    )


def run(args: argparse.Namespace) -> int:
    """Print every finding; return 1 if something needed is broken."""
    if args.exports:
        for line in export_lines({**threads.added(), **precision_here()}):
            print(line)
        return 0
    raise_all(json_problems("bertkd doctor", args.json))
    findings = examine()
    found = {name: asdict(finding) for name, finding in findings.items()}
    write_json("bertkd doctor", args.json, {"healthy": healthy(findings), "findings": found})
    print(format_findings(findings))
    return 0 if healthy(findings) else 1
