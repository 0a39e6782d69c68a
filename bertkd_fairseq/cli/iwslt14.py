"""``bertkd iwslt14``: the archive of IWSLT14 German-English to raw train, valid and test text."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from bertkd_fairseq.errors import must_be, raise_all
from bertkd_fairseq.files import dest_problems, place_problems
from bertkd_fairseq.text.download import download
from bertkd_fairseq.text.iwslt14 import (
    PAIRS,
    TEXT,
    check_pairs,
    make_splits,
    read_archive,
    write_splits,
)
from bertkd_fairseq.text.outputs import inside_problems

EXAMPLE = "bertkd iwslt14 --archive de-en.tgz --dest text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd iwslt14``."""
    add = parser.add_argument
    add("--archive", required=True, type=Path, metavar="FILE", help="de-en.tgz, read if it's there")
    add("--url", help="download the archive from there if it isn't")
    add("--dest", required=True, type=Path, metavar="DIR", help="the new folder of text")
    add("--force", action="store_true", help="replace such a folder at --dest")
    add(
        "--pairs",
        type=int,
        nargs=3,
        default=PAIRS,
        metavar=("TRAIN", "VALID", "TEST"),
        help="how many pairs must come out",
    )
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")


def run(args: argparse.Namespace) -> int:
    """Make the text and print where it came from and what was dropped."""
    archive, dest = args.archive.absolute(), args.dest.absolute()
    problems = dest_problems(dest, TEXT, args.force) + inside_problems("--dest", dest)
    if args.workers < 1:
        problems.append(must_be("--workers", "at least 1", args.workers))
    if not archive.exists() and not args.url:
        wanted = "a file, or --url must name where to download it"
        problems.append(f"`--archive` must be {wanted}, but there is none at {archive}.")
    elif not archive.exists():
        problems += inside_problems("--archive", archive) + place_problems("--archive", archive)
    raise_all(problems)
    if not archive.exists():
        download(args.url, archive, check=read_archive)
    data = make_splits(read_archive(archive), workers=args.workers)
    check_pairs(data, args.pairs, archive)
    print(format_report(write_splits(data, archive, dest, force=args.force), dest))
    return 0


def format_report(facts: dict[str, Any], dest: Path) -> str:
    """Return the lines to print."""
    dropped = ", ".join(f"{reason} {n:,}" for reason, n in facts["dropped"].items()) or "none"
    pairs = ", ".join(f"{split} {n:,}" for split, n in facts["pairs"].items())
    return "\n".join(
        [
            f"archive: {facts['archive']}, {facts['bytes']:,} bytes",
            f"sha256: {facts['sha256']}",
            f"training pairs read: {facts['read']:,}; dropped: {dropped}",
            f"pairs: {pairs}",
            f"text: {dest}",
        ]
    )
