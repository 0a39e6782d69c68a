"""The ``bertkd`` command: one module per subcommand, imported only when it is called.

A subcommand module offers ``EXAMPLE`` (a runnable command line for the help), ``add_arguments(parser)``
and ``run(args) -> int`` (the exit code), and as ``CONFIG`` the settings that its options stand for, where it has any.
Its one-line summary stands in :data:`CONTENTS` alone.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence

from bertkd_fairseq import __version__
from bertkd_fairseq.errors import EXIT_CODE, BertKDError, report
from bertkd_fairseq.process import threads
from bertkd_fairseq.process.excepthook import show_origin
from bertkd_fairseq.process.interrupts import terminated_as_interrupted
from bertkd_fairseq.process.user_errors import as_user_error
from bertkd_fairseq.settings import in_options

CONTENTS = {
    "To begin with": {
        "doctor": "check that Python, torch, fairseq and transformers here can do every stage",
        "demo": "run every stage on a generated miniature language pair, in minutes on a CPU",
        "user-dir": "print the folder to pass to fairseq's --user-dir",
    },
    "From text to a teacher's soft targets": {
        "iwslt14": "cut the archive of IWSLT14 German-English into train, valid and test text",
        "prepare": "turn parallel text into a data-bin that teacher and student share",
        "dump-topk": "ask the teacher once for every target token and store its top-k on disk",
        "inspect": "show what a teacher store holds, verify it, and what students make of it",
        "explore": "make one page to look through a teacher store, sentence by sentence, with students",
    },
    "Students after training": {
        "curves": "plot training logs to PNG and CSV",
        "average": "average the parameters of several checkpoints",
        "rescore": "choose among the translations of an n-best list by what a teacher thinks of them",
        "select": "turn chosen hypotheses of n-best lists into training text",
        "compare": "score systems against the reference, test their differences, show where they differ",
        "translate": "translate raw text with a student, by fairseq or CTranslate2",
        "export": "write a student for CTranslate2, in float32 or smaller",
    },
}
"""Every subcommand with its summary, in chapters."""

COMMANDS = {name: text for chapter in CONTENTS.values() for name, text in chapter.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code: 0 done, 1 a check failed, 2 a mistake of the user."""
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what could come next
        from bertkd_fairseq.cli.completion import complete

        return complete()
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] not in COMMANDS:
        return _main_without_command(argv)
    name, rest = argv[0], argv[1:]
    # Before torch loads: its threads read their settings once.
    threads.apply()
    module = importlib.import_module(f"bertkd_fairseq.cli.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"bertkd {name}",
        description=f"{COMMANDS[name]}.",
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=_HelpFormatter,
    )
    module.add_arguments(parser)
    logging.basicConfig(
        format="%(asctime)s | %(levelname)s | %(name)s | %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        level=logging.INFO,
        stream=sys.stderr,
    )
    try:
        with terminated_as_interrupted():
            code = int(module.run(parser.parse_args(rest)))
            sys.stdout.flush()
        return code
    except KeyboardInterrupt as error:
        print("error: interrupted", file=sys.stderr)
        return 128 + int(getattr(error, "signal", signal.SIGINT))
    except BrokenPipeError:  # `| head` has seen enough
        _drop_output()
        return 141
    except Exception as error:
        found = as_user_error(error)
        if found is None:
            raise
        if isinstance(error, OSError) and error.filename is None:  # standard output itself
            _drop_output()
        show_origin(error)
        config = getattr(module, "CONFIG", None)
        return report(found if config is None else BertKDError(in_options(str(found), config)))


def _drop_output() -> None:
    # What is still buffered would be written, and fail, once more when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Every line of help ends with the default, or says that the option is required; the example stays as typed."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.required:
            return f"{action.help} (required)"
        if action.default in (None, False, "", []):
            return action.help
        if isinstance(action.default, tuple):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


def _main_without_command(argv: list[str]) -> int:
    if argv and argv[0] in ("-V", "--version"):
        from bertkd_fairseq.installed import commit

        found = commit()
        print(f"bertkd-fairseq {__version__}" + (f" (commit {found})" if found else ""))
        return 0
    width = max(map(len, COMMANDS))
    usage = "usage: bertkd COMMAND [options]   (bertkd COMMAND --help tells more)"
    for chapter, commands in CONTENTS.items():
        lines = (f"  {name:<{width}}  {text}" for name, text in commands.items())
        usage += "\n\n" + "\n".join([f"{chapter}:", *lines])
    if argv and argv[0] in ("-h", "--help"):
        print(usage)
        return 0
    wrong = (
        f"error: `COMMAND` must be one of the above, but is {argv[0]!r} instead." if argv else ""
    )
    print(f"{usage}\n\n{wrong}".rstrip(), file=sys.stderr)
    return EXIT_CODE
