"""``bertkd compare``: score systems against the reference and test each against the first."""

from __future__ import annotations

import argparse
import logging
import re
from dataclasses import asdict
from pathlib import Path

from bertkd_fairseq.analysis.compare.comparison import Texts, compare_systems
from bertkd_fairseq.analysis.compare.html import format_html
from bertkd_fairseq.analysis.compare.scoring import Trials, seed_problems
from bertkd_fairseq.analysis.compare.text import REFERENCE, format_comparison
from bertkd_fairseq.analysis.compare.translations import System, read_run
from bertkd_fairseq.cli.reports import named_files, write_json
from bertkd_fairseq.errors import ConfigurationError, DataError, must_be, raise_all
from bertkd_fairseq.files import whole_file
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.lines import read_lines
from bertkd_fairseq.text.moses import MosesText
from bertkd_fairseq.text.outputs import output_problems

EXAMPLE = (
    "bertkd compare --data-bin data-bin --system plain=plain.1.out --system plain=plain.2.out "
    "--system distilled=kd.1.out --system distilled=kd.2.out --html compare.html"
)

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bertkd compare``."""
    reference = parser.add_argument_group("reference (one of the first two is needed)")
    reference.add_argument("--data-bin", metavar="DIR", help="made by `bertkd prepare`")
    reference.add_argument("--reference", metavar="FILE", help="raw text, one line per sentence")
    reference.add_argument("--split", help="which reference of the data-bin; test if not given")
    reference.add_argument(
        "--source",
        metavar="FILE",
        help="raw text to show beside translations; the data-bin's if neither this nor "
        "--reference is given",
    )
    reference.add_argument(
        "--target-lang",
        help="language for Moses; the data-bin's, else the reference's suffix (ref.en, ref.en.gz)",
    )
    reference.add_argument(
        "--lowercase",
        action="store_true",
        help="ignore case in all scores; set by itself where the data-bin is lowercased",
    )
    reference.add_argument(
        "--keep-punctuation",
        action="store_true",
        help="don't normalise quotes, dashes and so on: for text prepared so; the data-bin knows",
    )
    # Repeated names, because a shell expands --system={plain=a,plain=b} and file names hold commas.
    parser.add_argument(
        "--system",
        action="append",
        required=True,
        metavar="NAME=FILE",
        help="output of fairseq-generate or plain text; repeat it for other systems, and with the "
        "same name for other seeds of one; the first name is the baseline",
    )
    tests = parser.add_argument_group("tests and tables")
    tests.add_argument("--resamples", type=int, default=1000, help="of the paired bootstrap")
    tests.add_argument(
        "--trials", type=int, default=10_000, help="of the approximate randomisation"
    )
    tests.add_argument(
        "--buckets",
        default="10,20,30,40,50",
        metavar="N,N,...",
        help="longest reference, in Moses words, of each length bucket but the last",
    )
    tests.add_argument(
        "--examples",
        type=int,
        default=3,
        metavar="N",
        help="sentences to show that a system translates better than the baseline, and worse",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write everything there too")
    output.add_argument("--html", metavar="FILE", help="write a report with plots, in one file")
    output.add_argument("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Print the report; every sentence must have its translation by every run."""
    logging.getLogger("sacrebleu").setLevel(logging.WARNING)
    files, bucket_ends = _check(args)
    data_bin = DataBin.open(args.data_bin) if args.data_bin else None
    lowercase = args.lowercase or (data_bin is not None and data_bin.lowercase)
    lang = args.target_lang or (data_bin.target_lang if data_bin else language_of(args.reference))
    normalize = data_bin.normalize if data_bin else not args.keep_punctuation
    moses = MosesText(lang, lowercase=lowercase, normalize=normalize)
    path, texts = _read_texts(args, data_bin, moses)
    systems = _read_systems(files, texts.reference, moses)
    comparison = compare_systems(
        systems,
        texts,
        lowercase=lowercase,
        trials=Trials(args.resamples, args.trials),
        bucket_ends=bucket_ends,
        num_examples=args.examples,
    )
    if args.json:
        read = {s.name: [[str(r.path), r.format] for r in s.runs] for s in systems}
        record = {"reference": str(path), "files": read, "baseline": systems[0].name}
        write_json("bertkd compare", args.json, {**record, **asdict(comparison)})
    if args.html:
        _write(args.html, format_html(comparison, str(path), systems))
    print(format_comparison(comparison))
    return 0


def _check(args: argparse.Namespace) -> tuple[dict[str, list[str]], list[int]]:
    """Return the files of each system by its name, and the ends of the length buckets.

    :raises ConfigurationError: with everything that is wrong with the options.
    """
    problems = seed_problems()
    if not args.data_bin and not args.reference:
        problems.append("One of `--data-bin` and `--reference` must be given.")
    if args.reference and not (args.data_bin or args.target_lang or language_of(args.reference)):
        problems.append(
            "`--target-lang` must be given where the reference's name doesn't end in a language code, "
            f"but {args.reference} doesn't. Detokenising depends on it. For English, say --target-lang en."
        )
    if args.keep_punctuation and args.data_bin:
        problems.append("`--keep-punctuation` can't be given with `--data-bin`, which tells it.")
    if args.split and args.reference:
        problems.append("`--split` can't be given with `--reference`, which is one split.")
    for name, least in (("resamples", 1), ("trials", 1), ("examples", 0)):
        if getattr(args, name) < least:
            problems.append(must_be(f"--{name}", f"at least {least}", getattr(args, name)))
    ends = [int(end) for end in args.buckets.split(",") if end.isdecimal()]
    if not ends or args.buckets != ",".join(map(str, sorted(set(ends) - {0}))):
        wanted = "rising whole numbers with commas between"
        problems.append(must_be("--buckets", wanted, repr(args.buckets)))
    named, wrong = named_files("--system", "NAME=FILE", args.system)
    files: dict[str, list[str]] = {}
    for name, file in named:
        if name == REFERENCE:
            wrong.append(
                f"`--system` must have another name than {REFERENCE}, a row of the report."
            )
        runs = files.setdefault(name, [])
        if Path(file).resolve() in (Path(run).resolve() for run in runs):
            wrong.append(f"`--system` must give each run once, but gives {name}={file} again.")
        runs.append(file)
    problems += wrong + output_problems(
        {"--json": args.json, "--html": args.html}, force=args.force
    )
    raise_all(problems, ConfigurationError)
    return files, ends


def _read_texts(
    args: argparse.Namespace, data_bin: DataBin | None, moses: MosesText
) -> tuple[str | Path, Texts]:
    """Return the path of the reference, and what is in it and in the source."""
    path, source_path = args.reference, args.source
    if data_bin is not None and path is None:
        split = args.split or "test"
        path = data_bin.reference(split, data_bin.target_lang)
        reference = read_lines(path)
        tokenized = read_lines(data_bin.tokenized(split, data_bin.target_lang))
        source_path = source_path or data_bin.reference(split, data_bin.source_lang)
    else:
        reference = read_lines(path)
        tokenized = [moses.tokenize(line) for line in reference]
    if not reference:
        raise DataError(f"`{path}` must hold a reference, but is empty.")
    source = read_lines(source_path) if source_path else None
    if source is not None and len(source) != len(reference):
        raise DataError(
            f"`{source_path}` must have {len(reference)} lines, one for each reference, "
            f"but has {len(source)} instead."
        )
    return path, Texts(reference, tokenized, source)


def _write(path: str, text: str) -> None:
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def language_of(reference: str) -> str:
    """Return the language code that a file's name ends in, .gz apart; nothing if it ends in something else."""
    suffix = Path(reference.removesuffix(".gz")).suffix
    return suffix[1:] if re.fullmatch(r"\.[a-z]{2}", suffix) else ""


def _read_systems(
    files: dict[str, list[str]], reference: list[str], moses: MosesText
) -> list[System]:
    """Read all systems; what is wrong with any of them is told at once."""
    systems, errors = [], []
    for name, paths in files.items():
        runs = []
        for path in paths:
            try:
                read = read_run(
                    path,
                    len(reference),
                    reference=reference,
                    tokenize=lambda lines: [moses.tokenize(line) for line in lines],
                    detokenize=lambda lines: [moses.detokenize(line) for line in lines],
                )
            except DataError as error:
                errors.append(str(error))
            else:
                runs.append(read)
                log.info("%s: %d sentences from %s (%s)", name, len(reference), path, read.format)
        systems.append(System(name, runs))
    raise_all(errors, DataError)
    return systems
