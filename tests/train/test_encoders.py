"""SqueezeNet as an encoder with a decoder: sizes, scales, and its receptive field."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from st.train.features import VGG, FeatureNetwork, SqueezeNet
from st.train.networks.autoencoder import LEVELS, decoder, encoder, fill, reach


@pytest.fixture(scope="module", params=LEVELS)
def pretrained(request: pytest.FixtureRequest, squeezenet: Any, vgg: VGG) -> FeatureNetwork:
    return squeezenet if request.param == "squeezenet" else vgg


def name_of(network: FeatureNetwork) -> str:
    return "squeezenet" if isinstance(network, SqueezeNet) else "vgg16"


def test_decoders_restore_the_size_of_the_picture(pretrained: FeatureNetwork) -> None:
    """Feature sizes divide the picture's sides, and decoders restore them."""
    name = name_of(pretrained)
    for number, level in LEVELS[name].items():
        images = torch.rand(1, 3, 3 * 2 * level.stride, 5 * level.stride)
        network = encoder(name, number)
        features = network(images, [level.layer])[level.layer]
        assert features.shape == (1, level.channels, 6, 5)
        assert network.geometry(level.layer).stride == level.stride
        assert decoder(name, number, 8)(features).shape == images.shape


def test_padding_changes_only_the_border(squeezenet: SqueezeNet) -> None:
    """Cell i of the published network is at pixel 2 i + 1, so the padded network sees a picture
    shifted by one pixel."""
    padded = SqueezeNet("conv1", padding_mode="reflect")
    padded.load_state_dict({k: squeezenet.state_dict()[k] for k in padded.state_dict()})
    images = torch.rand(1, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    plain = squeezenet(images, ["conv1"])["conv1"]
    moved = padded(images[..., 1:, 1:], ["conv1"])["conv1"]
    torch.testing.assert_close(moved[..., 1:, 1:], plain[..., 1:, 1:], rtol=1e-4, atol=1e-3)
    assert moved.shape == plain.shape


def test_scaled_layers_have_mean_square_one(
    pretrained: FeatureNetwork, real_pair: tuple[Tensor, Tensor]
) -> None:
    """The mean square of these layers is 1, and features are otherwise unchanged; SqueezeNet's are
    rounded to float16."""
    name = name_of(pretrained)
    layers = [LEVELS[name][number].layer for number in (3, 1)]
    scaled, plain = encoder(name, 4), encoder(name, 4)
    plain.load_state_dict({k: pretrained.state_dict()[k] for k in plain.state_dict()})
    with torch.no_grad():
        fill(scaled, pretrained, real_pair, layers)
        for number in (4, 3, 2, 1):
            layer = LEVELS[name][number].layer
            before, after = (
                torch.cat([network(x, [layer])[layer] for x in real_pair])
                for network in (plain, scaled)
            )
            if layer in layers:
                assert float(after.square().mean()) == pytest.approx(1, rel=0.01)
                before = before / before.square().mean().sqrt()
            assert (after - before).norm() < 0.01 * before.norm()


def test_reach_is_the_receptive_radius(pretrained: FeatureNetwork) -> None:
    """Measured by gradients, with random weights of one sign, so that nothing cancels."""
    name = name_of(pretrained)
    level = LEVELS[name][3]
    torch.manual_seed(0)
    coded, decoded = encoder(name, 3), decoder(name, 3, 8)
    for parameter in (*coded.parameters(), *decoded.parameters()):
        parameter.data = parameter.data.abs()
    radius, side = reach(coded, level.layer, decoded, level.stride), 30 * level.stride
    images = torch.rand(1, 3, 8 * level.stride, side, requires_grad=True)
    place = slice(side // 2, side // 2 + level.stride)
    decoded(coded(images, [level.layer])[level.layer])[..., place].sum().backward()
    assert images.grad is not None
    reached = images.grad.abs().amax(dim=(0, 1, 2)).nonzero().flatten()
    first, last = int(reached.min()), int(reached.max())
    assert side // 2 - radius - level.stride <= first <= side // 2 - radius + level.stride
    assert side // 2 + radius - level.stride <= last < side // 2 + radius + 2 * level.stride
