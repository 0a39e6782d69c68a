"""``bertkd compare``: score systems against the reference and test each against the first."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

from bertkd_fairseq.cli.options import named_files, output_problems, write_whole
from bertkd_fairseq.data_bin import DataBin, read_lines
from bertkd_fairseq.errors import ConfigurationError, DataError, must_be, raise_all
from bertkd_fairseq.moses import MosesText
from bertkd_fairseq.scoring import System, compare_systems, format_table, read_system

EXAMPLE = (
    "bertkd compare --data-bin data-bin --split test "
    "--system plain=plain.out --system distilled=distilled.out --json scores.json"
)

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd compare``."""
    reference = parser.add_argument_group("reference (one of the first two is needed)")
    reference.add_argument("--data-bin", metavar="DIR", help="made by `bertkd prepare`")
    reference.add_argument("--reference", metavar="FILE", help="raw text, one line per sentence")
    reference.add_argument("--split", default="test", help="which reference of the data-bin")
    reference.add_argument(
        "--target-lang", help="language for Moses; the data-bin's, else the reference's suffix"
    )
    reference.add_argument(
        "--lowercase",
        action="store_true",
        help="ignore case in all scores; set by itself where the data-bin is lowercased",
    )
    parser.add_argument(
        "--system",
        action="append",
        required=True,
        metavar="NAME=FILE",
        help="output of fairseq-generate or plain text; repeat it, the first is the baseline",
    )
    parser.add_argument("--resamples", type=int, default=1000, help="of the paired bootstrap")
    parser.add_argument("--json", metavar="FILE", help="write all scores there too")


def run(args: argparse.Namespace) -> int:
    """Print the table of scores; every sentence must have its hypothesis in every system."""
    logging.getLogger("sacrebleu").setLevel(logging.WARNING)
    named = _check(args)
    data_bin = DataBin.open(args.data_bin) if args.data_bin else None
    lowercase = args.lowercase or (data_bin is not None and data_bin.lowercase)
    lang = args.target_lang
    if data_bin is not None:
        lang = lang or data_bin.target_lang
        path = args.reference or data_bin.reference(args.split, data_bin.target_lang)
    else:
        path = args.reference
        lang = lang or Path(path).suffix.removeprefix(".")
    normalize = data_bin is None or data_bin.normalize
    moses = MosesText(lang, lowercase=lowercase, normalize=normalize)

    def tokenize(lines: list[str]) -> list[str]:
        return [moses.tokenize(line) for line in lines]

    reference = read_lines(path)
    if data_bin is not None and not args.reference:
        tokenized = read_lines(data_bin.tokenized(args.split, data_bin.target_lang))
    else:
        tokenized = tokenize(reference)
    if not reference:
        raise DataError(f"`{path}` must hold a reference, but is empty.")
    systems = _read_systems(named, len(reference), moses)
    comparison = compare_systems(
        systems, reference, tokenized, lowercase=lowercase, num_resamples=args.resamples
    )
    print(format_table(comparison))
    if args.json:
        files = {system.name: [str(system.path), system.format] for system in systems}
        record = {"reference": str(path), "files": files, "baseline": systems[0].name}
        text = json.dumps({**record, **asdict(comparison)}, indent=1, ensure_ascii=False)
        write_whole(args.json, text + "\n")
    return 0


def _check(args: argparse.Namespace) -> dict[str, str]:
    """Return the file of each system by its name.

    :raises ConfigurationError: with everything that is wrong with the options.
    """
    errors = []
    if not args.data_bin and not args.reference:
        errors.append("One of `--data-bin` and `--reference` must be given.")
    if args.resamples < 1:
        errors.append(must_be("--resamples", "at least 1", args.resamples))
    named, problems = named_files("--system", "NAME=FILE", args.system)
    raise_all([*errors, *problems, *output_problems(json=args.json)], ConfigurationError)
    return named


def _read_systems(named: dict[str, str], count: int, moses: MosesText) -> list[System]:
    """Read all systems; what is wrong with any of them is told at once."""
    systems, errors = [], []
    for name, file in named.items():
        try:
            system = read_system(
                name,
                file,
                count,
                tokenize=lambda lines: [moses.tokenize(line) for line in lines],
                detokenize=lambda lines: [moses.detokenize(line) for line in lines],
            )
        except DataError as error:
            errors.append(str(error))
        else:
            systems.append(system)
            log.info("%s: %d sentences from %s (%s)", name, count, file, system.format)
    raise_all(errors, DataError)
    return systems
