"""A student of Hugging Face from the same data-bin and store: ``examples/hf_student``."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary

from bertkd_fairseq.data.pairs import load_pairs
from bertkd_fairseq.text.data_bin import SETTINGS_FILE, DataBin
from bertkd_fairseq.text.lines import read_lines
from bertkd_fairseq.text.pairs import Pairs
from bertkd_fairseq.topk_store import TopKStore
from tests.conftest import BERTKD, CHECKOUT, run_command

pytest.importorskip("accelerate", reason="transformers' trainer needs it: pip install '.[hf]'")
SCRIPT = CHECKOUT / "examples" / "hf_student" / "student.py"
MINIATURE = (
    *("--layers", 1, "--embed-dim", 64, "--ffn-embed-dim", 128, "--dropout", 0.1, "--lr", 5e-3),
    *("--warmup-updates", 20, "--max-update", 60, "--batch-size", 64),
)


@pytest.fixture(scope="module")
def student() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("hf_student", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for types
    spec.loader.exec_module(module)
    return module


def settings(student: ModuleType, data_bin: Path, topk: Path, folder: Path, **more):  # type: ignore[no-untyped-def]
    """Return the settings of a small student without dropout."""
    small = {
        "layers": 1,
        "embed_dim": 32,
        "ffn_embed_dim": 64,
        "dropout": 0.0,
        "kd_temperature": 2.0,
    }
    paths = {"data_bin": data_bin, "teacher_topk": topk, "save_dir": folder}
    return student.StudentConfig(**{**small, **paths, **more})


def test_a_batch_is_fairseqs_with_the_row_of_every_label(
    student: ModuleType, data_bin: Path, topk: Path, tmp_path: Path
) -> None:
    pairs, store = student.opened(settings(student, data_bin, topk, tmp_path))
    batches = student.Batches(pairs, store)
    numbers = [3, 100, 7, 599]
    batch = batches.collate([batches[i] for i in numbers])
    dictionary = Dictionary.load(str(data_bin / "dict.tgt.txt"))
    both = (dictionary, dictionary)
    theirs = load_pairs(data_bin, "train", ("src", "tgt"), both, left_pad_source=False)
    expected = theirs.collater([theirs[i] for i in numbers])
    order = [expected["id"].tolist().index(i) for i in numbers]  # fairseq sorts by length
    shown = expected["net_input"]
    assert batch["input_ids"].equal(shown["src_tokens"][order])
    assert batch["attention_mask"].sum(1).equal(shown["src_lengths"][order])
    assert batch["decoder_input_ids"].equal(shown["prev_output_tokens"][order])
    padding = batch["labels"].eq(-100)
    assert batch["labels"].masked_fill(padding, 1).equal(expected["target"][order])
    assert padding.any() and padding.equal(expected["target"][order].eq(1))
    for place, number in enumerate(numbers):
        ids, logprobs = store.sentence(number)
        length = len(ids)
        assert batch["labels"][place, length - 1] == dictionary.eos()
        assert np.array_equal(batch["teacher_ids"][place, :length], ids)
        assert np.array_equal(batch["teacher_logprobs"][place, :length], logprobs)
        assert batch["teacher_logprobs"][place, length:].isneginf().all()


def naive_loss(model, pairs, store, number: int, alpha: float, temperature: float) -> float:  # type: ignore[no-untyped-def]
    """Return the paper's loss of one sentence, summed: alone, without padding, in plain Python."""
    source, target = (torch.tensor(side[number].tolist()) for side in (pairs.src, pairs.tgt))
    before = torch.cat([torch.tensor([2]), target[:-1]])  # EOS first
    logits = model(input_ids=source[None], decoder_input_ids=before[None]).logits[0].double()
    logp = logits.log_softmax(1).tolist()
    ids, logprobs = store.sentence(number)
    loss = 0.0
    for t, gold in enumerate(target.tolist()):
        weights = [math.exp(float(value) / temperature) for value in logprobs[t]]
        kd = -sum(w / sum(weights) * logp[t][i] for w, i in zip(weights, ids[t], strict=True))
        wrong = [logp[t][v] for v in range(len(logp[t])) if v != gold]
        hard = -0.9 * logp[t][gold] - 0.1 * sum(wrong) / len(wrong)
        loss += alpha * kd + (1 - alpha) * hard
    return loss


def test_the_trainers_loss_is_that_of_the_paper(
    student: ModuleType, data_bin: Path, topk: Path, tmp_path: Path
) -> None:
    config = settings(student, data_bin, topk, tmp_path, max_update=1, kd_alpha=0.3)
    pairs, store = student.opened(config)
    model = student.make_model(config, pairs).double().eval()
    batches = student.Batches(pairs, store)
    trainer = student.make_trainer(config, model, batches)
    numbers = [3, 100, 7, 599]
    batch = batches.collate([batches[i] for i in numbers])
    rows = student.TeacherRows.from_sample(batch)
    with torch.no_grad():
        total = sum(naive_loss(model, pairs, store, i, 0.3, 2.0) for i in numbers)
        model_inputs = {
            k: v for k, v in batch.items() if k.split("_")[0] not in ("teacher", "labels")
        }
        logits = model(**model_inputs).logits
        direct = student.distillation(logits, batch["labels"], rows, config)
        # Of one batch, and of one among several of an update, whose tokens are counted together.
        mean = trainer.compute_loss(model, dict(batch)).item()
        share = trainer.compute_loss(
            model, dict(batch), num_items_in_batch=torch.tensor(1000)
        ).item()
    tokens = int(store.sizes[numbers].sum())
    assert int(direct.teacher_tokens) == tokens
    assert direct.loss.item() == pytest.approx(total, rel=1e-6)
    assert mean == pytest.approx(total / tokens, rel=1e-6)
    assert share == pytest.approx(total / 1000, rel=1e-6)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, data_bin: Path, topk: Path
) -> tuple[Path, str]:
    """A small student after 60 updates, by the command, and what was printed."""
    folder = tmp_path_factory.mktemp("hf") / "student"
    command = [sys.executable, SCRIPT, data_bin, "--teacher-topk", topk, "--save-dir", folder]
    done = run_command([*command, *MINIATURE, "--kd-temperature", 2])
    return folder, done.stdout + done.stderr


def test_the_loss_falls(trained: tuple[Path, str]) -> None:
    logged = [line for line in trained[1].replace("\r", "\n").splitlines() if "'loss'" in line]
    losses = [float(line.split("'loss': ")[1].split(",")[0].strip("'\"")) for line in logged]
    assert len(losses) == 10
    assert losses[-1] < 0.7 * losses[0], losses


def test_compare_scores_its_translations(
    trained: tuple[Path, str], data_bin: Path, tmp_path: Path
) -> None:
    file = trained[0] / "generate-test.txt"
    report = tmp_path / "scores.json"
    system = ("--system", f"hf={file}", "--resamples", 10, "--json", report)
    run_command([*BERTKD, "compare", "--data-bin", data_bin, *system])
    scores = json.loads(report.read_text("utf-8"))["scores"]
    assert list(scores) == ["hf"]
    first = [line for line in file.read_text("utf-8").splitlines() if line.startswith("H-")]
    assert [line.split("\t")[0] for line in first] == [f"H-{i}" for i in range(61)]
    assert all(float(line.split("\t")[1]) < 0 for line in first)


@pytest.mark.parametrize("subword", ["bpe", "sentencepiece"])
def test_its_translations_are_text_whatever_cut_the_words(
    student: ModuleType, miniature_corpus: Path, tmp_path: Path, subword: str
) -> None:
    data_bin = tmp_path / "data-bin"
    splits = (
        word for name in ("train", "valid") for word in (f"--{name}", miniature_corpus / name)
    )
    command = [*BERTKD, "prepare", "--source-lang", "src", "--target-lang", "tgt", *splits]
    command += ["--subword", subword, "--vocab-size", 300, "--destdir", data_bin, "--workers", 1]
    run_command(command)
    pairs = Pairs(data_bin, "valid", ("src", "tgt"))
    config = settings(student, data_bin, tmp_path, tmp_path)

    def texts() -> list[str]:
        text = student.decoder(config, pairs.tgt_dict.symbols)
        return [text(pairs.tgt_dict.text(ids[:-1]).split()) for ids in pairs.tgt]

    raw = read_lines(miniature_corpus / "valid.tgt")
    # BPE cuts Moses' tokens, which are joined as Moses does it.
    detokenize = DataBin.open(data_bin).words("tgt").detokenize
    assert texts() == ([detokenize(line) for line in raw] if subword == "bpe" else raw)
    (data_bin / SETTINGS_FILE).unlink()  # as of another tool: words, which Moses has cut for BPE
    words = "tokenized" if subword == "bpe" else "references"
    assert texts() == read_lines(data_bin / words / "valid.tgt")


def test_it_learns_pairs_by_heart_and_translates_so_when_loaded(
    student: ModuleType, data_bin: Path, topk: Path, tmp_path: Path
) -> None:
    """Only where input, labels, EOS and decoding are aligned do its translations equal the targets."""

    size = {"embed_dim": 64, "ffn_embed_dim": 128, "batch_size": 12, "lr": 5e-3}
    length = {"warmup_updates": 20, "max_update": 150, "kd_alpha": 0.0, "label_smoothing": 0.0}
    config = settings(student, data_bin, topk, tmp_path, **size, **length)
    pairs, store = student.opened(config)
    pairs.src, pairs.tgt = (list(side)[:12] for side in (pairs.src, pairs.tgt))
    model = student.make_model(config, pairs)
    student.make_trainer(config, model, student.Batches(pairs, store)).train()
    model.save_pretrained(tmp_path)
    loaded = student.MarianMTModel.from_pretrained(tmp_path)
    with torch.inference_mode():
        lines, again = (list(student.translations(one, pairs, config)) for one in (model, loaded))
    assert again == lines
    texts = [line.rstrip("\n").split("\t")[-1] for line in lines if not line.startswith("D-")]
    assert texts[1::2] == texts[0::2]


def test_a_pretrained_model_with_other_pieces_is_refused(
    data_bin: Path, topk: Path, tmp_path: Path
) -> None:
    pretrained = tmp_path / "opus-mt"
    pretrained.mkdir()
    pieces = {"</s>": 0, "<unk>": 1, "▁the": 2, "<pad>": 3}
    (pretrained / "vocab.json").write_text(json.dumps(pieces), "utf-8")
    count = len(TopKStore.open(topk).symbols())
    command = [
        sys.executable,
        SCRIPT,
        data_bin,
        "--teacher-topk",
        topk,
        "--save-dir",
        tmp_path / "x",
    ]
    done = run_command([*command, "--start", pretrained], check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        f"error: `--start` must be an encoder-decoder with the {count} symbols of the store as its vocabulary, "
        "but is one with 4 pieces, number 0 is '</s>' and not '<s>' instead. Leave it out: the student then starts "
        "from random weights. A model with another vocabulary can be the teacher (docs/dump.md)."
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_store_of_another_split_is_refused(
    student: ModuleType, data_bin: Path, topk: Path, tmp_path: Path
) -> None:
    other = tmp_path / "data-bin"
    other.mkdir()
    for file in data_bin.iterdir():
        if file.is_file():
            # The same split but for its order: the valid one in the place of the training's.
            name = file.name.replace("valid.", "train.") if "valid" in file.name else file.name
            if not file.name.startswith("train."):
                (other / name).write_bytes(file.read_bytes())
    with pytest.raises(student.StoreError, match=r"number of sentences of .* must be 600 as in"):
        student.opened(settings(student, other, topk, tmp_path / "x"))
