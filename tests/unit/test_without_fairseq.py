"""Store and loss where neither fairseq nor transformers is installed."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

from tests.conftest import USER_DIR, command_environment
from tests.unit.topk_store.test_store import SIZES, fill, make_writer

BLOCK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
READ = """
from bertkd_fairseq.topk_store import TopKStore
store = TopKStore.open(sys.argv[1])
ids, logprobs = store.sentence(1)
print(len(store), ids.shape, store.verify())
"""
DISTIL = """
import numpy as np
import torch
from bertkd_fairseq.loss import bert_kd_loss
from bertkd_fairseq.teacher_rows import TeacherRows
tokens = torch.ones(1, len(ids), dtype=torch.bool)
rows = TeacherRows.at(tokens, store.sentences(np.array([1])))
logits = torch.zeros(len(ids), len(store.symbols()), requires_grad=True)
target = torch.full((len(ids),), 4)
loss = bert_kd_loss(logits, target, rows.ids[0], rows.logprobs[0], alpha=1.0, temperature=2.0,
                    label_smoothing=0.1, ignore_index=1)
loss.loss.backward()
print(round(loss.loss.item() / len(ids), 4), bool(logits.grad.abs().sum() > 0))
"""
OTHERS = ("fairseq", "fairseq_cli", "transformers", "tokenizers", "sacremoses", "sacrebleu", "tqdm")


def run(script: str, store: Path, missing: tuple[str, ...]) -> list[str]:
    """Return the lines that a script prints where modules are missing."""
    argv = [sys.executable, "-c", BLOCK.format(missing=missing) + script, str(store)]
    done = subprocess.run(argv, env=command_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_store_is_read_with_numpy_alone(tmp_path: Path) -> None:
    store = written(tmp_path)
    (line,) = run(READ, store, (*OTHERS, "torch"))
    assert line == f"{len(SIZES)} ({SIZES[1]}, 2) []"


def test_the_loss_needs_torch_beside_it(tmp_path: Path) -> None:
    store = written(tmp_path)
    # At equal logits every symbol costs log V, whatever the teacher says.
    assert run(READ + DISTIL, store, OTHERS)[1] == f"{math.log(300):.4f} True"


def test_a_data_bin_and_its_store_are_compared(tmp_path: Path) -> None:
    script = "import bertkd_fairseq.text.pairs, bertkd_fairseq.data.store_match\nprint('fine')\n"
    assert run(script, tmp_path, ("fairseq", "fairseq_cli", "transformers", "torch")) == ["fine"]


def test_fairseq_is_really_missing(tmp_path: Path) -> None:
    script = "\ntry:\n    import bertkd_fairseq.tasks\nexcept ModuleNotFoundError as error:\n    print(error.name)\n"
    assert run(script, tmp_path, OTHERS) == ["fairseq"]


def test_fairseqs_way_in_still_registers_everything() -> None:
    script = (
        "from argparse import Namespace\nfrom fairseq.tasks import TASK_REGISTRY\n"
        "from fairseq.utils import import_user_module\nimport bertkd_fairseq\n"
        "import_user_module(Namespace(user_dir=sys.argv[1]))\n"
        "print('translation_bert_kd' in TASK_REGISTRY)\n"
    )
    assert run(script, USER_DIR, ())[-1] == "True"


def written(folder: Path) -> Path:
    """Write the small store of the tests of the store."""
    writer = make_writer(folder / "topk")
    fill(writer)
    writer.finish()
    return folder / "topk"
