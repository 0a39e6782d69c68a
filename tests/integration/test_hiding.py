"""How much of the future the teacher sees, through the real commands: at training and at the dump."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bertkd_fairseq.topk_store import TopKStore
from bertkd_fairseq.topk_store.layout import ROW_ARRAYS
from tests.conftest import BERTKD, run_command
from tests.integration.conftest import DUMP, TEACHER, logged, train_command

HIDING = ("--hide-future", 0.5, "--mask-unit", "word")
NOTE = "was trained with --hide-future 0 --mask-unit piece and is asked with --hide-future 0.5 --mask-unit word"


def same_files(one: Path, other: Path) -> bool:
    return all((other / file.name).read_bytes() == file.read_bytes() for file in one.iterdir())


@pytest.fixture(scope="module")
def dump(data_bin: Path, teacher: Path) -> list[object]:
    """A dump of the validation split in blocks of 20, without --destdir."""
    split = ("--gen-subset", "valid", "--block-size", 20, "--topk", 4)
    return [*DUMP, data_bin, "--path", teacher, *split]


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory, dump: list[object]) -> Path:
    """A store of a teacher that sees half of the words after each token."""
    dest = tmp_path_factory.mktemp("hidden") / "topk"
    done = run_command([*dump, *HIDING, "--destdir", dest])
    assert NOTE in done.stderr + done.stdout
    return dest


def test_the_store_says_what_was_hidden_and_inspect_shows_it(hidden: Path) -> None:
    store = TopKStore.open(hidden)
    facts = {"hide_future": 0.5, "hide_seed": 1, "mask_unit": "word", "num_masks": 0}
    assert {name: store.meta[name] for name in facts} == facts
    assert store.meta["signature"].endswith("|hidden:future 0.5, seed 1, unit word")
    assert store.meta["signature"] in run_command([*BERTKD, "inspect", hidden, "--verify"]).stdout
    assert store.sentences(np.arange(len(store))).has_teacher.all()


def test_a_rate_of_zero_is_the_default_to_the_byte(tmp_path: Path, dump: list[object]) -> None:
    for name, options in (("plain", ()), ("zero", ("--hide-future", 0, "--mask-unit", "piece"))):
        run_command([*dump, *options, "--destdir", tmp_path / name])
    assert same_files(tmp_path / "plain", tmp_path / "zero")


def test_two_workers_and_a_dump_that_continues_write_the_same_bytes(
    tmp_path: Path, dump: list[object], hidden: Path
) -> None:
    for name, second in (("two", ("--num-shards", 2, "--shard-id", 1)), ("continued", ())):
        command = [*dump, *HIDING, "--destdir", tmp_path / name]
        run_command([*command, "--num-shards", 2, "--shard-id", 0])
        assert not (tmp_path / name).exists()  # the blocks of the other are missing
        run_command([*command, *second])
        assert same_files(hidden, tmp_path / name)
    done = run_command([*dump, *HIDING, "--seed", 2, "--destdir", tmp_path / "two"], check=False)
    assert (done.returncode, "hide_seed: 1 before, 2 now" in done.stderr) == (2, True)


def test_a_window_longer_than_all_targets_hides_the_token_alone(
    tmp_path: Path, dump: list[object]
) -> None:
    """So do as many masked copies as tokens, which know nothing of windows."""
    for name, options in (("window", ("--future-window", 999)), ("masks", ("--num-masks", 999))):
        run_command([*dump, *options, "--destdir", tmp_path / name])
    for name in ROW_ARRAYS:
        files = [(tmp_path / store / f"{name}.npy").read_bytes() for store in ("window", "masks")]
        assert files[0] == files[1], name


def test_without_a_future_the_first_token_of_all_targets_of_a_length_is_the_source_s_alone(
    tmp_path: Path, data_bin: Path, dump: list[object]
) -> None:
    """A rate of 1 and a window of 0 are the same, and other than half."""
    for name, options in (("rate", ("--hide-future", 1)), ("window", ("--future-window", 0))):
        run_command([*dump, *options, "--destdir", tmp_path / name])
    for name in ROW_ARRAYS:
        files = [(tmp_path / store / f"{name}.npy").read_bytes() for store in ("rate", "window")]
        assert files[0] == files[1], name


def test_a_mixture_hides_the_same_from_its_masked_teachers(
    tmp_path: Path, data_bin: Path, teacher: Path, dump: list[object], hidden: Path
) -> None:
    """The same teacher twice is itself; a translation model beside it would see no future at all."""
    place = dump.index("--path") + 1
    command = [*dump[:place], f"{teacher}:{teacher}", *dump[place + 1 :], *HIDING]
    run_command([*command, "--destdir", tmp_path / "mixed"])
    one, two = (TopKStore.open(path) for path in (hidden, tmp_path / "mixed"))
    sentences = np.arange(len(one))
    alone, mixed = one.sentences(sentences), two.sentences(sentences)
    np.testing.assert_allclose(
        mixed.logprobs.astype(float), alone.logprobs.astype(float), rtol=2e-3, atol=2e-3
    )
    assert two.meta["mask_unit"] == "word"


def test_a_teacher_trained_so_is_asked_without_a_note(
    tmp_path: Path, data_bin: Path, tiny_bert: Path, dump: list[object]
) -> None:
    options = ("--bert-model", tiny_bert, "--max-update", 4, "--save-dir", tmp_path)
    hiding = ("--hide-future", "uniform", "--mask-unit", "word")
    done = run_command(train_command(data_bin, *TEACHER, *options, *hiding))
    losses = [line["loss"] for line in logged(done.stdout)]
    assert len(losses) == 4 and np.isfinite(losses).all()
    place = dump.index("--path") + 1
    command = [*dump[:place], tmp_path / "checkpoint_last.pt", *dump[place + 1 :], *HIDING]
    done = run_command([*command, "--destdir", tmp_path / "topk"])
    assert "was trained with" not in done.stderr + done.stdout
