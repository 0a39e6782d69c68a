"""``--precision`` of both trainings: the criterion runs under autocast, weights and optimizer stay float32.

fairseq's own ``--bf16`` means TPU on a machine without a GPU, and fails there.
"""

# No `from __future__ import annotations`: fairseq reads the types of a dataclass, not strings.
import logging
import zipfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import torch
from fairseq.dataclass import ChoiceEnum
from omegaconf import II
from torch.nn.attention import SDPBackend, sdpa_kernel

from bertkd_fairseq import compat, precision
from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.tasks.checked import CheckedConfig

log = logging.getLogger(__name__)

PRECISION_CHOICES = ChoiceEnum(list(precision.CHOICES))
LEFT_TO_FAIRSEQ = "as fairseq's --fp16 and --bf16 say"


@dataclass
class PrecisionConfig(CheckedConfig):
    """Options of both tasks."""

    precision: PRECISION_CHOICES = field(  # type: ignore[valid-type]
        default=precision.AUTO,
        metadata={
            "help": "precision of the forward pass; weights and optimizer stay float32. auto measures on a CPU and "
            "takes bf16 only where it is faster; on a GPU it leaves the choice to fairseq's --fp16 and --bf16. "
            "A training that continues keeps the precision that it began with"
        },
    )
    autocast_bf16: bool = field(default=False, metadata={"help": "old name of --precision bf16"})
    reset_optimizer: bool = II("checkpoint.reset_optimizer")


class AutocastMixin:
    """Mix into a fairseq task whose config is a :class:`PrecisionConfig`: its criterion computes in that precision."""

    cfg: Any
    state: Any  # fairseq's own: what it holds is saved in checkpoints
    _chosen: Optional[str] = None

    def train_step(self, sample: Any, model: Any, criterion: Any, *args: Any, **kwargs: Any) -> Any:
        """As in the task, in the precision of this training."""
        if self._chosen is None:
            self._chosen = self._choose_for_training(model)
            self.state.merge_state_dict({"precision": self._chosen})
        return super().train_step(sample, model, self._wrap(criterion), *args, **kwargs)  # type: ignore[misc]

    def valid_step(self, sample: Any, model: Any, criterion: Any, **kwargs: Any) -> Any:
        """As in the task, in the precision of this training."""
        if self._chosen is None:
            self._chosen = self._choose(model)
        return super().valid_step(sample, model, self._wrap(criterion), **kwargs)  # type: ignore[misc]

    def _asked(self) -> str:
        if not self.cfg.autocast_bf16:
            return str(self.cfg.precision)
        if self.cfg.precision not in (precision.AUTO, "bf16"):
            raise ConfigurationError(
                f"--autocast-bf16 means --precision bf16, but --precision is {self.cfg.precision}. Leave one out."
            )
        return "bf16"

    def _choose(self, model: Any) -> str:
        """Return the precision that was asked for, measured where that is ``auto``."""
        asked, parameter = self._asked(), next(model.parameters())
        if asked == "fp16":
            raise ConfigurationError(
                "`--precision` must be auto, fp32 or bf16 in training, but is fp16 instead: gradients would "
                "vanish without loss scaling. On a GPU, use fairseq's --fp16."
            )
        if asked != precision.AUTO and parameter.dtype != torch.float32:
            raise ConfigurationError(
                f"`--precision {asked}` needs float32 weights, but fairseq's --fp16 or --bf16 made them "
                f"{str(parameter.dtype).removeprefix('torch.')}. Leave one of the options out."
            )
        if asked == precision.AUTO and parameter.device.type != "cpu":
            log.info("precision: %s", LEFT_TO_FAIRSEQ)
            return LEFT_TO_FAIRSEQ
        return precision.choose(asked, parameter.device.type)

    def _choose_for_training(self, model: Any) -> str:
        """Return the precision that this training began with, or else one that all its processes share."""
        begun = self._begun_with()
        if begun not in precision.PRECISIONS:
            shared = [self._choose(model)]
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.broadcast_object_list(shared, src=0)
            return shared[0]
        asked = self._asked()
        if asked in (precision.AUTO, begun):
            log.info("precision: %s, with which this training began", begun)
        else:
            line = "precision: %s, with which this training began; --precision %s is for a new one"
            log.warning(line, begun, asked)
        return begun

    def _begun_with(self) -> Optional[str]:
        """Return what the checkpoint to continue from says. fairseq restores it, but not its task's state."""
        path = Path(self.cfg.restore_file)
        if str(path) == "checkpoint_last.pt":
            path = Path(self.cfg.save_dir, path)
        if self.cfg.reset_optimizer or not path.is_file():
            return None
        state = compat.load_safely(path, "cpu", mmap=zipfile.is_zipfile(path))
        saved = state.get("task_state") or {}
        if "precision" in saved:
            return str(saved["precision"])
        # Checkpoints from before --precision.
        task = (state.get("cfg") or {}).get("task")
        old = task.get("autocast_bf16") if isinstance(task, dict) else None
        return None if old is None else ("bf16" if old else "fp32")

    def _wrap(self, criterion: Any) -> Any:
        if self._chosen in ("fp32", LEFT_TO_FAIRSEQ):
            return criterion
        dtype = precision.dtype_of(str(self._chosen))

        def under_autocast(model: Any, sample: Any) -> Any:
            device = next(model.parameters()).device.type
            with torch.autocast(device, dtype=dtype), _attention(device):
                return criterion(model, sample)

        return under_autocast


def _attention(device: str) -> AbstractContextManager[None]:
    """The attention kernel: a CPU's flash attention is slow in its bfloat16 backward pass."""
    return sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()
