"""Gigaword's text as the recipe uses it: usage: split_text.py DATA DEST SOURCE TARGET HELD_OUT WORDS.

``DATA/train`` and ``DATA/valid`` in both languages, plain or ``.gz``, become ``DEST/train``, and ``DEST/valid`` and
``DEST/test`` of HELD_OUT pairs each, which are spread evenly over ``DATA/valid``. Sources are cut after WORDS words.
"""

import sys
from pathlib import Path

from bertkd_fairseq.errors import BertKDError, ConfigurationError, must_be
from bertkd_fairseq.text.lines import read_lines, write_lines


def read_text(prefix: str, langs: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the pairs of a text, plain or gzipped.

    :raises BertKDError: if a side is missing, or has more lines than the other.
    """
    plain = [Path(f"{prefix}.{lang}") for lang in langs]
    files = [path if path.exists() else Path(f"{path}.gz") for path in plain]
    sides = [read_lines(file) for file in files]
    lengths = [len(side) for side in sides]
    if lengths[0] != lengths[1]:
        wanted = f"as many lines as {files[0]} ({lengths[0]})"
        raise ConfigurationError(must_be(str(files[1]), wanted, lengths[1]))
    return list(zip(*sides, strict=True))


def main(data: str, dest: str, source: str, target: str, held_out: int, words: int) -> None:
    """Write the three texts, and say how many sources of each were cut."""
    langs = (source, target)
    train, valid = (read_text(f"{data}/{split}", langs) for split in ("train", "valid"))
    step = len(valid) // held_out if held_out > 0 else 0
    if step < 2:
        wanted = f"from 1 to half of the {len(valid)} validation pairs"
        raise ConfigurationError(must_be("HELD_OUT", wanted, held_out))
    last = held_out * step
    splits = {"train": train, "valid": valid[0:last:step], "test": valid[1:last:step]}
    for split, pairs in splits.items():
        cut = [" ".join(pair[0].split()[:words]) for pair in pairs]
        num_cut = sum(len(pair[0].split()) > words for pair in pairs)
        write_lines(Path(f"{dest}/{split}.{source}"), cut)
        write_lines(Path(f"{dest}/{split}.{target}"), [pair[1] for pair in pairs])
        print(f"{split}: {len(pairs)} pairs, {num_cut} {source}s cut to {words} words")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:5], *map(int, sys.argv[5:7]))
    except BertKDError as error:
        sys.exit(f"error: {error}")
