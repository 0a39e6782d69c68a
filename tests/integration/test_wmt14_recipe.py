"""The WMT14 English-German recipe on the miniature pair: sharded data-bins, several processes, a first student."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fairseq.data.indexed_dataset import MMapIndexedDataset

from bertkd_fairseq.topk_store import TopKStore
from tests.integration.recipe import environment, mini, recorded, run_script, settings_of

RECIPE = "wmt14_ende"


@pytest.fixture(scope="module")
def run_all(
    tmp_path_factory: pytest.TempPathFactory, miniature_corpus: Path, tiny_bert: Path
) -> tuple[Path, dict[str, str]]:
    """The folder of results, up to the distilled student, and the environment."""
    folder = tmp_path_factory.mktemp(RECIPE)
    env = environment(folder, **mini(miniature_corpus, tiny_bert), SHARDS=2)
    for script in ("01_prepare.sh", "02_teacher.sh", "03_dump.sh", "04_plain.sh"):
        run_script(RECIPE, script, env)
    run_script(RECIPE, "05_distilled.sh", {**env, "GPUS": "2"})
    return folder / "work", env


def test_shards_are_every_second_pair(run_all: tuple[Path, dict[str, str]]) -> None:
    work, _ = run_all

    def sentences(data_bin: str, lang: str) -> list[list[int]]:
        return [
            x.tolist() for x in MMapIndexedDataset(str(work / data_bin / f"train.src-tgt.{lang}"))
        ]

    for lang in ("src", "tgt"):
        whole = sentences("data-bin", lang)
        for shard in (0, 1):
            assert sentences(f"shards/{shard}", lang) == whole[shard::2]


def test_each_shard_has_its_store(run_all: tuple[Path, dict[str, str]]) -> None:
    work, _ = run_all
    stores = [TopKStore.open(work / f"topk.{shard}") for shard in (0, 1)]
    whole = MMapIndexedDataset(str(work / "data-bin" / "train.src-tgt.tgt"))
    assert [store.sizes.tolist() for store in stores] == [
        whole.sizes[i::2].tolist() for i in (0, 1)
    ]


def test_student_begins_with_the_plain_ones_weights_and_goes_through_both_shards(
    run_all: tuple[Path, dict[str, str]],
) -> None:
    work, _ = run_all
    log = (work / "logs" / "distilled.log").read_text("utf-8")
    assert f"loading pretrained model from {work}/plain/checkpoint_best.pt" in log
    assert len(re.findall(r"teacher store: .*data:(\w+)", log)) >= 2
    assert len(set(re.findall(r"teacher store: .*data:(\w+)", log))) == 2
    # Where the plain student began, its loss was that of no knowledge at all; updates begin anew.
    plain = (work / "logs" / "plain.log").read_text("utf-8")
    loss = re.compile(r"train_inner .* nll_loss=([\d.]+)")
    assert float(loss.findall(log)[0]) < float(loss.findall(plain)[0])
    assert re.findall(r"num_updates=(\d+)", log)[0] == "1"


def test_several_gpus_share_each_stage(
    run_all: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    _, env = run_all
    here = environment(tmp_path, **{k: v for k, v in env.items() if k not in ("WORK", "PATH")})
    here["GPUS"] = "3"
    launch = ["torchrun", "--standalone", "--nproc-per-node", "3"]
    dumps = recorded(RECIPE, "03_dump.sh", "torchrun", tmp_path, here)
    assert [call[:7] for call in dumps] == [
        [*launch, "--module", "bertkd_fairseq.cli", "dump-topk"] for _ in range(2)
    ]
    for script in ("02_teacher.sh", "04_plain.sh", "05_distilled.sh"):
        [call] = recorded(RECIPE, script, "torchrun", tmp_path, here)
        data = ":".join(f"{tmp_path}/work/shards/{shard}" for shard in (0, 1))
        assert call[:7] == [*launch, "--no-python", "fairseq-train", data]
        assert call[call.index("--ddp-backend") + 1] == "legacy_ddp"


def test_jobs_share_a_dump(run_all: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    _, env = run_all
    here = environment(tmp_path, **{k: v for k, v in env.items() if k not in ("WORK", "PATH")})
    here |= {"DUMP_JOBS": "8", "DUMP_JOB": "5", "GPUS": "2"}
    for call in recorded(RECIPE, "03_dump.sh", "torchrun", tmp_path, here):
        assert call[-4:] == ["--num-shards", "8", "--shard-id", "5"]
    assert sorted(path.name for path in (tmp_path / "work").glob("*.done")) == [
        *("dump.0.job5.done", "dump.1.job5.done")
    ]


@pytest.mark.parametrize("gpus", [1, 4, 8])
def test_an_update_has_the_papers_tokens_on_any_number_of_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int
) -> None:
    monkeypatch.setenv("GPUS", str(gpus))
    wanted = {"TEACHER": 524_288, "PLAIN": 384_000, "KD": 64_000}
    for name, tokens in wanted.items():
        names = f"{name}_MAX_TOKENS {name}_UPDATE_FREQ"
        size, passes = map(int, settings_of(RECIPE, names, tmp_path).values())
        assert size * passes * gpus == tokens


@pytest.mark.parametrize("name", ["GPUS", "SHARDS"])
def test_numbers_of_processes_and_data_bins(tmp_path: Path, name: str) -> None:
    env = environment(tmp_path, DATA=tmp_path, **{name: "0"})
    if name == "GPUS":
        env |= {f"{x}_UPDATE_FREQ": "1" for x in ("TEACHER", "PLAIN", "KD")}
    done = run_script(RECIPE, "02_teacher.sh", env, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(f"error: `{name}` must be a number from 1 on, but is 0 instead.\n")
