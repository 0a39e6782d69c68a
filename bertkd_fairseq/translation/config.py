"""The settings of ``bertkd translate`` and ``bertkd export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.errors import must_be
from bertkd_fairseq.files import dest_problems
from bertkd_fairseq.settings import named, range_problems, setting
from bertkd_fairseq.text.outputs import inside_problems
from bertkd_fairseq.translation.exported import EXPORT, is_export

FAIRSEQ, CTRANSLATE2 = ENGINES = ("fairseq", "ctranslate2")
FLOAT32 = "float32"
QUANTIZATIONS = (FLOAT32, "int8", "int16", "float16", "bfloat16", "int8_float16")
"""How CTranslate2 keeps weights; what a processor can't compute in is converted when the model is loaded."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """The settings of :func:`bertkd_fairseq.translation.export.export`."""

    path: Path = setting(
        "checkpoint of a Transformer student, as fairseq-train wrote it", metavar="FILE"
    )
    data_bin: Path = setting("data-bin that it was trained on", metavar="DIR")
    destdir: Path = setting("folder to make: model, vocabulary and tokenizer", metavar="DIR")
    quantization: str = setting("how weights are kept", default=FLOAT32, choices=QUANTIZATIONS)
    force: bool = setting("replace an earlier export", default=False)

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without opening the checkpoint."""
        name, force = named(self, "destdir"), named(self, "force")
        problems = inside_problems(name, self.destdir)
        problems += dest_problems(self.destdir, EXPORT, self.force, name=name, force_name=force)
        return problems + range_problems(self)


@dataclass(frozen=True, kw_only=True)
class TranslateConfig:
    """The settings of :func:`bertkd_fairseq.translation.run.translate`; search as in ``options/generate.txt``."""

    path: Path = setting(
        "the student: a checkpoint of fairseq-train, or a folder of bertkd export", metavar="PATH"
    )
    data_bin: Path | None = setting(
        "data-bin that a checkpoint was trained on; an exported folder has what is needed of it",
        default=None,
        metavar="DIR",
    )
    engine: str | None = setting(
        "what computes; if not given, ctranslate2 for an exported folder and fairseq for a checkpoint, which "
        "ctranslate2 takes as well",
        default=None,
        choices=ENGINES,
    )
    beam: int = setting("beam size; 1 is greedy", default=5, at_least=1, metavar="N")
    lenpen: float = setting(
        "length penalty: a translation's log-probability is divided by its length to this power",
        default=0.6,
        metavar="P",
    )
    max_len_a: float = setting(
        "a translation has at most A * x + B symbols, x those of the source with EOS",
        default=1.2,
        at_least=0,
        metavar="A",
    )
    max_len_b: int = setting("see --max-len-a", default=10, at_least=1, metavar="B")
    max_tokens: int = setting(
        "source symbols in a batch, whose sentences are all of one length",
        default=4096,
        at_least=1,
        metavar="N",
    )
    threads: int = setting(
        "threads to compute with; 0: what the engine takes by itself",
        default=0,
        at_least=0,
        metavar="N",
    )

    @property
    def chosen_engine(self) -> str:
        """The engine that will compute."""
        return self.engine or (CTRANSLATE2 if self.path.is_dir() else FAIRSEQ)

    def problems(self) -> list[str]:
        """Return what is wrong with the settings, without opening the model."""
        path, data_bin = named(self, "path"), named(self, "data_bin")
        problems = range_problems(self)
        if self.path.is_dir():
            if not is_export(self.path):
                wanted = "a checkpoint or a folder of `bertkd export`"
                hint = "Name the file in it, or export it."
                problems.append(must_be(path, wanted, f"another folder, {self.path},", hint))
            elif self.engine == FAIRSEQ:
                hint = "fairseq needs the checkpoint that was exported."
                problems.append(must_be(path, "a checkpoint", f"the export {self.path}", hint))
        elif self.data_bin is None:
            problems.append(f"`{data_bin}` must be given with a checkpoint: it knows the symbols.")
        return problems

    def longest(self, num_source: int, max_positions: int) -> int:
        """Return how many symbols, without EOS, a translation of ``num_source`` has at most, as fairseq counts.

        :param num_source: symbols of the source, with EOS.
        :param max_positions: of the decoder.
        """
        return min(int(self.max_len_a * num_source + self.max_len_b), max_positions - 1)
