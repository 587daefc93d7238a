"""StyleBank: T + 1 alternation, balanced reconstruction, and fusion by region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from st.train.features import SqueezeNet
from st.train.method import Batch
from st.train.methods.stylebank import METHOD, Network, balance, step, targets


@pytest.fixture
def network(small: Callable[..., Any]) -> Network:
    torch.manual_seed(0)
    network = Network(small(METHOD, width=4), ("wave", "scream"))
    network.bank.data += 0.05 * torch.randn_like(network.bank)
    return network


def test_every_third_step_reconstructs(
    network: Network, squeezenet: SqueezeNet, real_pair: tuple[Tensor, Tensor]
) -> None:
    content, style = real_pair
    grams = targets(network, squeezenet, [style, style], network.config)
    batch = Batch(content, torch.tensor([1]))
    terms = [
        step(network, squeezenet, grams, replace(batch, step=n), network.config) for n in range(6)
    ]
    assert [set(t) == {"same"} for t in terms] == [False, False, True] * 2
    terms[2]["same"].backward()
    assert network.bank.grad is None, "no bank has a part in a reconstruction"
    network.requires_grad_(False)
    network.bank.requires_grad_(True)
    alone = step(network, squeezenet, grams, replace(batch, step=2), network.config)
    assert "style" in alone, "a bank trained alone has no turn to wait for"


def test_reconstruction_gradients_are_scaled_to_stylization(network: Network) -> None:
    shared = network.shared()
    for parameter in shared:
        parameter.grad = torch.full_like(parameter, 3.0)
    count = sum(p.numel() for p in shared)
    balance(network, 1)
    assert float(network.gradient) == pytest.approx(3 * count**0.5, rel=1e-5)
    for parameter in shared:
        parameter.grad = torch.full_like(parameter, 1e-4)
    balance(network, 2)
    norm = torch.stack([p.grad.norm() for p in shared if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(3 * count**0.5, rel=1e-4)


@torch.no_grad()
def test_without_a_bank_it_reconstructs(network: Network, real_pair: tuple[Tensor, Tensor]) -> None:
    content, _ = real_pair
    weights = torch.tensor([[0.2, 0.8]])
    none = network(content, weights, torch.zeros(1))
    assert torch.equal(none, network.reconstruct(content))
    assert (network(content, weights, torch.ones(1)) - none).abs().max() > 0.01


@torch.no_grad()
def test_fusion_by_weights_and_by_place(network: Network) -> None:
    features = torch.rand(2, 16, 12, 10)
    one = torch.tensor([[1.0, 0], [0, 1.0]])
    each = [network.stylize(features, row[None]) for row in one]
    # A blend is the blend of what the banks make.
    blend = network.stylize(features, torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(blend, 0.25 * each[0] + 0.75 * each[1], atol=1e-5, rtol=1e-4)
    # Rows of weights are for the pictures of a batch.
    rows = network.stylize(features, one)
    torch.testing.assert_close(rows, torch.stack([each[0][0], each[1][1]]), atol=1e-5, rtol=1e-4)
    # Maps of one weight everywhere are that weight; halves meet at their border only.
    maps = torch.zeros(1, 2, 12, 10)
    maps[:, 0, :, :5] = 1
    maps[:, 1, :, 5:] = 1
    both = network.stylize(features, maps)
    for side, own in ((slice(0, 4), 0), (slice(6, 10), 1)):
        torch.testing.assert_close(both[..., side], each[own][..., side], atol=1e-5, rtol=1e-4)
    even = network.stylize(features, torch.full((1, 2, 12, 10), 0.5))
    torch.testing.assert_close(even, 0.5 * each[0] + 0.5 * each[1], atol=1e-5, rtol=1e-4)
