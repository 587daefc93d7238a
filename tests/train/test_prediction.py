"""What only style prediction promises: see st.train.methods.prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from st.train.features import VGG
from st.train.method import Batch
from st.train.methods import prediction


@pytest.fixture(scope="module")
def network(vgg: VGG, real_pair: Any) -> prediction.Network:
    torch.manual_seed(0)
    network = prediction.Network(prediction.Config(), ())
    with torch.no_grad():
        prediction.targets(network, vgg, real_pair, prediction.Config())
    return network


def test_the_encoder_is_vgg_rounded_to_float16(network: prediction.Network, vgg: VGG) -> None:
    real = vgg.state_dict()
    for name, value in network.encoder.state_dict().items():
        if name.startswith("conv"):
            assert torch.equal(value, value.half().float())
        torch.testing.assert_close(value, real[name], rtol=1e-3, atol=1e-6)


def test_training_and_playing_predict_the_same_code(
    network: prediction.Network, vgg: VGG, real_pair: tuple[Tensor, Tensor]
) -> None:
    """Training predicts from the loss's VGG, playing from the network's own."""
    _, style = real_pair
    with torch.no_grad():
        trained = network.style(vgg(style, prediction.SEEN))
        played = network.encode_style(style)
    torch.testing.assert_close(played, trained, rtol=1e-2, atol=1e-3)


def test_the_sample_is_standardized(
    network: prediction.Network, real_pair: tuple[Tensor, Tensor]
) -> None:
    with torch.no_grad():
        rows = torch.cat(
            [network.style.logarithms(network.encoder(x, prediction.SEEN)) for x in real_pair]
        )
    standard = (rows - network.style.middle) / network.style.spread
    assert standard.mean().abs() < 1e-3
    assert 0.5 < standard.std() < 1.5


def test_blends_and_recolored_styles_are_taught(
    network: prediction.Network, vgg: VGG, real_pair: tuple[Tensor, Tensor]
) -> None:
    """The same crops cost otherwise when chance blends the styles or exchanges their colors."""
    content, style = real_pair
    batch = Batch(
        torch.cat([content, content.flip(3)]), torch.zeros(2), torch.cat([style, content]), (3, 5)
    )
    costs = {}
    with torch.no_grad():
        for chance in (0.125, 0.5, 0.6, 0.8, 0.95):
            drawn = replace(batch, seed=int(chance * prediction.CHANCES))
            terms = prediction.step(network, vgg, None, drawn, prediction.Config())
            costs[chance] = float(terms["style"])
    assert costs[0.5] == costs[0.6], "plain steps"
    assert len(set(costs.values())) == 4
