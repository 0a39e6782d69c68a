"""What the page shows, against the store and the student asked token by token."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from hypothesis import given, settings
from hypothesis import strategies as st

from bertkd_fairseq.analysis.explore.config import ExploreConfig
from bertkd_fairseq.analysis.explore.data import (
    Exploration,
    choose,
    distances,
    explore,
    readable,
    text_of,
    wrong_shares,
)
from bertkd_fairseq.analysis.inspect.students import Probabilities
from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.text.data_bin import read_binarized
from bertkd_fairseq.topk_store import TopKRows, TopKStore
from bertkd_fairseq.topk_store.layout import SAMPLED
from tests.conftest import CHECKOUT
from tests.unit.topk_store.test_store import make_writer

BEFORE = CHECKOUT / "tests" / "data" / "before_rooms"
STUDENT = str(BEFORE / "student.pt")


def config(**changes: object) -> ExploreConfig:
    settings = {"store": str(BEFORE / "topk"), "data_bin": str(BEFORE / "data-bin"), **changes}
    return ExploreConfig(**settings)  # type: ignore[arg-type]


def sides() -> dict[str, list[np.ndarray]]:
    """Return the ids of every sentence, read without fairseq."""
    found = {}
    for lang in ("src", "tgt"):
        sizes, tokens = read_binarized(BEFORE / "data-bin" / f"train.src-tgt.{lang}")
        found[lang] = np.split(tokens.astype(np.int64), np.cumsum(sizes)[:-1])
    return found


@pytest.fixture(scope="module")
def found() -> Exploration:
    return explore(config(students=[("plain", STUDENT)]))


def test_every_sentence_is_as_the_store_has_it(found: Exploration) -> None:
    store, golds = TopKStore.open(BEFORE / "topk"), sides()["tgt"]
    assert [sentence.index for sentence in found.sentences] == list(range(len(store)))
    assert (found.in_store, found.k, found.symbols) == (40, 4, store.symbols())
    start = 0
    for sentence, gold in zip(found.sentences, golds, strict=True):
        rows = slice(start, start + sentence.tokens)
        ids, logprobs = store.sentence(sentence.index)
        np.testing.assert_array_equal(found.gold[rows], gold)
        np.testing.assert_array_equal(found.rows.ids[rows], ids)
        np.testing.assert_array_equal(found.rows.logprobs[rows], logprobs)
        assert sentence.asked == sentence.tokens == len(gold)
        firsts = [entries[0] == symbol for entries, symbol in zip(ids, gold, strict=True)]
        kept = [symbol in entries for entries, symbol in zip(ids.tolist(), gold, strict=True)]
        assert (sentence.wrong, sentence.outside) == (firsts.count(False), kept.count(False))
        sure = [math.exp(row[0]) for row in logprobs]
        assert sentence.confidence == pytest.approx(sum(sure) / len(sure), abs=6e-5)
        start += sentence.tokens
    assert start == len(found.gold)


@pytest.mark.parametrize("lang", ["src", "tgt"])
def test_text_is_what_was_cut_into_symbols(lang: str) -> None:
    sizes, tokens = read_binarized(BEFORE / "data-bin" / f"valid.src-tgt.{lang}")
    dictionary = Dictionary.load(str(BEFORE / "data-bin" / f"dict.{lang}.txt"))
    kept = (BEFORE / "data-bin" / "tokenized" / f"valid.{lang}").read_text("utf-8").splitlines()
    cut = [part.tolist() for part in np.split(tokens.astype(np.int64), np.cumsum(sizes)[:-1])]
    assert [text_of(ids, dictionary, "wordpiece") for ids in cut] == kept
    assert any(len(ids) - 1 > len(line.split()) for ids, line in zip(cut, kept, strict=True))


def test_student_says_what_its_model_says_of_one_sentence_alone(found: Exploration) -> None:
    from bertkd_fairseq.tasks.checkpoint import load_checkpoint

    model, task = load_checkpoint(STUDENT, str(BEFORE / "data-bin"), eval_bleu=False)
    model.eval()
    start = 0
    for source, gold in zip(*sides().values(), strict=True):
        before = torch.tensor([[task.target_dictionary.eos(), *gold[:-1]]])
        with torch.no_grad():
            logits, _ = model(torch.tensor(source)[None], torch.tensor([len(source)]), before)
        logs = torch.log_softmax(logits[0].double(), -1).numpy()
        for place, symbol in enumerate(gold):
            row = start + place
            wanted = logs[place, found.rows.ids[row]]
            np.testing.assert_allclose(found.students["plain"].entries[row], wanted, atol=2e-5)
            np.testing.assert_allclose(
                found.students["plain"].gold[row], logs[place, symbol], atol=2e-5
            )
        start += len(gold)


@pytest.mark.parametrize("select", ["first", "random", "worst"])
def test_chosen_sentences_are_those_of_the_whole(found: Exploration, select: str) -> None:
    some = explore(
        config(students=[("plain", STUDENT)], select=select, max_sentences=7, seed=5)
    ).report()["sentences"]
    whole = found.report()["sentences"]
    assert len(some) == 7
    for sentence in some:
        wanted = dict(whole[sentence["index"]])
        # Another batch, another last bit.
        assert sentence.pop("distances") == pytest.approx(wanted.pop("distances"), abs=2e-4)
        assert sentence == wanted
    shares = [s["wrong"] / s["tokens"] for s in whole]
    if select == "worst":
        assert min(s["wrong"] / s["tokens"] for s in some) == sorted(shares)[-7]
    elif select == "first":
        assert [s["index"] for s in some] == list(range(7))


def test_seed_chooses_the_random_ones() -> None:
    store = TopKStore.open(BEFORE / "topk")
    drawn = [
        choose(store, None, config(select="random", max_sentences=9, seed=s)) for s in (3, 3, 4)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert drawn[0].tolist() != drawn[2].tolist()
    assert all(sorted(set(each.tolist())) == each.tolist() and len(each) == 9 for each in drawn)


def test_report_is_plain_data(found: Exploration) -> None:
    report = json.loads(json.dumps(found.report()))
    assert (report["select"], report["students"]) == ("first", {"plain": STUDENT})
    assert len(report["sentences"]) == report["in_store"] == 40


class Pairs:
    """Target sentences, as fairseq's pairs have them."""

    def __init__(self, targets: list[list[int]]) -> None:
        self.tgt = [torch.tensor(target) for target in targets]
        self.tgt_sizes = np.array([len(target) for target in targets])
        self.tgt_dict = Dictionary()

    def __len__(self) -> int:
        return len(self.tgt)


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_share_that_is_wrong(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    tokens = sum(sizes)
    rows = TopKRows(
        ids=generator.integers(0, 3, (tokens, 2)),
        logprobs=np.tile(np.array([-0.5, -1.5], np.float16), (tokens, 1)),
        log_tail=np.full(tokens, -1.0, np.float16),
        gold_logprob=np.full(tokens, -1.0, np.float16),
    )
    rows.logprobs[generator.uniform(size=tokens) < 0.3] = -np.inf  # without a teacher
    folder = tmp_path_factory.mktemp("store") / "topk"
    writer = make_writer(folder, np.array(sizes), k=2, num_symbols=9, block_size=100)
    writer.write_block(0, rows)
    gold = generator.integers(0, 3, tokens)
    targets = [part.tolist() for part in np.split(gold, np.cumsum(sizes)[:-1])]
    wanted, row = [], 0
    for target in targets:
        wrong = 0
        for symbol in target:
            asked = not math.isinf(rows.logprobs[row, 0])
            wrong += asked and rows.ids[row, 0] != symbol
            row += 1
        wanted.append(wrong / len(target))
    np.testing.assert_allclose(wrong_shares(writer.finish(), Pairs(targets)), wanted)


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 5))
def test_distance_is_the_share_placed_differently(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    teacher, own = generator.dirichlet(np.ones(k + 1), (2, 6))
    rows = TopKRows(np.zeros((6, k), int), np.log(teacher[:, :k]), np.log(teacher[:, k]))
    found = distances(rows, Probabilities(np.log(own[:, :k]), np.zeros(6)))
    # What one has more of, somewhere, is what the other has less of.
    wanted = [
        sum(max(p - q, 0) for p, q in zip(*pair, strict=True))
        for pair in zip(teacher, own, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    same = distances(rows, Probabilities(np.log(teacher[:, :k]), np.zeros(6)))
    np.testing.assert_allclose(same, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("symbols", "scheme", "text"),
    [
        (["un", "￭happy", "dogs"], "wordpiece", "unhappy dogs"),
        (["un@@", "happy", "dogs"], "bpe", "unhappy dogs"),
        (["▁un", "happy", "▁dogs"], "sentencepiece", "unhappy dogs"),
        (["un", "happy", "Ġdogs"], "hf_byte_bpe", "unhappy dogs"),
        (["Ã", "¶"], "hf_byte_bpe", "ö"),
        (["Ã"], "hf_byte_bpe", "\ufffd"),  # half of a character
        (["403", "34191"], "gpt2", "403 34191"),
        (["dogs", "and"], "words", "dogs and"),
        ([], "wordpiece", ""),
    ],
)
def test_readable(symbols: list[str], scheme: str, text: str) -> None:
    assert readable(symbols, scheme) == text


def test_random_draws_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    store = TopKStore.open(BEFORE / "topk")
    store.meta["targets"] = SAMPLED
    monkeypatch.setattr(TopKStore, "open", lambda path: store)
    with pytest.raises(ConfigurationError) as caught:
        explore(config())
    assert str(caught.value) == (
        f"`ExploreConfig.store` must be a store of the teacher's top K, but is {BEFORE / 'topk'}, which has random "
        "draws, instead. Dump one without `--entries sampled`."
    )


def test_all_that_is_wrong_with_the_settings(tmp_path: Path) -> None:
    wrong = config(
        max_sentences=0,
        select="best",
        seed=-1,
        students=[("plain", STUDENT), ("plain", str(tmp_path / "no.pt"))],
    )
    assert wrong.problems() == [
        "`ExploreConfig.max_sentences` must be at least 1, but is 0 instead.",
        "`ExploreConfig.select` must be one of first, worst, random, but is 'best' instead.",
        "`ExploreConfig.seed` must be at least 0, but is -1 instead.",
        f"there is no checkpoint at {tmp_path / 'no.pt'}. Train a student first.",
        "Each `ExploreConfig.students` must have a name of its own, but 2 are called 'plain'.",
    ]
