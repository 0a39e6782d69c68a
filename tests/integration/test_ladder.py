"""The experiments of examples/multi30k_deen/ladder by ``doit``: killed with stand-ins, and once with real commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from bertkd_fairseq import compat
from bertkd_fairseq.text.data_bin import read_binarized
from bertkd_fairseq.topk_store import TopKStore
from tests.conftest import USER_DIR, command_environment, run_command, warm_commands
from tests.integration.recipe import EXAMPLES, environment, program
from tests.warm_programs import warm_programs

pytest.importorskip("doit")
DODO = [sys.executable, "-m", "doit", "run", "-f", str(EXAMPLES / "multi30k_deen/ladder/dodo.py")]

# One update in 20 ms, each written down; checkpoints hold the number of updates.
TRAIN = """#!/usr/bin/env bash
while (($#)); do
    case $1 in --save-dir) dir=$2 ;; --max-update) max=$2 ;; --save-interval-updates) every=$2 ;; esac
    shift
done
mkdir -p "$dir"
at=0 stamp="2026-01-01 00:00:0"
[[ ! -f $dir/checkpoint_last.pt ]] || at=$(<"$dir/checkpoint_last.pt")
echo "${stamp}1 | INFO | fairseq.trainer | Loaded checkpoint x (epoch 1 @ $at updates)"
while ((at < max)); do
    sleep .02
    echo "${dir##*/} $((++at))" >>"$TRAINED"
    [[ "${dir##*/} $at" != "${HANG-}" ]] || sleep 60
    ((at % every == 0)) || continue
    echo $at >"$dir/checkpoint_1_$at.pt"
    cp "$dir/checkpoint_1_$at.pt" "$dir/checkpoint_last.pt"
done
cp "$dir/checkpoint_last.pt" "$dir/checkpoint_best.pt"
echo "${stamp}3 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 2 | num_updates $max"
"""
BERTKD = """#!/usr/bin/env bash
[[ $1 == user-dir || $1 == doctor ]] || echo "$1" >>"$CALLED"
case $1 in
user-dir) echo {user_dir} ;;
doctor) echo "export PRECISION=fp32" ;;
*)
    while (($#)); do
        [[ $1 != --output ]] || touch "$2"
        [[ $1 != --system ]] || name=${{2%%=*}}
        [[ $1 != --json || $name == "" ]] ||
            echo '{{"signatures": {{"bleu": "sig"}}, "scores": {{"'$name'": {{"bleu": {{"score": 30}}}}}}}}' >"$2"
        shift
    done ;;
esac
"""
GENERATE = """#!/usr/bin/env bash
while (($#)); do
    case $1 in --gen-subset) subset=$2 ;; --results-path) dir=$2 ;; esac
    shift
done
mkdir -p "$dir" && touch "$dir/generate-$subset.txt"
"""
VALIDATE = "#!/usr/bin/env bash\necho \"valid on 'valid' subset | loss 4 | nll_loss 2.5 | ppl 6\"\n"
SIZES = (
    "SUBWORD: wordpiece, STUDENT_MAX_TOKENS: 1000, LAYERS: 1, DIM: 32, FFN: 32, HEADS: 2, "
    "LOG_EVERY: 1, RESAMPLES: 9"
)
TWICE = """#!/usr/bin/env bash
cd "$WORK/data-bin"
for file in train.src-tgt.*; do cp "$file" "train1${file#train}"; done
"""
TABLE = """
seeds: [1, 2]
settings: {UPDATES: 50, VALIDATE_EVERY: 10, AVERAGE: 2}
corpora: {text: {}}
teachers: {others: {students: [plain.seed1, plain.seed3]}}
arms: {plain: {}, kd: {teacher: others, KD_ALPHA: 0.5, seeds: [1]}}
"""


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def scored(path: Path) -> list[str]:
    return [
        f"{row['arm']}.seed{row['seed']}" for row in json.loads(path.read_text("utf-8"))["rows"]
    ]


def test_killed_and_started_again_it_repeats_nothing_but_the_last_interval(tmp_path: Path) -> None:
    programs = {"bertkd": BERTKD.format(user_dir=USER_DIR), "fairseq-train": TRAIN}
    programs |= {"fairseq-generate": GENERATE, "fairseq-validate": VALIDATE}
    for name, text in programs.items():
        program(tmp_path, name, text)
    (tmp_path / "arms.yaml").write_text(TABLE)
    results, trained, called = (tmp_path / name for name in ("rows.json", "trained", "called"))
    own = {"ARMS": tmp_path / "arms.yaml", "RESULTS": results, "TRAINED": trained, "CALLED": called}
    # Settings that happen to be in the environment change nothing.
    env = environment(tmp_path, DATA=tmp_path, BERT=tmp_path, UPDATES=7, SEED=9, **own)

    # One after the other: doit takes tasks that wait for the same one in any order.
    run_command([*DODO, "valid:plain.seed1"], env=env)
    with (tmp_path / "first.out").open("w") as out:
        doit = subprocess.Popen(
            [*DODO, "valid:plain.seed2"],
            env={**command_environment(), **env, "HANG": "plain.seed2 14"},
            stdout=out,
            stderr=out,
        )
        give_up = time.monotonic() + 60
        while "plain.seed2 14" not in lines(trained):
            assert doit.poll() is None and time.monotonic() < give_up, (
                tmp_path / "first.out"
            ).read_text()
            time.sleep(0.01)
        doit.kill()
        doit.wait()
    assert scored(results) == ["plain.seed1"]

    run_command(DODO, env=env)
    assert scored(results) == ["plain.seed1", "plain.seed2", "kd.seed1"]
    updates = Counter(lines(trained))
    expected = {
        f"{s} {u}"
        for s in ("plain.seed1", "plain.seed2", "plain.seed3", "kd.seed1")
        for u in range(1, 51)
    }
    assert set(updates) == expected
    again = [key for key, count in updates.items() if count > 1]
    assert (
        again
        and all(key.startswith("plain.seed2 ") for key in again)
        and max(updates.values()) == 2
    )
    numbers = sorted(int(key.split()[1]) for key in again)
    assert numbers == [11, 12, 13, 14]  # from the last checkpoint to the kill
    # plain.seed3 is a teacher only: it has no scores.
    assert Counter(lines(called)) == {"prepare": 1, "dump-topk": 1, "average": 4, "compare": 3}

    said = run_command(DODO, env=env).stdout
    assert said.splitlines() == [
        f"-- valid:{s}" for s in ("plain.seed1", "plain.seed2", "kd.seed1")
    ]
    before = len(lines(trained))
    run_command([*DODO, "again=kd"], env=env)  # it is trained: nothing but its row is made
    assert len(lines(trained)) == before
    # Settings of the translation alone: it is made again, the students aren't.
    (tmp_path / "arms.yaml").write_text(TABLE.replace("UPDATES: 50", "LENPEN: 2, UPDATES: 50"))
    scores = Counter(lines(called))["compare"]
    run_command([*DODO, "again=all", "valid:plain.seed1"], env=env)
    assert len(lines(trained)) == before
    assert Counter(lines(called))["compare"] == scores + 1
    (tmp_path / "arms.yaml").write_text(TABLE)
    run_command([*DODO, "again=all", "valid:plain.seed1"], env=env)

    # A clean clone elsewhere has the rows, and no folder of results.
    (tmp_path / "arms.yaml").write_text(TABLE.replace("kd:", "more: {LAYERS: 3, seeds: [1]}, kd:"))
    run_command(DODO, env={**env, "WORK": str(tmp_path / "elsewhere")})
    assert [line.split()[0] for line in lines(trained)[before:]] == ["more.seed1"] * 50
    assert scored(results) == ["plain.seed1", "plain.seed2", "more.seed1", "kd.seed1"]

    (tmp_path / "arms.yaml").write_text(TABLE.replace("UPDATES: 50", "UPDATES: 60"))
    done = run_command(DODO, env=env, check=False)
    assert done.returncode == 2 and done.stderr.startswith(
        "error: 2 problems:\n  1. The results of plain were "
    )


def test_real_commands(tmp_path: Path, miniature_corpus: Path, tiny_bert: Path) -> None:
    (tmp_path / "arms.yaml").write_text(f"""
baseline: plain
seeds: [1]
settings: {{UPDATES: 6, VALIDATE_EVERY: 2, AVERAGE: 2, {SIZES}}}
options: --disable-validation
corpora: {{tiny: {{DATA: $TEXT, TRAIN_PAIRS: 500, SRC: src, TGT: tgt, script: twice.sh, parts: [train1]}}}}
teachers:
  cmlm: {{TEACHER_UPDATES: 2, TEACHER_WARMUP: 1}}
  both: {{of: [cmlm], students: [plain.seed1], DUMP_EXTRA: "--weights .5,.5"}}
arms: {{plain: {{}}, both: {{teacher: both, KD_ALPHA: 0.5, KD_TEMPERATURE: 1}}}}
""")
    (tmp_path / "twice.sh").write_text(TWICE)
    own = {"ARMS": tmp_path / "arms.yaml", "RESULTS": tmp_path / "rows.json"}
    env = environment(tmp_path, TEXT=miniature_corpus, BERT=tiny_bert, **own)
    with warm_programs(warm_commands()) as folder:
        env["PATH"] = os.pathsep.join((str(folder), env["PATH"]))
        run_command([*DODO, "test:plain.seed1"], env=env)
        run_command([*DODO, "valid", "quality:tiny/both"], env=env)
    work = tmp_path / "work" / "tiny"
    (teacher,) = json.loads((tmp_path / "rows_teachers.json").read_text("utf-8"))["teachers"]
    assert (teacher["corpus"], teacher["teacher"]) == ("tiny", "both")
    for split in ("train", "valid"):
        assert teacher[split]["gold_perplexity"] > 1 and 0 <= teacher[split]["accuracy"] <= 100
    assert teacher["train"] != teacher["valid"]
    plain, both = json.loads((tmp_path / "rows.json").read_text("utf-8"))["rows"]
    assert (plain["arm"], both["arm"], both["against"]) == ("plain", "both", "plain")
    assert "test_bleu" in plain and "test_bleu" not in both
    for row in (plain, both):
        assert 4 < row["valid_nll"] < 12 and 0 <= row["valid_bleu"] < 100
        assert row["signature"].startswith("nrefs:1|case:lc|eff:no|tok:13a|")
        assert (row["threads"], row["precision"], row["updates"]) == (1, "fp32", 6)
        save_dir = work / f"{row['arm']}.seed1"
        compat.apply()
        averaged = torch.load(save_dir / "average_last.6.pt", weights_only=True)["averaged"]
        assert [name.split("_")[-1] for name in averaged] == ["4.pt", "6.pt"]
        assert not list(save_dir.glob("checkpoint_*_*.pt"))  # the average is made
    first, second = (TopKStore.open(work / name) for name in ("topk.both", "topk.both.train1"))
    assert len(first) == len(second) == 500  # of 600 pairs
    assert first.sizes.tolist() == second.sizes.tolist()
    log = (work / "logs" / "both.seed1.6.log").read_text("utf-8")
    assert "kd_loss=" in log and "| valid | " not in log


def test_a_corpus_of_what_one_student_says_and_another_finds_likely(
    tmp_path: Path, miniature_corpus: Path, tiny_bert: Path
) -> None:
    script = EXAMPLES / "multi30k_deen/ladder/chosen.sh"
    (tmp_path / "arms.yaml").write_text(f"""
seeds: [1]
settings:
  {{DATA: $TEXT, SRC: src, TGT: tgt, TRAIN_PAIRS: 500, UPDATES: 62, VALIDATE_EVERY: 31, AVERAGE: 2,
   PLAIN_WARMUP: 20, {SIZES}}}
options: --disable-validation
corpora:
  tiny: {{}}
  chosen: {{script: {script}, students: [plain.seed1, plain.seed2], parts: [train1]}}
  together: {{script: {script}, students: [plain.seed1, plain.seed2], parts: [train1], BY: student}}
  taught: {{script: {script}, students: [plain.seed1, plain.seed2], teachers: [cmlm], parts: [train1], base: tiny}}
  further: {{script: {script}, students: [plain.seed1], teachers: [cmlm], parts: [train1], base: tiny, UNPAIRED: 70}}
teachers:
  cmlm: {{TEACHER_UPDATES: 4, TEACHER_WARMUP: 1, VALIDATE_EVERY: 2, TEACHER_MAX_TOKENS: 1000}}
  more: {{begins_with: cmlm, TEACHER_UPDATES: 2, TEACHER_WARMUP: 1, VALIDATE_EVERY: 2, TEACHER_MAX_TOKENS: 1000}}
arms: {{plain: {{}}, chosen: {{corpus: chosen}}, taught: {{corpus: taught, teacher: more, KD_ALPHA: 0.5}}}}
""")
    own = {"ARMS": tmp_path / "arms.yaml", "RESULTS": tmp_path / "rows.json"}
    env = environment(tmp_path, TEXT=miniature_corpus, BERT=tiny_bert, **own)
    with warm_programs(warm_commands()) as folder:
        env["PATH"] = os.pathsep.join((str(folder), env["PATH"]))
        run_command(DODO, env=env)
        again = run_command([*DODO, "corpus:chosen"], env=env).stdout
        run_command([*DODO, "corpus:together", "corpus:further"], env=env)
    assert again.splitlines()[-1].endswith("prepare: complete, skipped")
    assert scored(tmp_path / "rows.json") == ["plain.seed1", "chosen.seed1", "taught.seed1"]
    work = tmp_path / "work" / "chosen"
    counts = json.loads((work / "selected.json").read_text("utf-8"))["counts"]
    log = (work / "logs" / "chosen.seed1.62.log").read_text("utf-8")
    assert counts["chosen"] > 0 and f"data-bin train1 src-tgt {counts['chosen']} examples" in log

    logs = tmp_path / "work" / "tiny" / "logs"
    began = (logs / "teacher.more.log").read_text("utf-8")
    assert (
        f"loading pretrained model from {work.parent}/tiny/teacher.cmlm/checkpoint_best.pt" in began
    )
    taught = tmp_path / "work" / "taught"
    assert not list(taught.glob("teacher*"))  # its teachers are those of its base
    report = json.loads((taught / "nbest" / "rescored.json").read_text("utf-8"))
    assert report["teacher"]["arch"] == "bert_cmlm_teacher"
    generated = (taught / "logs" / "nbest_train.log").read_text("utf-8")
    assert generated.count("plain.seed1") and generated.count("plain.seed2")  # written by both
    stores = [TopKStore.open(taught / f"topk.more{part}") for part in ("", ".train1")]
    assert "kd_loss=" in (taught / "logs" / "taught.seed1.62.log").read_text("utf-8")
    chosen = json.loads((taught / "selected.json").read_text("utf-8"))["counts"]["chosen"]
    assert [len(store) for store in stores] == [500, chosen]

    together = tmp_path / "work" / "together"
    report = json.loads((together / "selected.json").read_text("utf-8"))
    assert report["by"] == "student" and report["counts"]["chosen"] > 0
    generated = (together / "logs" / "nbest_train.log").read_text("utf-8")
    assert generated.count("plain.seed1") and generated.count("plain.seed2")
    assert not (together / "nbest" / "rescored.json").exists()

    further = tmp_path / "work" / "further"
    sources = (miniature_corpus / "train.src").read_text("utf-8").splitlines()[500:570]
    assert (further / "nbest" / "unpaired.src").read_text("utf-8").splitlines() == sources
    assert (further / "nbest" / "unpaired.tgt").read_text("utf-8") == ".\n" * 70
    report = json.loads((further / "selected.json").read_text("utf-8"))
    counts = report["counts"]
    assert report["by"] == "teacher" and counts["sentences"] == 70 and counts["chosen"] > 0
    sizes = [
        read_binarized(further / "data-bin" / f"train1.src-tgt.{x}")[0] for x in ("src", "tgt")
    ]
    assert len(sizes[0]) == len(sizes[1]) == counts["chosen"]
