"""Consistency training: the student shall say the same of an input and of a disturbed copy of it.

SimCut (Gao et al., NAACL 2022, arXiv 2206.02368, section 3): ``L + alpha * KL(p(x) || p(x_cut))``, where ``x_cut``
has the embeddings of some tokens, of source and target input alike, set to zero.

R-Drop (Liang et al., NeurIPS 2021, arXiv 2106.14448, equation 4): both passes see the same input under different
dropout, ``L_1 + L_2 + alpha / 2 * (KL(p_1 || p_2) + KL(p_2 || p_1))``; here halved throughout, so that the loss stays
on the scale of one pass.

Gradients flow through both sides of every divergence, as published.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bertkd_fairseq.errors import ConfigurationError


def kl_divergence(logits: Tensor, other: Tensor, kept: Tensor) -> Tensor:
    """Return ``KL(softmax(logits) || softmax(other))``, summed over rows where ``kept``, in nats.

    Shapes: ``logits`` and ``other`` (N, V), any float dtype, worked on in at least float32; ``kept`` (N,) bool.
    """
    log_p, log_q = _log_softmax(logits), _log_softmax(other)
    return _masked_kl(log_p, log_q, kept)


def symmetric_kl_divergence(logits: Tensor, other: Tensor, kept: Tensor) -> Tensor:
    """Return the mean of the divergences in both directions; shapes as in :func:`kl_divergence`."""
    log_p, log_q = _log_softmax(logits), _log_softmax(other)
    return (_masked_kl(log_p, log_q, kept) + _masked_kl(log_q, log_p, kept)) / 2


@contextmanager
def token_cutoff(model: nn.Module, probability: float) -> Iterator[None]:
    """Within the context, set the embedding of each token to zero with ``probability``, source and target input alike.

    Works on the modules named ``embed_tokens``, as fairseq's encoders and decoders have.

    :raises ConfigurationError: if the model has none.
    """

    def cut(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        stays = torch.rand(inputs[0].shape, device=output.device) >= probability  # (N, T)
        return output * stays.unsqueeze(-1).to(output.dtype)

    embeddings = {module for name, module in model.named_modules() if _is_embedding(name)}
    if not embeddings:
        raise ConfigurationError(
            "SimCut needs a student with `embed_tokens`, which this architecture has not. Use R-Drop instead."
        )
    handles = [module.register_forward_hook(cut) for module in embeddings]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_embedding(name: str) -> bool:
    return name.rpartition(".")[2] == "embed_tokens"


def _log_softmax(logits: Tensor) -> Tensor:
    dtype: Any = torch.promote_types(logits.dtype, torch.float32)
    return logits.log_softmax(1, dtype=dtype)


def _masked_kl(log_p: Tensor, log_q: Tensor, kept: Tensor) -> Tensor:
    divergence = nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
    return torch.where(kept, divergence, 0.0).sum()
