"""The folder of a demo: what it may hold, and the removal of nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bertkd_fairseq.demo.language import SOURCE_LANG, TARGET_LANG
from bertkd_fairseq.demo.miniature import CHECKPOINT
from bertkd_fairseq.demo.stages import COMPARED, CURVES, DUMPED, QUICK, SCORES, SPLITS, TABLES, plan
from bertkd_fairseq.errors import ConfigurationError, raise_all
from bertkd_fairseq.files import holds_something, only_process, place_problems, remove_own, writing
from bertkd_fairseq.precision import AUTO
from bertkd_fairseq.text.data_bin import TOKENIZER_FILES, data_bin_files
from bertkd_fairseq.topk_store.folder import UNFINISHED_FILES
from bertkd_fairseq.topk_store.layout import FILES as STORE_FILES

COMMAND = "bertkd demo"
RECORD = "stages.json"
RESULTS = "demo.json"

_CHECKPOINTS = ("checkpoint_best.pt", "checkpoint_last.pt", "checkpoint_[0-9]*_[0-9]*.pt")
TRAINING_FILES = (*_CHECKPOINTS, *(f"{name}.tmp" for name in _CHECKPOINTS), "generate-test.txt")
"""Patterns of what a stage of training and its translation write."""


def demo_files() -> list[str]:
    """Return patterns of all that a demo writes, relative to its folder."""
    names = [stage.name for stage in plan(Path(), QUICK, seed=1, precision=AUTO, bertkd=())]
    folders: dict[str, Iterable[str]] = {
        "logs": [f"{name}.log" for name in names],
        "corpus": [f"{split}.{lang}" for split in SPLITS for lang in (SOURCE_LANG, TARGET_LANG)],
        "bert": [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            CHECKPOINT,
            *TOKENIZER_FILES,
        ],
        "data-bin": data_bin_files(SOURCE_LANG, TARGET_LANG, SPLITS),
        "topk": STORE_FILES,
        "topk.partial": UNFINISHED_FILES,
        **{name: TRAINING_FILES for name in ("teacher", "plain", "distilled")},
    }
    table = Path(CURVES).with_suffix(".csv").name
    results = [RESULTS, DUMPED, SCORES, COMPARED, TABLES, CURVES, table]
    return [RECORD, *results, *(f"{f}/{name}" for f, names in folders.items() for name in names)]


def make_folder(dest: Path, *, force: bool, name: str = "path") -> None:
    """Make the folder unless it is there; ``force`` removes the demo that is in it, and no foreign file.

    ``name``: what messages call the folder.

    :raises ConfigurationError: if ``dest`` holds something else.
    :raises OutputError: if it can't be written.
    """
    if holds_something(dest) and not (dest / RECORD).is_file():
        raise ConfigurationError(
            f"`{name}` must be a new folder or one of an earlier demo, but {dest} is neither. "
            f"Name another."
        )
    if force or not dest.exists():
        raise_all(place_problems(name, dest))
    if force and holds_something(dest):
        with only_process(dest, COMMAND), suppress(FileNotFoundError):
            remove_own(dest, demo_files(), COMMAND)
    with writing(dest):
        (dest / "logs").mkdir(parents=True, exist_ok=True)


def remove_product(dest: Path, path: Path) -> None:
    """Remove a file or folder in ``dest`` that a stage made, if it is there.

    :raises ConfigurationError: if there is a foreign file in it; nothing is removed then.
    """
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    inside = f"{path.relative_to(dest).as_posix()}/"
    own = [name.removeprefix(inside) for name in demo_files() if name.startswith(inside)]
    remove_own(path, own, COMMAND)
