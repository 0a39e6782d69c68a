"""``bertkd doctor``: try what every stage needs, and say what works and what to do about the rest."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from bertkd_fairseq import __version__
from bertkd_fairseq.cli.options import REPLACED, report_problems, write_whole
from bertkd_fairseq.doctor.checks import examine, healthy
from bertkd_fairseq.doctor.report import export_lines, format_findings, precision_here
from bertkd_fairseq.errors import raise_all
from bertkd_fairseq.process import threads

EXAMPLE = "bertkd doctor --json doctor.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd doctor``."""
    parser.add_argument("--json", metavar="FILE", help=f"write the findings there too; {REPLACED}")
    parser.add_argument(
        "--exports",
        action="store_true",
        help="check nothing; print only the variables to set here for fairseq-train, and as PRECISION what "
        '--precision auto takes: eval "$(bertkd doctor --exports)"',
    )


def run(args: argparse.Namespace) -> int:
    """Print every finding; return 1 if something needed is broken."""
    if args.exports:
        print("\n".join(export_lines({**threads.added(), **precision_here()})))
        return 0
    raise_all(report_problems(("version", "healthy"), json=args.json))
    findings = examine()
    if args.json:
        report = {"version": __version__, "healthy": healthy(findings)}
        report["findings"] = {name: asdict(finding) for name, finding in findings.items()}
        write_whole(args.json, json.dumps(report, indent=2) + "\n")
    print(format_findings(findings))
    return 0 if healthy(findings) else 1
