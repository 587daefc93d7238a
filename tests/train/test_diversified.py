"""Diversified synthesis: diversity, a curriculum, and mean-subtracted Gram matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from st.train.features import SqueezeNet
from st.train.method import Batch
from st.train.methods.diversified import (
    METHOD,
    Network,
    centered_statistics,
    diversity,
    step,
    targets,
    taught,
)


def test_the_gram_matrix_is_of_activations_less_their_mean() -> None:
    x = torch.rand(2, 5, 6, 7, dtype=torch.float64) + 3
    got = centered_statistics(x)
    for one, found in zip(x, got, strict=True):
        flat = (one - one.mean()).reshape(5, -1)
        torch.testing.assert_close(found[:, :-1], flat @ flat.T / flat.numel())
        torch.testing.assert_close(found[:, -1], flat.std(1, correction=0), rtol=1e-4, atol=1e-4)
    # A brighter picture of the same texture has the same.
    torch.testing.assert_close(centered_statistics(x + 10), got)


def test_the_diversity_loss_separates_partners() -> None:
    x = torch.rand(4, 3, 5, 5, requires_grad=True)
    same = torch.cat([x[:2], x[:2]]).detach()
    assert float(diversity(same, same)) == 0
    far = diversity(x, x.roll(2, 0))
    assert far > 0
    (-far).backward()
    assert x.grad is not None
    with torch.no_grad():
        moved = x - 0.1 * x.grad.sign()
    assert diversity(moved, moved.roll(2, 0)) > far


def test_styles_are_added_one_by_one(small: Callable[..., Any]) -> None:
    config = small(METHOD, stage=10)
    seen = [
        {int(taught(torch.tensor([i, 7, 7]), s, 3, config)[0]) for i in range(6)}
        for s in (0, 9, 10, 20, 99)
    ]
    assert seen == [{0}, {0}, {0, 1}, {0, 1, 2}, {0, 1, 2}]
    assert taught(torch.tensor([2, 1, 0]), 99, 3, config).tolist() == [2, 2, 2]


@pytest.mark.parametrize("mode", ["stylize", "texture"])
def test_other_noise_is_another_picture(
    small: Callable[..., Any], squeezenet: SqueezeNet, real_pair: tuple[Tensor, Tensor], mode: str
) -> None:
    torch.manual_seed(0)
    config = small(METHOD, mode=mode, width=4, embedding=6, size=64)
    network = Network(config, ("wave", "scream"))
    content = None if mode == "texture" else real_pair[0]
    noise, weights = torch.rand(2, 6, 64, 64), torch.tensor([[1.0, 0.0]])
    with torch.no_grad():
        one, two = (network(content, z[None], weights) for z in noise)
        other = network(content, noise[:1], torch.tensor([[0.0, 1.0]]))
    assert one.shape == (1, 3, 64, 64)
    assert (one - two).abs().max() > 0.01
    assert (one - other).abs().max() > 0.01
    spec = METHOD.export_spec(network)
    assert spec.texture == (mode == "texture")
    grams = targets(network, squeezenet, [real_pair[1]] * 2, config)
    batch = Batch(torch.cat([real_pair[0]] * 2), torch.tensor([0, 1]), step=3, seed=5)
    terms = step(network, squeezenet, grams, batch, config)
    assert ("content" in terms) == (mode == "stylize")
    assert float(terms["diversity"].detach()) < 0
    again = step(network, squeezenet, grams, batch, config)
    assert torch.equal(terms["style"], again["style"]), "the noise is the seed's"
    changed = step(network, squeezenet, grams, replace(batch, seed=6), config)
    assert not torch.equal(terms["style"], changed["style"])
