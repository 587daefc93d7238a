"""Style prediction; see st.train.methods.prediction."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from st.runtime.errors import BadInput
from st.train.features import FeatureNetwork, SqueezeNet
from st.train.method import Batch
from st.train.methods import prediction


@pytest.fixture(scope="module", params=prediction.SEEN)
def pretrained(request: pytest.FixtureRequest, squeezenet: Any, vgg: Any) -> FeatureNetwork:
    return squeezenet if request.param == "squeezenet" else vgg


@pytest.fixture(scope="module")
def config(pretrained: FeatureNetwork) -> prediction.Config:
    name = "squeezenet" if isinstance(pretrained, SqueezeNet) else "vgg16"
    return prediction.Config(loss_network=name, style_scales=(1.0,), size=64)


@pytest.fixture(scope="module")
def network(
    config: prediction.Config, pretrained: FeatureNetwork, real_pair: Any
) -> prediction.Network:
    torch.manual_seed(0)
    network = prediction.Network(config, ())
    with torch.no_grad():
        prediction.targets(network, pretrained, real_pair, config)
    return network


def test_the_encoder_is_rounded_to_float16(
    network: prediction.Network, pretrained: FeatureNetwork
) -> None:
    real = pretrained.state_dict()
    for name, value in network.encoder.state_dict().items():
        if name not in ("mean", "std"):
            assert torch.equal(value, value.half().float())
        torch.testing.assert_close(value, real[name], rtol=1e-3, atol=1e-6)


def test_training_and_inference_predict_the_same_code(
    network: prediction.Network, pretrained: FeatureNetwork, real_pair: tuple[Tensor, Tensor]
) -> None:
    """Training predicts from the loss network, inference from the network's own encoder."""
    _, style = real_pair
    with torch.no_grad():
        trained = network.style(pretrained(style, network.style.seen))
        played = network.encode_style(style)
    torch.testing.assert_close(played, trained, rtol=1e-2, atol=1e-3)


def test_encoders_can_be_chosen() -> None:
    """The encoder depends on the loss network; a checkpoint without this setting has VGG."""
    assert prediction.Config().encoder == "squeezenet"
    assert prediction.Config(content_layer="relu3_3").encoder == "vgg16"
    assert prediction.Config(loss_network="vgg16", encoder="squeezenet").encoder == "squeezenet"
    with pytest.raises(BadInput, match="vgg16 needs vgg16"):
        prediction.Config(encoder="vgg16")


def test_an_encoder_beside_another_loss_network(vgg: Any, real_pair: Any) -> None:
    config = prediction.Config(
        loss_network="vgg16", encoder="squeezenet", style_scales=(1.0,), size=64
    )
    network, (content, style) = prediction.Network(config, ()), real_pair
    with torch.no_grad():
        prediction.targets(network, vgg, real_pair, config)
        batch = Batch(content, torch.zeros(1), style, (3, 5), seed=prediction.CHANCES // 2)
        terms = prediction.step(network, vgg, None, batch, config)
        again = prediction.step(network, vgg, None, replace(batch, style=content), config)
    assert all(bool(term.isfinite()) for term in terms.values())
    assert terms["style"] != again["style"]


def test_the_sample_is_standardized(
    network: prediction.Network, real_pair: tuple[Tensor, Tensor]
) -> None:
    with torch.no_grad():
        rows = torch.cat(
            [network.style.logarithms(network.encoder(x, network.style.seen)) for x in real_pair]
        )
    standard = (rows - network.style.middle) / network.style.spread
    assert standard.mean().abs() < 1e-3
    assert 0.5 < standard.std() < 1.5


def test_training_includes_blends_of_styles(
    network: prediction.Network,
    pretrained: FeatureNetwork,
    config: prediction.Config,
    real_pair: tuple[Tensor, Tensor],
) -> None:
    """The loss of the same crops changes when styles are blended."""
    content, style = real_pair
    batch = Batch(
        torch.cat([content, content.flip(3)]), torch.zeros(2), torch.cat([style, content]), (3, 5)
    )
    costs = {}
    with torch.no_grad(), mock.patch.object(prediction, "recolored", lambda style, _: style):
        for chance in (0.125, 0.5, 0.6):
            drawn = replace(batch, seed=int(chance * prediction.CHANCES))
            terms = prediction.step(network, pretrained, None, drawn, config)
            costs[chance] = float(terms["style"])
    assert costs[0.5] == costs[0.6], "plain steps"
    assert costs[0.125] != costs[0.5]


def test_training_recolors_styles() -> None:
    """Half of them stay; the others are in range, permuted, inverted, paler or darker."""
    style = torch.rand(400, 3, 4, 4) ** torch.tensor([0.5, 1.0, 3.0])[:, None, None]
    drawn = prediction.recolored(style, 7)
    assert torch.equal(drawn, prediction.recolored(style, 7))
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    kept = (drawn == style).flatten(1).all(1)
    assert 0.35 < kept.float().mean() < 0.55
    inverted = ((1 - drawn - style).abs() < 1e-6).flatten(1).all(1)
    assert 0.03 < inverted.float().mean() < 0.12
    sums = (drawn.sum(1) - style.sum(1)).abs().flatten(1).amax(1) < 1e-5
    permuted = sums & ~kept
    assert 0.15 < permuted.float().mean() < 0.3
    assert (~kept & ~inverted & ~permuted).float().mean() > 0.2


def test_an_engine_stores_fp16_weights(network: prediction.Network, real_pair: Any) -> None:
    """Linear layers are rounded before an export, which changes codes only by rounding."""
    copied, (_, style) = copy.deepcopy(network), real_pair
    with torch.no_grad():
        before = copied.encode_style(style)
        prediction.before_export(copied)
        after = copied.encode_style(style)
    layers = [module for module in copied.style.modules() if isinstance(module, torch.nn.Linear)]
    assert len(layers) == 4
    for layer in layers:
        assert torch.equal(layer.weight, layer.weight.half().float())
    torch.testing.assert_close(after, before, rtol=1e-2, atol=2e-3)
    assert not torch.equal(after, before)
