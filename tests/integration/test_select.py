"""``bertkd select`` on what the real ``fairseq-generate`` prints of the training split, up to a student of it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu

from bertkd_fairseq.rescore.config import RescoreConfig
from bertkd_fairseq.rescore.run import rescore
from bertkd_fairseq.selection.config import SelectConfig
from bertkd_fairseq.selection.run import Selected, select
from bertkd_fairseq.text.data_bin import DATA_BIN, read_binarized
from tests.conftest import BERTKD, USER_DIR, fairseq_command, run_command
from tests.integration.conftest import DISTILL, DUMP, STUDENT, logged, train_command

PLAIN = ("--task", "translation", "--criterion", "label_smoothed_cross_entropy")
# fairseq-generate reads --num-shards, too, but translates the whole split whatever it says.
SHARD = ("--distributed-world-size", 2, "--distributed-rank")
BACK = ("--source-lang", "tgt", "--target-lang", "src")


@dataclass(frozen=True)
class Lists:
    """The training split by a student of the miniature, in two shards, and these rescored; and by one backward."""

    shards: list[Path]
    rescored: list[Path]
    backward: Path


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory, data_bin: Path, teacher: Path) -> Lists:
    folder = tmp_path_factory.mktemp("lists")

    def generate(name: str, *options: object, lists_of: int = 3) -> Path:
        command = [*fairseq_command("generate"), data_bin, "--user-dir", USER_DIR]
        command += ["--gen-subset", "train", "--beam", 3, "--nbest", lists_of, "--max-len-b", 20]
        command += ["--required-batch-size-multiple", 1, "--max-tokens", 2000]
        done = run_command([*command, "--bpe", "bert_wordpiece", *options])
        (folder / name).write_text(done.stdout, "utf-8")
        return folder / name

    forward, back = folder / "forward", folder / "back"
    more = ("--max-update", 60, "--save-dir")
    run_command(train_command(data_bin, *STUDENT, *PLAIN, *more, forward))
    run_command(train_command(data_bin, *STUDENT, *PLAIN, *BACK, *more, back, "--max-update", 20))
    path = ("--path", forward / "checkpoint_last.pt")
    shards = [generate(f"{i}.out", *path, *SHARD, i) for i in range(2)]
    whole = folder / "whole.out"
    whole.write_bytes(b"".join(shard.read_bytes() for shard in shards))
    return Lists(
        [whole],
        [_rescored(whole, data_bin, teacher)],
        generate("back.out", "--path", back / "checkpoint_last.pt", *BACK, lists_of=1),
    )


def _rescored(nbest: Path, data_bin: Path, teacher: Path) -> Path:
    config = RescoreConfig(
        nbest=str(nbest),
        data_bin=str(data_bin),
        gen_subset="train",
        path=str(teacher),
        output=f"{nbest}.rescored",
        weight=0.5,
        precision="fp32",
        num_masks=2,
        device="cpu",
    )
    return rescore(config).output


def chosen(lists: Lists, data_bin: Path, dest: Path, **more: Any) -> Selected:
    usual = {"nbest": lists.shards, "rescored": lists.rescored, "by": "teacher"}
    settings = {**usual, **more}
    for name in ("nbest", "rescored"):
        settings[name] = list(map(str, settings[name]))
    return select(SelectConfig(data_bin=str(data_bin), destdir=str(dest), **settings))


def sentences(folder: Path, split: str, lang: str) -> list[tuple[int, ...]]:
    sizes, tokens = read_binarized(folder / f"{split}.src-tgt.{lang}")
    return [tuple(ids.tolist()) for ids in np.split(tokens, np.cumsum(sizes)[:-1])]


def lines_of(path: Path, kind: str) -> dict[int, list[list[str]]]:
    """Return the columns of all lines of one kind by sentence, read by hand."""
    found: dict[int, list[list[str]]] = {}
    for line in path.read_text("utf-8").split("\n"):
        if match := re.match(rf"{kind}-(\d+)\t(.*)", line):
            found.setdefault(int(match[1]), []).append(match[2].split("\t"))
    return found


def naive_choice(lists: Lists, data_bin: Path, by: str) -> dict[int, tuple[int, ...]]:
    """Return the ids of the best hypothesis of each sentence, by the text that fairseq-generate prints."""
    names = (data_bin / "dict.tgt.txt").read_text("utf-8").split("\n")
    index = {line.rsplit(" ", 1)[0]: 4 + i for i, line in enumerate(names) if line}
    (whole,), (again,) = lists.shards, lists.rescored
    words = lines_of(whole, "D")
    reference = {number: rows[0][0] for number, rows in lines_of(whole, "T").items()}
    new = {
        n: {text: float(score) for score, text in rows} for n, rows in lines_of(again, "H").items()
    }
    best = {}
    for number, rows in lines_of(whole, "H").items():
        ranked = []
        for place, (score, text) in enumerate(rows):
            if not text or "<unk>" in text.split(" "):
                continue
            like = sacrebleu.sentence_chrf(words[number][place][1], [reference[number]]).score
            score_of = {"student": float(score), "teacher": new[number][text], "reference": like}
            if text not in [other for _, _, other in ranked]:
                ranked.append((score_of, place, text))
        if not ranked:
            continue
        if by == "both":

            def key(item: Any, ranked: Any = ranked) -> tuple[float, float]:
                worse = [
                    sum(other[name] > item[0][name] for other, _, _ in ranked)
                    for name in ("teacher", "reference")
                ]
                return -sum(worse), item[0]["teacher"]

            _, _, text = max(ranked, key=key)
        else:
            _, _, text = max(ranked, key=lambda item: item[0][by])
        best[number] = (*(index[symbol] for symbol in text.split(" ")), 2)
    return best


@pytest.mark.parametrize("by", ["teacher", "student", "reference", "both"])
def test_each_rule_takes_what_its_definition_says(
    by: str, tmp_path: Path, lists: Lists, data_bin: Path
) -> None:
    done = chosen(lists, data_bin, tmp_path / "new", by=by, with_reference="no")
    wanted = naive_choice(lists, data_bin, by)
    assert sentences(tmp_path / "new", "train", "tgt") == [wanted[n] for n in sorted(wanted)]
    source = sentences(data_bin, "train", "src")
    assert sentences(tmp_path / "new", "train", "src") == [source[n] for n in sorted(wanted)]
    counts = done.counts
    assert (counts.sentences, counts.hypotheses, counts.chosen) == (600, 1800, len(wanted))
    first = {n: rows[0][1] for n, rows in lines_of(lists.shards[0], "H").items()}
    symbols = dict(enumerate(["<s>", "<pad>", "</s>", "<unk>"]))
    names = (data_bin / "dict.tgt.txt").read_text("utf-8").split("\n")
    symbols |= {4 + i: line.rsplit(" ", 1)[0] for i, line in enumerate(names)}
    changed = [n for n, ids in wanted.items() if first[n] != " ".join(symbols[i] for i in ids[:-1])]
    assert counts.changed == len(changed)
    if by in done.scores:
        assert done.scores[by].best >= done.scores[by].first - 1e-9
    if by == "teacher":
        new = lines_of(lists.rescored[0], "H")
        best = [float(max(new[n], key=lambda row: float(row[0]))[0]) for n in sorted(wanted)]
        if counts.not_text + counts.out_of_bounds == 0:
            assert done.scores["teacher"].best == pytest.approx(
                np.mean(best) * math.log(2), abs=1e-3
            )


def doctored(lists: Lists, data_bin: Path, folder: Path) -> Path:
    """The lists with more at the end of some: the reference, the first hypothesis again, one with <unk>, none."""
    names = (data_bin / "dict.tgt.txt").read_text("utf-8").split("\n")
    text = ["<s>", "<pad>", "</s>", "<unk>", *(line.rsplit(" ", 1)[0] for line in names)]
    references = sentences(data_bin, "train", "tgt")
    more = []
    for number, rows in lines_of(lists.shards[0], "H").items():
        said = {
            0: " ".join(text[i] for i in references[number][:-1]),
            1: rows[0][1],
            2: "<unk>",
            3: "",
        }.get(number % 7)
        if said is not None:
            more += [f"H-{number}\t-0.01\t{said}", f"D-{number}\t-0.01\t{said}"]
            more.append(f"P-{number}\t" + " ".join(["-0.01"] * (len(said.split()) + 1)))
    file = folder / "doctored.out"
    file.write_text("".join(line + "\n" for line in more), "utf-8")
    return file


def test_the_reference_comes_first_and_is_not_taken_twice(
    tmp_path: Path, lists: Lists, data_bin: Path
) -> None:
    files = [lists.shards[0], doctored(lists, data_bin, tmp_path)]
    settings = {"nbest": files, "rescored": (), "by": "student"}
    done = chosen(lists, data_bin, tmp_path / "new", **settings)
    of_kind = [len([n for n in range(600) if n % 7 == kind]) for kind in range(4)]
    counts = done.counts
    assert [
        counts.equal_to_reference,
        counts.repeated,
        counts.not_text,
        counts.out_of_bounds,
    ] == of_kind
    assert counts.hypotheses == 1800 + sum(of_kind)
    assert (counts.chosen, counts.without) == (600 - of_kind[0], of_kind[0])
    before, after = (sentences(folder, "train", "tgt") for folder in (data_bin, tmp_path / "new"))
    assert after[:600] == before
    source = sentences(tmp_path / "new", "train", "src")
    assert source == [*source[:600], *(source[n] for n in range(600) if n % 7)]
    assert len(after) == len(source) == done.pairs == 600 + counts.chosen
    assert not {*zip(source, before, strict=False)} & {*zip(source[600:], after[600:], strict=True)}
    again = chosen(lists, data_bin, tmp_path / "more", **settings, keep=9, keep_duplicates=True)
    assert again.counts.chosen == 1800 + of_kind[0] + of_kind[1]
    alone = chosen(lists, data_bin, tmp_path / "alone", **settings, with_reference="no")
    assert (alone.counts.chosen, alone.counts.equal_to_reference) == (600, 0)
    assert sentences(tmp_path / "alone", "train", "tgt")[::7] == before[::7]


def test_all_the_rest_is_a_copy(tmp_path: Path, lists: Lists, data_bin: Path) -> None:
    chosen(lists, data_bin, tmp_path / "new")
    names = {path.relative_to(data_bin) for path in data_bin.rglob("*") if path.is_file()}
    assert names == {
        p.relative_to(tmp_path / "new") for p in (tmp_path / "new").rglob("*") if p.is_file()
    }
    for name in names:
        same = (data_bin / name).read_bytes() == (tmp_path / "new" / name).read_bytes()
        assert same != (name.name.startswith("train.") or name.name == "bertkd.json"), name
    assert DATA_BIN.files(tmp_path / "new") is not None
    settings = json.loads((tmp_path / "new" / "bertkd.json").read_text("utf-8"))
    assert settings["selection"]["by"] == "teacher"
    assert settings["splits"]["train"] == {"kept": settings["selection"]["pairs"]}


def test_bounds_and_lists_of_several_students(tmp_path: Path, lists: Lists, data_bin: Path) -> None:
    other = tmp_path / "other.out"
    other.write_bytes(lists.shards[0].read_bytes())
    files = [lists.shards[0], other]
    done = chosen(
        lists,
        data_bin,
        tmp_path / "new",
        by="student",
        rescored=(),
        nbest=files,
        max_length=8,
        min_length=3,
        max_ratio=1.5,
        with_reference="no",
    )
    assert done.counts.hypotheses == 3600
    assert done.counts.repeated >= done.counts.chosen > 0
    assert done.counts.out_of_bounds > 0
    sides = (sentences(tmp_path / "new", "train", lang) for lang in ("src", "tgt"))
    for source, target in zip(*sides, strict=True):
        lengths = sorted((len(source) - 1, len(target) - 1))
        assert 3 <= len(target) - 1 <= 8 and lengths[1] <= 1.5 * lengths[0]


def test_from_the_command_to_a_dump_and_a_student(
    tmp_path: Path, lists: Lists, data_bin: Path, teacher: Path
) -> None:
    new, report = tmp_path / "new", tmp_path / "new.json"
    files = ("--nbest", *lists.shards, "--rescored", *lists.rescored)
    command = [*BERTKD, "select", *files, "--by", "both", "--data-bin", data_bin]
    done = run_command([*command, "--destdir", new, "--json", report])
    said = json.loads(report.read_text("utf-8"))
    assert (said["report"], said["split"]) == ("bertkd select", "train")
    assert f"written: {new}, train: {said['pairs']} pairs\n" in done.stdout
    assert set(said["scores"]) == {"student", "teacher", "reference"}
    assert re.search(r"^reference +\d+\.\d{4} +\d+\.\d{4}$", done.stdout, re.M)
    run_command([*DUMP, new, "--path", teacher, "--destdir", tmp_path / "topk", "--topk", 4])
    more = ("--teacher-topk", tmp_path / "topk", "--max-update", 5, "--save-dir", tmp_path / "save")
    trained = run_command(train_command(new, *STUDENT, *DISTILL, *more))
    updates = logged(trained.stderr + trained.stdout)
    assert len(updates) == 5 and all(line["kd_loss"] > 0 for line in updates)
    assert run_command([*command, "--destdir", new], check=False).returncode == 2
    run_command([*command, "--destdir", new, "--force", "--with-reference", "no"])


def test_parts_beside_the_reference_keep_its_store_in_both_directions(
    tmp_path: Path, lists: Lists, data_bin: Path, teacher: Path, topk: Path
) -> None:
    """Forward translations as train1, backward ones as train2: the store of train still fits."""
    one = chosen(lists, data_bin, tmp_path / "one", with_reference="apart")
    assert one.split == "train1"
    both = chosen(
        lists,
        tmp_path / "one",
        tmp_path / "both",
        nbest=[lists.backward],
        rescored=(),
        by="student",
        backward=True,
        with_reference="apart",
    )
    assert both.split == "train2"
    folder = tmp_path / "both"
    made, text = sentences(folder, "train2", "src"), sentences(folder, "train2", "tgt")
    assert set(text) <= {*sentences(data_bin, "train", "tgt")}
    names = (data_bin / "dict.src.txt").read_text("utf-8").split("\n")
    index = {line.rsplit(" ", 1)[0]: 4 + i for i, line in enumerate(names) if line}
    first = {n: rows[0][1].split(" ") for n, rows in lines_of(lists.backward, "H").items()}
    printed = {(*(index.get(s, 3) for s in symbols), 2) for symbols in first.values()}
    assert {*made} <= printed and len(made) == both.counts.chosen
    stores = [topk]
    for part in ("train1", "train2"):
        stores.append(tmp_path / f"topk.{part}")
        dump = [*DUMP, folder, "--path", teacher, "--destdir", stores[-1], "--topk", 4]
        run_command([*dump, "--gen-subset", part])
    more = ("--teacher-topk", ":".join(map(str, stores)), "--max-update", 2)
    done = run_command(
        train_command(folder, *STUDENT, *DISTILL, *more, "--save-dir", tmp_path / "s")
    )
    assert len(logged(done.stderr + done.stdout)) == 2
