"""Divergences of consistency training against their definitions, and what the cutoff does to embeddings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bertkd_fairseq.consistency import kl_divergence, symmetric_kl_divergence, token_cutoff
from bertkd_fairseq.errors import ConfigurationError


def naive_kl(logits: Tensor, other: Tensor, kept: Tensor) -> Tensor:
    total = logits.new_zeros(())
    for row in kept.nonzero().flatten():
        p = logits[row].exp() / logits[row].exp().sum()
        q = other[row].exp() / other[row].exp().sum()
        for symbol in range(len(p)):
            total = total + p[symbol] * (p[symbol] / q[symbol]).log()
    return total


def naive_symmetric(logits: Tensor, other: Tensor, kept: Tensor) -> Tensor:
    return (naive_kl(logits, other, kept) + naive_kl(other, logits, kept)) / 2


@pytest.mark.parametrize(
    ("ours", "reference"),
    [(kl_divergence, naive_kl), (symmetric_kl_divergence, naive_symmetric)],
)
def test_divergence_and_both_gradients_equal_the_definition(ours, reference) -> None:
    generator = torch.Generator().manual_seed(0)
    kept = torch.tensor([True, False, True, True])
    sides = [torch.randn(4, 6, generator=generator, dtype=torch.float64) for _ in range(2)]
    results = []
    for function in (ours, reference):
        leaves = [side.clone().requires_grad_() for side in sides]
        value = function(*leaves, kept)
        results.append((value.detach(), *torch.autograd.grad(value, leaves)))
    for mine, wanted in zip(*results, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-12, atol=1e-12)


def test_half_precision_is_worked_on_in_float32() -> None:
    logits = torch.randn(3, 50).bfloat16()
    value = kl_divergence(logits, logits + 1, torch.ones(3, dtype=torch.bool))
    assert value.dtype == torch.float32


class TiedModel(nn.Module):
    """An encoder and a decoder that share their embedding, as with --share-all-embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.embed_tokens = self.decoder.embed_tokens = nn.Embedding(5, 3)

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.embed_tokens(source), self.decoder.embed_tokens(target)


def test_cutoff_zeroes_whole_tokens_on_both_sides_and_ends_with_its_context() -> None:
    torch.manual_seed(0)
    model = TiedModel()
    source, target = torch.ones(200, 10).long(), torch.ones(200, 20).long()
    whole = model(source, target)
    with token_cutoff(model, 0.25):
        cut = model(source, target)
    for part, all_of_it in zip(cut, whole, strict=True):
        zero = part.eq(0).all(2)
        assert torch.equal(part[~zero], all_of_it[~zero])
        # 2,000 and 4,000 draws: four standard deviations.
        assert abs(float(zero.float().mean()) - 0.25) < 4 * (0.25 * 0.75 / zero.numel()) ** 0.5
    assert torch.equal(model(source, target)[0], whole[0])


def test_a_model_without_embeddings_is_refused() -> None:
    with pytest.raises(ConfigurationError) as error, token_cutoff(nn.Linear(2, 2), 0.5):
        pass
    assert str(error.value) == (
        "SimCut needs a student with `embed_tokens`, which this architecture has not. Use R-Drop instead."
    )
