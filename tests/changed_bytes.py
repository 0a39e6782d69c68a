"""What every reader of a teacher store makes of one changed byte.

``python -m tests.changed_bytes --changes 300`` changes one random byte of a file, lets every reader read the whole
store, puts the byte back and goes on: so many times for each file of the store. ``--trainings 3`` does it three
times more with fairseq-train itself, in a process of its own. It prints a table for docs/dump.md.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from bertkd_fairseq import compat

compat.apply()
from fairseq.data import Dictionary  # noqa: E402
from fairseq.data.indexed_dataset import make_builder  # noqa: E402

from bertkd_fairseq.analysis.inspect import run as inspect  # noqa: E402
from bertkd_fairseq.analysis.inspect.agreement import Predictions  # noqa: E402
from bertkd_fairseq.cli import main  # noqa: E402
from bertkd_fairseq.criterions.bert_kd_label_smoothed_cross_entropy import (  # noqa: E402
    BertKDLabelSmoothedCrossEntropyConfig,
)
from bertkd_fairseq.data.store_match import data_hashes, pair_checksums  # noqa: E402
from bertkd_fairseq.dump.writer import TopKStoreWriter  # noqa: E402
from bertkd_fairseq.errors import EXIT_CODE, StoreError  # noqa: E402
from bertkd_fairseq.tasks.translation_bert_kd import (  # noqa: E402
    TranslationBertKDConfig,
    TranslationBertKDTask,
)
from bertkd_fairseq.teacher_rows import TeacherRows  # noqa: E402
from bertkd_fairseq.text.data_bin import FORMAT, SETTINGS_FILE, DataBin  # noqa: E402
from bertkd_fairseq.topk_store import TopKStore  # noqa: E402
from bertkd_fairseq.topk_store.layout import FILES  # noqa: E402
from bertkd_fairseq.topk_store.rows import TopKRows  # noqa: E402
from tests.conftest import run_command  # noqa: E402
from tests.integration.conftest import DISTILL, STUDENT, logged, train_command  # noqa: E402

RIGHT, MESSAGE, WRONG, TRACEBACK = OUTCOMES = (
    "right rows",
    "message",
    "other rows in silence",
    "traceback",
)
LANGS = ("src", "tgt")
K, SENTENCES, SYMBOLS, BLOCK_SIZE = 4, 60, 300, 8

Readers = dict[str, Callable[[Path, Path], str]]


def make_data_bin(path: Path, sentences: int = SENTENCES, longest: int = 12) -> Path:
    """Write a data-bin of random pairs with a training split, as fairseq-preprocess would."""
    path.mkdir()
    dictionary = Dictionary()
    for symbol in range(SYMBOLS - len(dictionary)):
        dictionary.add_symbol(f"w{symbol}")
    generator = np.random.default_rng(0)
    for lang in LANGS:
        dictionary.save(str(path / f"dict.{lang}.txt"))
        prefix = path / f"train.{'-'.join(LANGS)}.{lang}"
        builder = make_builder(f"{prefix}.bin", impl="mmap", vocab_size=len(dictionary))
        for length in generator.integers(0, longest, size=sentences):
            ids = generator.integers(dictionary.nspecial, len(dictionary), size=length)
            builder.add_item(torch.tensor([*ids.tolist(), dictionary.eos()]))
        builder.finalize(f"{prefix}.idx")
    langs = {"source_lang": "src", "target_lang": "tgt"}
    (path / SETTINGS_FILE).write_text(json.dumps({"format": FORMAT, "lowercase": False, **langs}))
    return path


def random_rows(tokens: int, k: int, symbols: int, generator: np.random.Generator) -> TopKRows:
    """Return rows as a teacher might give them: descending, with mass left for the tail."""
    logprobs = -np.sort(generator.exponential(size=(tokens, k)), axis=1) - np.log(k)
    outside = np.log1p(-np.exp(logprobs).sum(1).clip(max=0.99))
    ids = generator.integers(0, symbols, size=(tokens, k))
    halves = (values.astype(np.float16) for values in (logprobs, outside, logprobs[:, -1]))
    return TopKRows(ids, *halves)


def load_task(data_bin: Path, topk: Path | None) -> Any:
    """Return the student's task as fairseq-train sets it up, before it loads a split."""
    cfg = TranslationBertKDConfig(data=str(data_bin), source_lang=LANGS[0], target_lang=LANGS[1])
    cfg.teacher_topk = None if topk is None else str(topk)
    # What fairseq-train fills in from its other options.
    cfg.train_subset, cfg.dataset_impl, cfg.required_seq_len_multiple = "train", None, 1
    return TranslationBertKDTask.setup_task(cfg)


def make_store(path: Path, data_bin: Path, k: int = K, block_size: int = BLOCK_SIZE) -> Path:
    """Write a store of random rows that fits the training split of the data-bin."""
    task = load_task(data_bin, None)
    task.load_dataset("train")
    pairs = task.datasets["train"]
    settings = {
        **{"split": "train", "source_lang": LANGS[0], "target_lang": LANGS[1]},
        "hashes": data_hashes(str(data_bin), "train", *LANGS, pairs),
    }
    symbols = list(pairs.tgt_dict.symbols)
    writer = TopKStoreWriter(
        path,
        k=k,
        sizes=np.asarray(pairs.tgt_sizes),
        crc32=pair_checksums(pairs),
        symbols=symbols,
        block_size=block_size,
        settings=settings,
    )
    generator = np.random.default_rng(1)
    for block in writer.missing_blocks():
        sentences = writer.block_sentences(block)
        tokens = int(writer.offsets[sentences.stop] - writer.offsets[sentences.start])
        writer.write_block(block, random_rows(tokens, k, len(symbols), generator))
    return writer.finish().path


def read_in_training(topk: Path, data_bin: Path) -> str:
    """Collate every sentence as fairseq-train does, after the checks of its start."""
    task = load_task(data_bin, topk)
    task.distillation = BertKDLabelSmoothedCrossEntropyConfig()
    task.load_dataset("train")
    dataset = task.datasets["train"]
    digest = hashlib.sha256()
    for batch in np.array_split(np.random.default_rng(2).permutation(len(dataset)), 5):
        collated = dataset.collater([dataset[int(index)] for index in batch])
        for rows in TeacherRows.from_sample(collated):
            digest.update(rows.contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_sentences(topk: Path, data_bin: Path) -> str:
    """Read every sentence, and what else numpy alone can read."""
    store = TopKStore.open(topk)
    digest = hashlib.sha256(repr((store.sizes.tolist(), store.symbols())).encode())
    digest.update(np.asarray(store.crc32).tobytes())
    for index in range(len(store)):
        for array in store.sentence(index):
            digest.update(array.tobytes())
    return digest.hexdigest()


class Recorder:
    """Stands in for statistics, which round: what it says depends on every byte that it was given."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def add(self, rows: TopKRows, gold: np.ndarray, eos: int, *predictions: Predictions) -> None:
        """Remember all of it."""
        arrays = [rows.ids, rows.logprobs, rows.log_tail, rows.gold_logprob, gold]
        for array in arrays + [answer.prediction for answer in predictions]:
            self.digest.update(np.ascontiguousarray(array).tobytes())

    def summary(self) -> dict[str, Any]:
        """Return the hash of what was added."""
        return {"sha256": self.digest.hexdigest()}


class StandInStudent:
    """Predicts for every token the symbol of the token's number."""

    path = "student.pt"

    def predictions(self, pairs: Any, name: str) -> Predictions:
        """Return an answer for every target token."""
        numbers = np.arange(int(np.sum(pairs.tgt_sizes)))
        return Predictions(numbers, numbers, numbers)


def read_in_inspect(topk: Path, data_bin: Path) -> str:
    """Read every sentence, for the statistics and for ``--sentence``."""
    with mock.patch.object(inspect, "StoreStatistics", Recorder):
        store = TopKStore.open(topk)
        pairs = inspect.open_pairs(store, DataBin.open(data_bin))
        read = [store.summary(), inspect.store_statistics(store, pairs).summary()]
    tables = [inspect.sentence_entries(store, index, pairs) for index in range(len(store))]
    return repr((read, tables))


def read_for_a_student(topk: Path, data_bin: Path) -> str:
    """Read every sentence beside a student's predictions."""
    students: Any = [("student", StandInStudent())]
    with mock.patch.object(inspect, "StudentAgreement", Recorder):
        store = TopKStore.open(topk)
        pairs = inspect.open_pairs(store, DataBin.open(data_bin))
        return repr(inspect.agreements(store, pairs, students))


def verify(topk: Path, data_bin: Path) -> str:
    """Run ``bertkd inspect --verify``."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = main(["inspect", str(topk), "--verify"])
    if code == EXIT_CODE:
        raise StoreError(out.getvalue())
    return "nothing found"


def train(topk: Path, data_bin: Path) -> str:
    """Run fairseq-train for an epoch, with a data-loader worker, and return what it logged."""
    options = ("--teacher-topk", topk, "--max-epoch", 1, "--num-workers", 1)
    quick = ("--max-tokens", 100, "--disable-validation", "--no-save")
    command = train_command(data_bin, *STUDENT, *DISTILL, *options, *quick)
    done = run_command(command, check=False, cwd=topk.parent)
    if done.returncode == EXIT_CODE:
        raise StoreError(done.stderr)
    done.check_returncode()
    return repr([[line["loss"], line["gnorm"]] for line in logged(done.stdout)])


READERS: Readers = {
    "training": read_in_training,
    "`sentence(i)`": read_sentences,
    "`inspect`": read_in_inspect,
    "`--student`": read_for_a_student,
    "`--verify`": verify,
}


@contextlib.contextmanager
def changed_byte(file: Path, place: int, change: int) -> Iterator[None]:
    """Change the byte at ``place`` by exclusive or with ``change`` for as long as this lasts."""
    whole = file.read_bytes()
    changed = bytearray(whole)
    changed[place] ^= change
    file.write_bytes(changed)
    try:
        yield
    finally:
        file.write_bytes(whole)


def outcome(read: Callable[[], str], right: str) -> str:
    """Return which of :data:`OUTCOMES` a reader comes to."""
    try:
        seen = read()
    except StoreError as error:
        return TRACEBACK if "Traceback" in str(error) else MESSAGE
    except Exception:
        logging.debug("a reader failed", exc_info=True)
        return TRACEBACK
    return RIGHT if seen == right else WRONG


def count_outcomes(
    topk: Path, data_bin: Path, changes: int, seed: int, readers: Readers = READERS
) -> dict[str, dict[str, Counter[str]]]:
    """Return what became of so many changes of each file, by file and reader."""
    right = {reader: read(topk, data_bin) for reader, read in readers.items()}
    right["`--verify`"] = "every change is to be found"
    generator = np.random.default_rng(seed)
    counts: dict[str, dict[str, Counter[str]]] = {}
    for name in FILES:
        counts[name] = {reader: Counter() for reader in readers}
        size = (topk / name).stat().st_size
        for _ in range(changes):
            place, change = int(generator.integers(size)), int(generator.integers(1, 256))
            with changed_byte(topk / name, place, change):
                for reader, read in readers.items():
                    result = outcome(partial(read, topk, data_bin), right[reader])
                    counts[name][reader][result] += 1
    return counts


def table(counts: dict[str, dict[str, Counter[str]]]) -> str:
    """Return the counts in Markdown: right rows, messages, other rows in silence, tracebacks."""
    readers = list(counts[FILES[0]])
    lines = [f"| changed file | {' | '.join(readers)} |", "|---" * (len(readers) + 1) + "|"]
    for name, by_reader in counts.items():
        cells = [" / ".join(str(count[kind]) for kind in OUTCOMES) for count in by_reader.values()]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def run() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=300, help="random changes of each file")
    parser.add_argument("--trainings", type=int, default=0, help="of them by fairseq-train itself")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        data_bin = make_data_bin(Path(folder) / "data-bin")
        topk = make_store(Path(folder) / "topk", data_bin)
        counts = count_outcomes(topk, data_bin, args.changes, args.seed)
        if args.trainings:
            readers = {"fairseq-train": train}
            for name, of in count_outcomes(
                topk, data_bin, args.trainings, args.seed + 1, readers
            ).items():
                counts[name] |= of
    print(f"{' / '.join(OUTCOMES)}\n\n{table(counts)}")


if __name__ == "__main__":
    run()
