"""The Markovian GAN: neither player receives gradients of the other's loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from st.train.features import VGG
from st.train.loop.optimizer import parameter_groups
from st.train.method import Batch
from st.train.methods.mgan import METHOD, Network, hinge, step, targets


def gradients(module: torch.nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


def test_generator_and_discriminator_have_their_own_losses(
    small: Callable[..., Any], vgg: VGG, real_pair: tuple[Tensor, Tensor]
) -> None:
    torch.manual_seed(0)
    content, style = real_pair
    config = small(METHOD, loss_network="vgg16")
    network = Network(config, ("wave",))
    with torch.no_grad():
        patches = targets(network, vgg, [style], config)
    batch = Batch(content, torch.tensor([0]))
    for names, learns, rests in (
        (("critic",), network.discriminator, network.generator),
        (("content", "style", "tv"), network.generator, network.discriminator),
    ):
        network.zero_grad()
        terms = step(network, vgg, patches, batch, config)
        torch.stack([terms[name] for name in names]).sum().backward()
        assert gradients(learns) > 0
        assert gradients(rests) == 0
        assert gradients(network.encoder) == 0


def test_the_discriminator_learns_to_separate_patches(
    small: Callable[..., Any], vgg: VGG, real_pair: tuple[Tensor, Tensor]
) -> None:
    """Training only the discriminator lowers its loss and raises the generator's."""
    torch.manual_seed(0)
    content, style = real_pair
    config = small(METHOD, loss_network="vgg16")
    network = Network(config, ("wave",))
    with torch.no_grad():
        patches = targets(network, vgg, [style], config)
    batch = Batch(content, torch.tensor([0]))
    adam = torch.optim.Adam(network.discriminator.parameters(), lr=3e-3)
    first = step(network, vgg, patches, batch, config)
    for _ in range(25):
        terms = step(network, vgg, patches, batch, config)
        adam.zero_grad()
        terms["critic"].backward()
        adam.step()
    last = step(network, vgg, patches, batch, config)
    assert float(last["critic"].detach()) < 0.6 * float(first["critic"].detach())
    assert float(last["style"].detach()) > float(first["style"].detach())


def test_hinge_loss_by_hand() -> None:
    scores = torch.tensor([2.0, 0.5, -1.0])
    assert float(hinge(scores, 1)) == pytest.approx((0 + 0.5 + 2) / 3)
    assert float(hinge(scores, -1)) == pytest.approx((3 + 1.5 + 0) / 3)


def test_the_discriminator_has_its_own_learning_rate(small: Callable[..., Any]) -> None:
    network = Network(small(METHOD, loss_network="vgg16"), ("wave",))
    factors = {
        parameter: group["factor"]
        for group in parameter_groups(METHOD, network)
        for parameter in group["params"]
    }
    own = METHOD.rates["discriminator"]
    assert own != 1
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    for name, parameter in trained.items():
        assert factors[parameter] == (own if name.startswith("discriminator.") else 1)
    assert {name.split(".")[0] for name in trained} > {"discriminator"}
