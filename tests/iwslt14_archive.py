"""A miniature of IWSLT14's ``de-en.tgz``: the same files, tags and XML around generated sentences.

``python -m tests.iwslt14_archive FOLDER`` makes one, and says how to run the recipe on it.
"""

from __future__ import annotations

import io
import random
import sys
import tarfile
from pathlib import Path

from bertkd_fairseq.demo.language import write_corpus
from bertkd_fairseq.demo.miniature import train_tiny_bert

TESTS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
LANGS = {"de": "src", "en": "tgt"}
TALK = 50

Pair = tuple[str, str]


def write_archive(path: Path, *, num_train: int, num_test: int, seed: int = 1) -> tuple[int, ...]:
    """Write the archive; return how many pairs of train, valid and test are to come of it.

    Every title, description and "Danke." is a pair that cleaning drops; ``num_test`` sentences are in
    each of five test files.
    """
    folder = path.parent / f"{path.name}.text"
    write_corpus(folder, num_train=2 * num_train, num_valid=1, num_test=5 * num_test, seed=seed)
    train = [pair for pair in read_pairs(folder, "train") if alike(pair)][:num_train]
    test = read_pairs(folder, "test")
    rng = random.Random(seed)
    files = {f"train.tags.de-en.{lang}": talks(train, side) for side, lang in enumerate(LANGS)}
    for i, name in enumerate(TESTS):
        mine = test[i * num_test : (i + 1) * num_test]
        for side, lang in enumerate(LANGS):
            files[f"IWSLT14.{name}.de-en.{lang}.xml"] = xml(mine, side, lang)
    files["README"] = "not needed\n"
    names = list(files)
    rng.shuffle(names)
    pack(path, {f"de-en/{name}": files[name] for name in names})
    return num_train - num_train // 23, num_train // 23, 5 * num_test


def read_pairs(folder: Path, split: str) -> list[Pair]:
    """Return the generated pairs of a split."""
    sides = [
        (folder / f"{split}.{lang}").read_text("utf-8").splitlines() for lang in LANGS.values()
    ]
    return list(zip(*sides, strict=True))


def alike(pair: Pair) -> bool:
    """Tell whether no side has more than one and a half times the words of the other."""
    source, target = (len(side.split()) for side in pair)
    return 2 * max(source, target) <= 3 * min(source, target)


def talks(pairs: list[Pair], side: int) -> str:
    """Return one ``train.tags`` file."""
    lines = []
    for i, pair in enumerate(pairs):
        if i % TALK == 0:
            words = ("Titel", "A title of very many more words")[side]
            lines += [
                f"<url>http://www.ted.com/talks/{i}</url>",
                "<keywords>talks, culture</keywords>",
                f"<talkid>{i}</talkid>",
                f"<title>Jemand: {words}</title>" if side else f"<title>{words}</title>",
                f"<description>{('', 'Said by somebody.')[side]}</description>",
            ]
        if i % 40 == 39:
            lines.append(("Danke.", "Thank you so much, all of you.")[side])
        lines.append(f" {pair[side]}")
    return "".join(line + "\n" for line in lines)


def xml(pairs: list[Pair], side: int, lang: str) -> str:
    """Return one development or test file."""
    seg = "".join(f'<seg id="{i}"> {pair[side]} </seg>\n' for i, pair in enumerate(pairs, 1))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<mteval>\n<refset trglang="{lang}">\n'
        f'<doc docid="1">\n<url>http://www.ted.com/talks/x</url>\n<title>Ein Titel</title>\n'
        f"{seg}</doc>\n</refset>\n</mteval>\n"
    )


def pack(path: Path, files: dict[str, str]) -> None:
    """Write ``files`` to a .tgz."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            data = text.encode("utf-8")
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def main() -> None:
    """Write ``FOLDER/de-en.tgz`` and a tiny BERT, and print how to run the recipe on them."""
    folder = Path(sys.argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    pairs = write_archive(folder / "de-en.tgz", num_train=600, num_test=12)
    train_tiny_bert(sorted((folder / "de-en.tgz.text").glob("train.*")), folder / "bert")
    print(f"SCALE=mini ARCHIVE={folder}/de-en.tgz BERT={folder}/bert", end=" ")
    print(f'PAIRS="{" ".join(map(str, pairs))}" WORK={folder}/work', end=" ")
    print("examples/iwslt14_deen/run_all.sh")


if __name__ == "__main__":
    main()
