"""A fairseq checkpoint, loaded safely, and its task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bertkd_fairseq.errors import ConfigurationError, must_be
from bertkd_fairseq.process.user_errors import as_user_error


def load_checkpoint(path: str, data_bin: str, **overrides: Any) -> tuple[Any, Any]:
    """Return the model in ``path`` and its task, set up on ``data_bin`` and with ``overrides`` of its settings.

    :raises BertKDError: if the file can't be loaded or is refused.
    """
    return Checkpoint.read(path).build(data_bin, **overrides)


def load_left_to_right(path: str, data_bin: str, option: str) -> tuple[Any, Any]:
    """Return the student in ``path`` and its task on ``data_bin``.

    :param option: what messages call the setting that names the checkpoint.
    :raises BertKDError: if the file is refused, or holds another kind of model.
    """
    # No scorer of BLEU: it isn't needed, and its tokenizer might be another's.
    model, task = load_checkpoint(path, data_bin, eval_bleu=False)
    from fairseq.models import FairseqEncoderDecoderModel
    from fairseq.models.nat import FairseqNATModel

    kind = type(model).__name__
    if not isinstance(model, FairseqEncoderDecoderModel) or isinstance(model, FairseqNATModel):
        wanted = "a left-to-right sequence-to-sequence student"
        hint = "Name the checkpoint of a student."
        raise ConfigurationError(must_be(option, wanted, f"the {kind} in {path}", hint))
    return model, task


@dataclass(frozen=True)
class Checkpoint:
    """What a file of fairseq holds, before anything is built of it."""

    path: str
    state: dict[str, Any]

    @classmethod
    def read(cls, path: str) -> Checkpoint:
        """Read ``path`` without running code from it.

        :raises BertKDError: if the file can't be read or is refused.
        """
        # Importing the tasks applies compat and registers every part of the plugin.
        from fairseq import checkpoint_utils
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf

        import bertkd_fairseq.tasks  # noqa: F401

        with _mistakes_as_ours():
            state = checkpoint_utils.load_checkpoint_to_cpu(path)
            if state.get("args") is not None:  # as checkpoints had it before 2021
                state["cfg"], state["args"] = convert_namespace_to_omegaconf(state["args"]), None
        return cls(path, state)

    @property
    def task(self) -> Any:
        """The settings of its task; None if the file has none."""
        return (self.state.get("cfg") or {}).get("task")

    @property
    def arch(self) -> str:
        """The architecture, as fairseq-train has it."""
        model = self.state["cfg"]["model"]
        return str(getattr(model, "arch", None) or model._name)

    def build(self, data_bin: str, **overrides: Any) -> tuple[Any, Any]:
        """Return the model and its task, set up on ``data_bin`` and with ``overrides`` of its settings.

        :raises BertKDError: if they can't be made.
        """
        from fairseq import checkpoint_utils
        from fairseq.dataclass.utils import overwrite_args_by_name

        with _mistakes_as_ours():
            if self.state.get("cfg") is not None:
                overwrite_args_by_name(self.state["cfg"], {"data": data_bin, **overrides})
            load = checkpoint_utils.load_model_ensemble_and_task
            models, _, task = load([self.path], state=self.state)
        return models[0], task


@contextmanager
def _mistakes_as_ours() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        found = as_user_error(error)
        if found is None:
            raise
        raise found from error
