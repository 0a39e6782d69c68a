"""The fairseq datasets: masks that belong to sentences, teacher rows that follow the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, LanguagePairDataset

from bertkd_fairseq.data.cmlm_dataset import CMLMDataset
from bertkd_fairseq.data.teacher_topk_dataset import TeacherTopKDataset
from bertkd_fairseq.masking import Future, TrainingMasks
from bertkd_fairseq.targets.augmentation import Augmentation
from bertkd_fairseq.teacher_rows import TeacherRows
from bertkd_fairseq.topk_store import TopKStore
from tests.unit.topk_store.test_store import make_rows, make_writer

LENGTHS = [(3, 5), (9, 2), (1, 7), (4, 4), (6, 1), (2, 9)]


def make_pairs(lengths: list[tuple[int, int]] = LENGTHS, **options: bool) -> LanguagePairDataset:
    dictionary = Dictionary()
    for symbol in range(40):
        dictionary.add_symbol(f"w{symbol}")
    generator = torch.Generator().manual_seed(0)

    def sentence(length: int) -> torch.Tensor:
        ids = torch.randint(4, len(dictionary), (length - 1,), generator=generator)
        return torch.cat([ids, torch.tensor([dictionary.eos()])])

    sides = [[sentence(pair[side]) for pair in lengths] for side in (0, 1)]
    sizes = [np.array([len(s) for s in side]) for side in sides]
    return LanguagePairDataset(
        sides[0], sizes[0], dictionary, sides[1], sizes[1], dictionary, shuffle=False, **options
    )


def make_cmlm(
    pairs: LanguagePairDataset,
    fixed_masks: bool = False,
    max_positions: int = 512,
    masks: TrainingMasks | None = None,
) -> CMLMDataset:
    return CMLMDataset(
        pairs,
        seed=1,
        masks=masks or TrainingMasks(),
        max_positions=max_positions,
        fixed_masks=fixed_masks,
    )


def masks(dataset: CMLMDataset, epoch: int) -> list[list[bool]]:
    dataset.set_epoch(epoch)
    return [dataset[index].mask.tolist() for index in range(len(dataset))]


def test_training_masks_change_with_the_epoch_and_nothing_else() -> None:
    first, second = make_cmlm(make_pairs()), make_cmlm(make_pairs())
    assert masks(first, 1) == masks(second, 1)
    assert masks(first, 1) != masks(first, 2)


def test_validation_masks_never_change() -> None:
    dataset = make_cmlm(make_pairs(), fixed_masks=True)
    assert masks(dataset, 1) == masks(dataset, 2) == masks(dataset, 7)


def test_a_batch_holds_the_pairs_and_asks_for_what_is_masked() -> None:
    pairs = make_pairs()
    dataset = make_cmlm(pairs)
    batch = dataset.collater([dataset[index] for index in (4, 1, 5)])
    net_input = batch["net_input"]
    assert batch["id"].tolist() == [4, 1, 5]
    assert batch["ntokens"] == 1 + 2 + 9
    assert batch["target"].tolist() == net_input["tokens"][net_input["masked"]].tolist()
    for row, index in enumerate((4, 1, 5)):
        whole = [0, *pairs.src[index].tolist(), *pairs.tgt[index].tolist()]
        assert net_input["tokens"][row, : len(whole)].tolist() == whole
        assert dataset.num_tokens(index) == len(whole)
        mask = net_input["masked"][row, 1 + len(pairs.src[index]) : len(whole)]
        assert mask.tolist() == dataset[index].mask.tolist()


def test_with_the_future_hidden_validation_asks_for_its_token_and_training_for_all_that_is_hidden() -> (
    None
):
    everything = TrainingMasks(future=Future(rate=1.0))
    training = make_cmlm(make_pairs(), masks=everything)
    fixed = make_cmlm(make_pairs(), fixed_masks=True, masks=everything)
    for index, (_, length) in enumerate(LENGTHS):
        position = int(fixed[index].mask.argmax())
        assert fixed[index].mask.tolist() == [i >= position for i in range(length)]
        assert fixed[index].asked.tolist() == [i == position for i in range(length)]
        assert training[index].asked.tolist() == training[index].mask.tolist()
    batch = fixed.collater([fixed[index] for index in range(len(LENGTHS))])
    net_input = batch["net_input"]
    assert batch["target"].tolist() == net_input["tokens"][net_input["asked"]].tolist()
    assert len(batch["target"]) == len(LENGTHS) < int(net_input["masked"].sum())


def test_a_long_source_is_cut_and_a_long_target_is_left_for_fairseq_to_filter() -> None:
    dataset = make_cmlm(make_pairs([(9, 2), (3, 5), (4, 8)]), max_positions=9)
    assert dataset.sizes.tolist() == [9, 9, 13]  # cut, fits as it is, can't fit
    assert dataset.num_cut == 1
    assert len(dataset[0].source) == 6
    assert dataset[0].source[-1] == 2


@pytest.fixture
def store(tmp_path: Path) -> TopKStore:
    sizes = np.array([target for _, target in LENGTHS])
    writer = make_writer(tmp_path / "topk", sizes, k=3, num_symbols=44, block_size=10)
    writer.write_block(0, make_rows(int(sizes.sum()), 3, 44, seed=0))
    return writer.finish()


@pytest.mark.parametrize("left_pad_target", [False, True])
@pytest.mark.parametrize("topk", [1, 3])
def test_teacher_rows_follow_the_order_of_the_batch(
    store: TopKStore, left_pad_target: bool, topk: int
) -> None:
    pairs = make_pairs(left_pad_target=left_pad_target)
    dataset = TeacherTopKDataset(pairs, store, topk)
    batch = dataset.collater([dataset[index] for index in (0, 5, 1, 2)])
    # fairseq sorts by source length; the rows have to come along.
    assert batch["id"].tolist() == [1, 0, 5, 2]
    rows = TeacherRows.from_sample(batch)
    assert rows.ids.shape == (4, 9, topk)
    for row, index in enumerate(batch["id"].tolist()):
        tokens = batch["target"][row].ne(1)
        ids, logprobs = store.sentence(index)
        np.testing.assert_array_equal(rows.ids[row][tokens], ids[:, :topk])
        np.testing.assert_array_equal(rows.logprobs[row][tokens], logprobs[:, :topk])
        assert torch.isneginf(rows.logprobs[row][~tokens]).all()
        gold = store.sentences(np.array([index])).gold_logprob
        np.testing.assert_array_equal(rows.gold_logprob[row][tokens], gold)
        assert torch.isneginf(rows.gold_logprob[row][~tokens]).all()
    assert dataset.collater([]) == {}


def decoder_inputs(dataset: TeacherTopKDataset, asked: tuple[int, ...]) -> dict[int, list[int]]:
    """Return the decoder inputs of each sentence, without padding."""
    batch = dataset.collater([dataset[index] for index in asked])
    inputs = batch["net_input"]["prev_output_tokens"]
    return {
        index: inputs[row][inputs[row].ne(1)].tolist()
        for row, index in enumerate(batch["id"].tolist())
    }


@pytest.mark.parametrize("left_pad_target", [False, True])
def test_decoder_inputs_are_what_the_teacher_finds_likely(
    store: TopKStore, left_pad_target: bool
) -> None:
    pairs = make_pairs(left_pad_target=left_pad_target)
    plain = TeacherTopKDataset(pairs, store, 3)
    dataset = TeacherTopKDataset(pairs, store, 3, Augmentation(1.0, 5, (0, 1, 2)))
    everything = tuple(range(6))
    before, now = decoder_inputs(plain, everything), decoder_inputs(dataset, everything)
    for index in everything:
        ids = store.sentence(index)[0]
        assert before[index] == [2, *pairs.tgt[index][:-1].tolist()]
        assert len(now[index]) == len(before[index]) and now[index][0] == 2
        for place, token in enumerate(now[index][1:]):
            assert token in ids[place] and token > 2
    batches = [each.collater([each[i] for i in everything]) for each in (plain, dataset)]
    assert batches[0]["target"].equal(batches[1]["target"])
    for rows in zip(*map(TeacherRows.from_sample, batches), strict=True):
        assert rows[0].equal(rows[1])
    changed = sum(
        a != b for index in everything for a, b in zip(before[index], now[index], strict=True)
    )
    assert batches[1]["augmented_tokens"] == changed > 0
    assert "augmented_tokens" not in batches[0]


def test_decoder_inputs_depend_on_seed_epoch_and_sentence_alone(store: TopKStore) -> None:
    def inputs(epoch: int, *asked: int, seed: int = 5) -> dict[int, list[int]]:
        dataset = TeacherTopKDataset(make_pairs(), store, 3, Augmentation(0.5, seed, (0, 1, 2)))
        dataset.set_epoch(epoch)
        return decoder_inputs(dataset, asked)

    together = inputs(3, 0, 1, 2, 3, 4, 5)
    assert {**inputs(3, 5, 0), **inputs(3, 4), **inputs(3, 1, 3, 2)} == together
    assert inputs(4, 0, 1, 2, 3, 4, 5) != together
    assert inputs(3, 0, 1, 2, 3, 4, 5, seed=6) != together
