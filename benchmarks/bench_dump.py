"""How fast is the dump: ratios against the bare teacher and against the way of the original, in one run.

    python benchmarks/bench_dump.py DATA_BIN TEACHER.pt --sentences 1000

(a) floor: the teacher's forward pass alone over the very batches of our dump, nothing read, kept or written;
(b) ours: `TeacherDump` and `TopKStoreWriter`, as `bertkd dump-topk` uses them;
   both in float32, and in what `--precision` names or, by itself, measures to be faster here;
(c) plain: as the original does it: corpus order, all copies of 8 pairs a batch, every layer and the head's
    transform at every position, the masked ones picked one by one to a shelve in float16, a second pass over the
    shelve for the top-k; float32.

Every part is run `--repeats` times, in turn, and the median counts. Where other work shares the machine,
OMP_NUM_THREADS=1 and `--clock cpu` (CPU seconds of the process) give steadier ratios than wall seconds.
"""

from __future__ import annotations

import argparse
import resource
import shelve
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import CLOCKS, add_precision, make_parser, write_json

from bertkd_fairseq.dump.config import RowSettings
from bertkd_fairseq.dump.job import DumpJob
from bertkd_fairseq.dump.rows import TeacherDump
from bertkd_fairseq.dump.writer import TopKStoreWriter
from bertkd_fairseq.masking import NUM_MASKS, rotating_masks
from bertkd_fairseq.precision import choose
from bertkd_fairseq.teacher_input import pack_pairs

PAIRS_A_BATCH = 8


class RecordedTeacher(torch.nn.Module):
    """Passes batches on to a teacher and remembers them."""

    def __init__(self, teacher: torch.nn.Module) -> None:
        super().__init__()
        self.teacher = teacher
        self.batches: list[tuple[torch.Tensor, ...]] = []

    def forward(self, *batch: torch.Tensor) -> torch.Tensor:
        """Return the teacher's logits."""
        self.batches.append(batch)
        return self.teacher(*batch)


class Bench:
    """The three ways over the same sentences."""

    def __init__(self, args: argparse.Namespace, precision: str) -> None:
        settings = RowSettings("train", 8, 7, precision, args.max_tokens, True)
        self.job = DumpJob(str(args.teacher), str(args.data_bin), settings)
        self.device = torch.device(args.device)
        self.dump: TeacherDump = self.job.dump(self.device)
        count = min(args.sentences, len(self.job.target_sizes))
        # A stretch of the corpus, in its order: what the original batches together.
        start = (len(self.job.target_sizes) - count) // 2
        self.sentences = range(start, start + count)
        self.sizes = self.job.target_sizes[start : start + count]
        self.block_size = args.block_size
        self._record()

    def _record(self) -> None:
        teacher = self.dump.teacher
        recorded = self.dump.teacher = RecordedTeacher(teacher)
        for block in self._blocks():
            self.dump.block(block, lambda tokens: None)
        self.dump.teacher = teacher
        self.batches = recorded.batches

    def _blocks(self) -> list[range]:
        step = self.block_size
        return [self.sentences[i : i + step] for i in range(0, len(self.sentences), step)]

    @torch.inference_mode()
    def floor(self, folder: Path) -> None:
        """(a)"""
        for batch in self.batches:
            self.dump.teacher(*batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def ours(self, folder: Path) -> None:
        """(b)"""
        writer = TopKStoreWriter(
            folder / "topk",
            k=8,
            sizes=self.sizes,
            crc32=np.zeros(len(self.sizes), dtype=np.uint32),
            symbols=self.job.symbols,
            block_size=self.block_size,
            settings={},
        )
        for number, block in enumerate(self._blocks()):
            writer.write_block(number, self.dump.block(block, lambda tokens: None))
        writer.finish()

    @torch.inference_mode()
    def plain(self, folder: Path) -> None:
        """(c)"""
        teacher = self.dump.teacher
        with shelve.open(str(folder / "hidden")) as hidden_states:
            for start in range(0, len(self.sentences), PAIRS_A_BATCH):
                self._plain_batch(self.sentences[start : start + PAIRS_A_BATCH], hidden_states)
        with (
            shelve.open(str(folder / "hidden")) as hidden_states,
            shelve.open(str(folder / "topk")) as topk,
        ):
            for sentence in self.sentences:
                hidden = torch.from_numpy(hidden_states[str(sentence)]).float().to(self.device)
                logits = teacher.output_projection(hidden)
                topk[str(sentence)] = [values.cpu() for values in logits.topk(8, dim=1)]

    def _plain_batch(self, sentences: range, hidden_states: shelve.Shelf) -> None:
        sources, targets, masks = [], [], []
        for sentence in sentences:
            target = self.dump.target_of(sentence)
            for mask in rotating_masks(len(target)):
                sources.append(self.dump.source_of(sentence))
                targets.append(target)
                masks.append(mask)
        packed = pack_pairs(sources, targets, masks, bos=self.dump.bos, pad=self.dump.pad)
        arrays = (packed.tokens, packed.token_types, packed.masked)
        tokens, types, masked = (torch.from_numpy(array).to(self.device) for array in arrays)
        hidden = stock_hidden_states(self.dump.teacher, tokens, types, masked)  # (N, S, H)
        first = 0
        for sentence, size in zip(sentences, self.sizes_of(sentences), strict=True):
            copies = slice(first, first := first + min(size, NUM_MASKS))
            picked = [
                hidden[copies, position][masked[copies, position]]
                for position in masked[copies].any(0).nonzero().flatten()
            ]
            hidden_states[str(sentence)] = torch.cat(picked).half().cpu().numpy()

    def sizes_of(self, sentences: range) -> list[int]:
        """Return the target tokens of each sentence."""
        return [len(self.dump.target_of(sentence)) for sentence in sentences]


def stock_hidden_states(
    teacher: torch.nn.Module, tokens: torch.Tensor, types: torch.Tensor, masked: torch.Tensor
) -> torch.Tensor:
    """Return what the head's transform makes of every position, all of BERT run at all of them: (N, S, H)."""
    bert, split_off = teacher.bert, teacher.last_layer
    bert.encoder.layer.append(split_off)
    try:
        rows = teacher.symbol_rows[tokens].masked_fill(masked, teacher.mask_row)
        attended = tokens.ne(teacher.padding_idx).long()
        output = bert(input_ids=rows, token_type_ids=types, attention_mask=attended)
    finally:
        del bert.encoder.layer[-1]
    return teacher.transform(output.last_hidden_state)


def median_seconds(
    parts: dict[str, Callable[[Path], None]], repeats: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Run all parts in turn, ``repeats`` times, and return their median seconds by ``clock``."""
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            with tempfile.TemporaryDirectory() as folder:
                start = clock()
                part(Path(folder))
                seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Print the table and, with ``--json``, write it."""
    parser = make_parser(__doc__)
    parser.add_argument("data_bin", type=Path)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=2048)
    parser.add_argument("--block-size", type=int, default=2048)
    add_precision(parser)
    args = parser.parse_args()
    exact = Bench(args, "fp32")
    parts = {"(a) floor, fp32": exact.floor, "(b) ours, fp32": exact.ours}
    half = choose(args.precision, args.device)
    if half != "fp32":
        rounded = Bench(args, half)
        parts |= {f"(a) floor, {half}": rounded.floor, f"(b) ours, {half}": rounded.ours}
    parts["(c) plain, fp32"] = exact.plain
    seconds = median_seconds(parts, args.repeats, CLOCKS[args.clock])
    tokens = int(exact.sizes.sum())
    print(
        f"{len(exact.sizes)} sentences, {tokens} target tokens, {torch.get_num_threads()} threads, {args.clock} clock"
    )
    print(f"{'':<18}{'seconds':>9}{'tokens/s':>10}{'to floor':>10}{'to plain':>10}")
    for name, value in seconds.items():
        floor = seconds[f"(a) floor, {name[-4:]}"]
        speedup = seconds["(c) plain, fp32"] / value
        print(
            f"{name:<18}{value:>9.2f}{tokens / value:>10.0f}{value / floor:>10.2f}{speedup:>9.2f}x"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process {peak:.2f} GiB")
    write_json(args.json, {"tokens": tokens, "seconds": seconds, "peak_gib": peak})


if __name__ == "__main__":
    main()
