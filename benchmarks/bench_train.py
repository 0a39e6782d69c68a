"""What distillation costs in training: whole updates of a student, batches read and collated, against plain ones.

    python benchmarks/bench_train.py DATA_BIN TOPK

The student of examples/multi30k_deen, trained by fairseq's own trainer, every way on the same sentences in turn:
plain (fairseq's criterion), distilled, and distilled with SimCut or R-Drop, which ask the student twice. A ratio is
the median over updates. Where other work shares the machine, OMP_NUM_THREADS=1 and `--clock cpu` are steadier.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from measuring import CLOCKS, add_precision, make_parser, write_json

from bertkd_fairseq import precision

DISTILLED = ["--criterion", "bert_kd_label_smoothed_cross_entropy", "--kd-temperature", "1"]
WAYS = {
    "plain": ["--criterion", "label_smoothed_cross_entropy"],
    "distilled": DISTILLED,
    "distilled + SimCut": [*DISTILLED, "--simcut-alpha", "3"],
    "distilled + R-Drop": [*DISTILLED, "--rdrop-alpha", "5"],
}
USER_DIR = Path(__file__).resolve().parent.parent / "bertkd_fairseq"
SHARED = (USER_DIR / "options" / "student.txt").read_text("utf-8").splitlines()
# No validation, no BLEU.
SHARED = SHARED[: SHARED.index("--eval-bleu")]
STUDENT = (
    "--task translation_bert_kd --dropout 0.3 "
    "--encoder-layers 3 --encoder-embed-dim 256 --encoder-ffn-embed-dim 512 --encoder-attention-heads 4 "
    "--decoder-layers 3 --decoder-embed-dim 256 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4 "
    "--lr 1e-4 --max-tokens 4096 --num-workers 0 --seed 1 --no-save"
)


class Training:
    """fairseq's trainer of one way, or with other ``options``, asked for an update at a time."""

    def __init__(
        self, way: str, args: argparse.Namespace, options_of_way: Sequence[str] | None = None
    ) -> None:
        from fairseq import options, tasks, utils
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf
        from fairseq.trainer import Trainer

        if options_of_way is None:
            store = ["--teacher-topk", str(args.topk)] if way != "plain" else []
            options_of_way = [*SHARED, *STUDENT.split(), *WAYS[way], *store]
        argv = [str(args.data_bin), "--user-dir", str(USER_DIR), *options_of_way]
        argv += ["--precision", args.precision]
        argv += ["--cpu"] if args.device == "cpu" else []
        parser = options.get_training_parser()
        cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, argv))
        utils.import_user_module(cfg.common)
        task = tasks.setup_task(cfg.task)
        model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
        task.load_dataset("train")
        self.trainer: Any = Trainer(cfg, task, model, criterion)
        self.batches: Iterator[Any] = self.trainer.get_train_iterator(1).next_epoch_itr()
        self.trainer.begin_epoch(1)

    def update(self) -> None:
        """Read a batch and take one update."""
        self.trainer.train_step([next(self.batches)])
        if torch.cuda.is_available():
            torch.cuda.synchronize()


def main() -> None:
    """Print the table and, with ``--json``, write it."""
    parser = make_parser(__doc__)
    parser.add_argument("data_bin", type=Path)
    parser.add_argument("topk", type=Path)
    parser.add_argument("--updates", type=int, default=30)
    add_precision(parser)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    clock = CLOCKS[args.clock]
    if args.device == "cpu":  # one for all ways
        args.precision = precision.choose(args.precision)
    trainings = {way: Training(way, args) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for update in range(args.updates + 2):
        for way, training in trainings.items():
            start = clock()
            training.update()
            if update >= 2:  # the first ones allocate
                seconds[way].append(clock() - start)
    print(
        f"{args.updates} updates, {args.precision}, {torch.get_num_threads()} threads, {args.clock} clock"
    )
    print(f"{'':<22}{'seconds an update':>18}{'to plain':>10}")
    ratios = {}
    for way, values in seconds.items():
        each = [mine / plain for mine, plain in zip(values, seconds["plain"], strict=True)]
        ratios[way] = statistics.median(each)
        print(f"{way:<22}{statistics.median(values):>18.3f}{ratios[way]:>10.3f}")
    write_json(args.json, {"seconds": seconds, "ratios": ratios})


if __name__ == "__main__":
    main()
