"""Every stage as a notebook calls it: a function, a dataclass of settings, a result."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bertkd_fairseq.analysis.compare.run import CompareConfig, compare
from bertkd_fairseq.analysis.curves.run import CurvesConfig, plot_curves
from bertkd_fairseq.analysis.inspect.config import InspectConfig
from bertkd_fairseq.analysis.inspect.run import inspect_store
from bertkd_fairseq.analysis.inspect.statistics import TopKStatistics
from bertkd_fairseq.averaging.checkpoints import average
from bertkd_fairseq.averaging.config import AverageConfig
from bertkd_fairseq.doctor.checks import examine, healthy
from bertkd_fairseq.dump.config import DumpConfig
from bertkd_fairseq.dump.run import dump_topk, estimate_dump
from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.iwslt14 import Iwslt14Config, make_iwslt14
from bertkd_fairseq.text.prepare import PrepareConfig, prepare
from tests.conftest import CHECKOUT
from tests.iwslt14_archive import write_archive

DATA = CHECKOUT / "tests" / "data"


def test_prepare(tmp_path: Path, miniature_corpus: Path, tiny_bert: Path) -> None:
    prepared = prepare(
        PrepareConfig(
            source_lang="src",
            target_lang="tgt",
            train=str(miniature_corpus / "train"),
            valid=str(miniature_corpus / "valid"),
            tokenizer=str(tiny_bert),
            destdir=tmp_path / "data-bin",
        )
    )
    assert prepared.data_bin.path == tmp_path / "data-bin"
    assert prepared.data_bin.settings["splits"]["train"]["kept"] == 600
    assert prepared.report["seconds"] == prepared.seconds
    assert (prepared.facts.splits["valid"].kept, prepared.facts.langs) == (60, ("src", "tgt"))
    assert prepared.data_bin.settings == DataBin.open(tmp_path / "data-bin").settings


def test_dump_and_inspect(tmp_path: Path, data_bin: Path, teacher: Path) -> None:
    config = DumpConfig(
        data_bin=str(data_bin),
        path=str(teacher),
        destdir=str(tmp_path / "topk"),
        topk=4,
        gen_subset="valid",
        precision="fp32",
    )
    estimate = estimate_dump(config)
    assert not (tmp_path / "topk").exists()
    dumped = dump_topk(config)
    assert dumped.store is not None
    assert (dumped.store.k, len(dumped.store)) == (4, estimate.sentences) == (4, 60)
    assert dumped.summary()["tokens"] == estimate.tokens
    found = inspect_store(InspectConfig(store=config.destdir, data_bin=str(data_bin), verify=True))
    assert (found.verified, found.store, found.k) == (True, dumped.store.summary(), 4)
    assert isinstance(found.statistics, TopKStatistics)
    assert found.statistics.tokens == estimate.tokens
    shown = inspect_store(InspectConfig(store=config.destdir, data_bin=str(data_bin), sentence=0))
    assert shown.sentence is not None and len(shown.sentence) == dumped.store.sizes[0]
    assert shown.sentence[-1].gold == "</s>"


def test_compare_and_curves(tmp_path: Path) -> None:
    compared = compare(
        CompareConfig(
            systems={
                "plain": [DATA / "compare" / "plain.1.txt", DATA / "compare" / "plain.2.txt"],
                "kd": [DATA / "compare" / "kd.2.txt"],
            },
            reference=str(DATA / "compare" / "ref.en"),
            resamples=10,
            trials=10,
        )
    )
    assert list(compared.comparison.scores) == ["plain", "kd"]
    assert len(compared.comparison.scores["plain"]["bleu"].runs) == 2
    curves = plot_curves(
        CurvesConfig(logs={"plain": DATA / "curves" / "plain.log"}, output=tmp_path / "x.png")
    )
    assert curves.picture.is_file() and curves.table == tmp_path / "x.csv"


def test_average(tmp_path: Path) -> None:
    files = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for value, file in enumerate(files):
        torch.save({"model": {"w": torch.full((2,), float(value))}}, file)
    assert average(AverageConfig(inputs=files, output=tmp_path / "mean.pt")) == files
    assert torch.load(tmp_path / "mean.pt")["model"]["w"].tolist() == [0.5, 0.5]
    with pytest.raises(ConfigurationError, match="exists already"):
        average(AverageConfig(inputs=files, output=tmp_path / "mean.pt"))


def test_iwslt14(tmp_path: Path) -> None:
    archive = tmp_path / "de-en.tgz"
    pairs = write_archive(archive, num_train=100, num_test=20)
    facts = make_iwslt14(Iwslt14Config(archive=archive, destdir=tmp_path / "text", pairs=pairs))
    assert tuple(facts.pairs.values()) == pairs


def test_doctor() -> None:
    assert healthy(examine())


def test_problems_are_named_as_python_names_them() -> None:
    config = DumpConfig(data_bin="x", path="x", destdir="x", topk=0, entries="sampled", seed=-1)
    with pytest.raises(ConfigurationError) as caught:
        dump_topk(config)
    assert str(caught.value) == (
        "3 problems:\n"
        "  1. `DumpConfig.topk` must be at least 1, but is 0 instead.\n"
        "  2. `DumpConfig.seed` must be at least 0, but is -1 instead.\n"
        "  3. DumpConfig.topk has no meaning with DumpConfig.entries sampled. Leave it out."
    )
