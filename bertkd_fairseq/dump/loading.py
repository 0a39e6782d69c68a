"""Load teachers from their paths, and check the kind, the direction and the dictionary of each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertkd_fairseq.data.pairs import load_pairs
from bertkd_fairseq.dump.cmlm import CMLMTeacher
from bertkd_fairseq.dump.config import DumpConfig, RowSettings, TeacherConfig
from bertkd_fairseq.dump.direction import Langs, direction_problems, find_direction
from bertkd_fairseq.dump.encoder_decoder import MULTILINGUAL, EncoderDecoderTeacher, read_config
from bertkd_fairseq.dump.teachers import SIDES, Teacher, TooLongFor
from bertkd_fairseq.dump.translation import TranslationTeacher
from bertkd_fairseq.errors import BertKDError, ConfigurationError, must_be, raise_all
from bertkd_fairseq.settings import named

if TYPE_CHECKING:
    import torch

    from bertkd_fairseq.tasks.checkpoint import Checkpoint

_PATH = named(TeacherConfig, "path")
_HF_LANGUAGES = (named(TeacherConfig, "hf_source_lang"), named(TeacherConfig, "hf_target_lang"))


def load_teachers(path: str, data_bin: str, settings: RowSettings) -> LoadedTeachers:
    """Return the teachers in the colon-separated ``path``, for ``data_bin``, in the order given.

    :raises BertKDError: with what is wrong with each teacher: it is missing, or its kind, its direction or its
        dictionary doesn't fit.
    """
    paths = path.split(os.pathsep)
    raise_all(
        f"there is no checkpoint at {path}. Train a teacher with --task bert_cmlm first."
        for path in paths
        if not os.path.exists(path)
    )
    return LoadedTeachers(paths, data_bin, settings)


@dataclass
class LoadedTeachers:
    """The teachers, their source and target language (``langs``), and the data-bin's dictionaries of these.

    The dictionaries are None if a C-MLM teacher is the only one, because its task has them.
    """

    paths: Sequence[str]
    data_bin: str
    settings: RowSettings
    teachers: list[Teacher] = field(init=False)
    langs: Langs = field(init=False)
    dictionaries: tuple[Any, Any] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        settings, opened = self.settings, _each(self.paths, _open)
        checkpoints = [checkpoint for checkpoint in opened.values() if checkpoint is not None]
        trained = {
            checkpoint.path: (checkpoint.task.source_lang, checkpoint.task.target_lang)
            for checkpoint in checkpoints
        }
        asked = (settings.source_lang, settings.target_lang)
        if len(self.paths) == 1 and [kind_of(each) for each in checkpoints] == ["cmlm"]:
            raise_all(direction_problems(asked, trained))
            teacher = CMLMTeacher(checkpoints[0], self.data_bin, settings, asked)
            self.langs = (teacher.task.cfg.source_lang, teacher.task.cfg.target_lang)
            self.teachers = [teacher]
            raise_all(self._needless_languages())
            return
        self.langs = find_direction(asked, trained, self.data_bin, settings.gen_subset)
        self.dictionaries = self._load_dictionaries()
        raise_all(p for checkpoint in checkpoints for p in self._dictionary_problems(checkpoint))
        built = _each(self.paths, lambda path: self._build(path, opened[path]))
        self.teachers = [built[path] for path in self.paths]
        raise_all([*self._needless_languages(), *self._needless_hiding()])

    @property
    def only_cmlm(self) -> Any:
        """The C-MLM teacher if it is the only teacher, else None. Its stores keep their older form."""
        is_cmlm = [isinstance(teacher, CMLMTeacher) for teacher in self.teachers]
        return self.teachers[0] if is_cmlm == [True] else None

    @property
    def weights(self) -> list[float]:
        """The teachers' weights, which sum to 1."""
        return list(self.settings.weights) or [1 / len(self.teachers)] * len(self.teachers)

    @property
    def num_masks(self) -> int:
        """The number of masked copies of each pair; 0 if no teacher reads them, or if each token has its own."""
        rotate = self._has_cmlm and not self.settings.future.hides
        return self.settings.num_masks if rotate else 0

    @property
    def _has_cmlm(self) -> bool:
        return any(isinstance(teacher, CMLMTeacher) for teacher in self.teachers)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What identifies the teachers: ``teacher``, and ``teachers`` unless a C-MLM teacher is the only one."""
        if alone := self.only_cmlm:
            return {"teacher": alone.identity}
        all_facts = [
            {**teacher.facts, "weight": weight}
            for teacher, weight in zip(self.teachers, self.weights, strict=True)
        ]
        identity = {key: all_facts[0][key] for key in ("sha256", "arch")}
        if len(all_facts) > 1:
            digest = hashlib.sha256(json.dumps(all_facts, sort_keys=True).encode()).hexdigest()
            identity = {"sha256": digest, "arch": "mixture"}
        return {"teacher": identity, "teachers": all_facts}

    def load_pairs(self, split: str) -> Any:
        """Return a split of the data-bin as fairseq's ``LanguagePairDataset``.

        :raises DataError: if it is missing or damaged.
        """
        if self.dictionaries is None:
            return self.only_cmlm.task.load_pairs(self.data_bin, split)
        return load_pairs(self.data_bin, split, self.langs, self.dictionaries, left_pad_source=True)

    def too_long(self, source_sizes: np.ndarray, target_sizes: np.ndarray) -> TooLongFor:
        """Return which pairs are cut for a teacher, and which get no entries because they are too long for one."""
        sizes, cut = (source_sizes, target_sizes), self.settings.cut_sources
        found = [teacher.too_long(*sizes, cut_sources=cut) for teacher in self.teachers]
        no_room = np.any([each.no_room for each in found], axis=0)
        return TooLongFor(np.any([each.source_cut for each in found], axis=0) & ~no_room, no_room)

    def prepare(self, device: torch.device, precision: str) -> None:
        """Move all teachers to ``device``, to compute in ``precision``."""
        for teacher in self.teachers:
            teacher.prepare(device, precision, self.settings.max_tokens)

    def _needless_languages(self) -> list[str]:
        """Return a message for each language of Hugging Face that was given although no teacher needs it."""
        if any(getattr(teacher, "family", None) in MULTILINGUAL for teacher in self.teachers):
            return []
        given = (self.settings.hf_source_lang, self.settings.hf_target_lang)
        return [
            f"{name} has no meaning without a multilingual teacher of Hugging Face. Leave it out."
            for name, language in zip(_HF_LANGUAGES, given, strict=True)
            if language
        ]

    def _needless_hiding(self) -> list[str]:
        """Return what is said of hiding tokens where no teacher fills masks."""
        names = [name for name in self.settings.hiding if name != "hide_seed"]
        return [
            f"{named(DumpConfig, name)} has no meaning without a teacher of --task bert_cmlm. Leave it out."
            for name in names
            if not self._has_cmlm
        ]

    def _build(self, path: str, opened: Checkpoint | None) -> Teacher:
        if opened is None:
            assert self.dictionaries is not None
            languages = (self.settings.hf_source_lang, self.settings.hf_target_lang)
            names = (_PATH, *_HF_LANGUAGES)
            return EncoderDecoderTeacher(path, self.dictionaries, languages, names)
        if kind_of(opened) == "cmlm":
            return CMLMTeacher(opened, self.data_bin, self.settings, self.langs)
        return TranslationTeacher(opened, self.data_bin, self.langs, _PATH)

    def _load_dictionaries(self) -> tuple[Any, Any]:
        from bertkd_fairseq.tasks.translation_bert_kd import TranslationBertKDTask

        files = (os.path.join(self.data_bin, f"dict.{lang}.txt") for lang in self.langs)
        source, target = map(TranslationBertKDTask.load_dictionary, files)
        return source, target

    def _dictionary_problems(self, checkpoint: Checkpoint) -> list[str]:
        """Return a message for each dictionary of the data-bin that isn't the one a checkpoint was trained with.

        Sizes are compared. If the checkpoint names its data-bin by an absolute path and that folder still exists,
        symbols are compared, too. A C-MLM teacher is checked when it is built, since it knows its dictionary's hash.
        """
        assert self.dictionaries is not None
        problems = []
        for side, lang, part, ours in zip(
            SIDES, self.langs, ("encoder", "decoder"), self.dictionaries, strict=True
        ):
            name = f"{side} dictionary of {self.data_bin}"
            rows = checkpoint.state["model"].get(f"{part}.embed_tokens.weight")
            if rows is not None and len(rows) != len(ours):
                wanted = f"the one of {len(rows)} symbols that {checkpoint.path} was trained with"
                problems.append(must_be(name, wanted, f"one of {len(ours)} symbols"))
            elif differ := _first_difference(checkpoint, lang, ours.symbols):
                number, theirs = differ
                wanted = (
                    f"the one that {checkpoint.path} was trained with (symbol {number}: {theirs!r})"
                )
                seen = f"another one (symbol {number}: {ours.symbols[number]!r})"
                problems.append(must_be(name, wanted, seen))
        return problems


def kind_of(checkpoint: Checkpoint) -> str:
    """Return the kind of a checkpoint: ``cmlm`` or ``translation``.

    :raises ConfigurationError: if it is of another kind.
    """
    from fairseq.tasks import TASK_REGISTRY
    from fairseq.tasks.translation import TranslationTask

    from bertkd_fairseq.tasks.bert_cmlm import BertCMLMTask

    name = str(getattr(checkpoint.task, "_name", None) or "missing")
    kind = TASK_REGISTRY.get(name, object)
    if issubclass(kind, BertCMLMTask):
        return "cmlm"
    # fairseq's subclasses of this task put further tokens around a sentence, for which a store has no rows.
    if issubclass(kind, TranslationTask) and name.startswith("translation") and "from" not in name:
        return "translation"
    wanted = "checkpoints of --task bert_cmlm or translation"
    seen = f"{checkpoint.path}, whose task is {name},"
    raise ConfigurationError(must_be(_PATH, wanted, seen))


def _open(path: str) -> Checkpoint | None:
    """Return the checkpoint at ``path``, of a task that can teach; None for the folder of an encoder-decoder."""
    if os.path.isdir(path):
        read_config(path, _PATH)
        return None
    # Imported here, because importing the tasks changes the process, and importing this module must not.
    from bertkd_fairseq.tasks.checkpoint import Checkpoint

    checkpoint = Checkpoint.read(path)
    kind_of(checkpoint)
    return checkpoint


def _each(paths: Sequence[str], do: Callable[[str], Any]) -> dict[str, Any]:
    """Return the result of ``do`` for each path. Mistakes of several paths are raised at once."""
    done, mistakes = {}, []
    for path in dict.fromkeys(paths):
        try:
            done[path] = do(path)
        except BertKDError as error:
            mistakes.append(error)
    if len(mistakes) == 1:
        raise mistakes[0]
    raise_all(map(str, mistakes))
    return done


def _first_difference(
    checkpoint: Checkpoint, lang: str, symbols: Sequence[str]
) -> tuple[int, str] | None:
    """Return the number and the text of the first symbol that was another in the checkpoint's own data-bin.

    None if all are equal, or if that folder isn't named by an absolute path or doesn't exist any more.
    """
    folder = Path((getattr(checkpoint.task, "data", None) or "").split(os.pathsep)[0])
    file = folder / f"dict.{lang}.txt"
    if (
        not folder.is_absolute() or not file.is_file()
    ):  # a relative path may name another folder now
        return None
    from fairseq.data import Dictionary

    theirs = Dictionary.load(str(file)).symbols
    pairs = zip(theirs, symbols, strict=False)
    return next(((i, a) for i, (a, b) in enumerate(pairs) if a != b), None)
