"""Avatar-Net: its style decorator, and statistics at every scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from st.train.features import VGG
from st.train.methods import avatarnet
from st.train.methods.adain import statistics
from st.train.networks.whitening import covariance


@pytest.fixture(scope="module")
def network(
    small: Callable[..., Any], vgg: VGG, real_pair: tuple[Tensor, Tensor]
) -> avatarnet.Network:
    torch.manual_seed(0)
    config = small(avatarnet.METHOD, style_size=64, encoder="vgg16")
    made = avatarnet.Network(config, ())
    with torch.no_grad():
        avatarnet.METHOD.targets(made, vgg, real_pair, config)
    return made.eval()


def test_whitened_features_have_covariance_one(
    network: avatarnet.Network, real_pair: tuple[Tensor, Tensor]
) -> None:
    """With as many positions as channels; the inverse transform colors them again."""
    features = network.encode(real_pair[1])["relu2_1"]
    white, mean, root = avatarnet.whitened(features)
    own = covariance(white)
    assert own.mean.abs().max() < 0.02
    values = torch.linalg.eigvalsh(own.covariance[0].double())
    assert float(values.max()) < 1.01
    assert float(values.quantile(0.5)) > 0.8
    back = (root @ white.flatten(2) + mean[..., None]).unflatten(2, features.shape[2:])
    torch.testing.assert_close(back, features, rtol=3e-2, atol=3e-2)


def test_decorating_with_the_picture_itself_reconstructs_it(
    network: avatarnet.Network, real_pair: tuple[Tensor, Tensor]
) -> None:
    """The most similar patches are its own: with its own style at the same size, nothing
    changes."""
    content, _ = real_pair
    with torch.no_grad():
        codes = network.encode_style(torch.cat(real_pair))
        none, full = (network(content, codes[:1], torch.tensor([s])) for s in (0.0, 1.0))
        other = network(content, codes[1:], torch.ones(1))
    assert (full - none).norm() < 0.05 * (other - none).norm()


def test_the_decoder_is_given_the_styles_statistics(
    network: avatarnet.Network, real_pair: tuple[Tensor, Tensor]
) -> None:
    """The input of the last layer has the means and deviations of the style at relu1_1."""
    content, style = real_pair
    given: list[Tensor] = []
    handle = network.decoder.last.register_forward_pre_hook(lambda _, x: given.append(x[0]))
    with torch.no_grad():
        code = network.encode_style(style)
        for strength in (0.0, 0.5, 1.0):
            network(content, code, torch.tensor([strength]))
        own, wanted = (statistics(network.encode(x)["relu1_1"]) for x in (content, style))
    handle.remove()
    for features, expected in zip(given, (own, (own + wanted) / 2, wanted), strict=True):
        torch.testing.assert_close(statistics(features), expected, rtol=3e-2, atol=3e-2)
