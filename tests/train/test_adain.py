"""AdaIN with each of its encoders, and with a distilled VGG."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from st.train.features import VGG
from st.train.method import Batch
from st.train.methods import adain, wct
from st.train.networks.autoencoder import FULL


def ready(width: int, small: Callable[..., Any], vgg: VGG, real_pair: Any) -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    config = small(adain.METHOD, encoder="vgg16", width=width)
    network = adain.Network(config, ())
    with torch.no_grad():
        teacher = adain.targets(network, vgg, real_pair, config)
    return network, teacher, config


def test_the_vgg_encoder_is_the_teacher_and_frozen(
    small: Callable[..., Any], vgg: VGG, real_pair: tuple[Tensor, Tensor]
) -> None:
    """The target consists of the same features that the decoder receives."""
    network, teacher, config = ready(FULL, small, vgg, real_pair)
    assert teacher.network is network.encoder
    assert not any(p.requires_grad for p in network.encoder.parameters())
    content, style = real_pair
    terms = adain.step(network, vgg, teacher, Batch(content, torch.zeros(1), style), config)
    assert set(terms) == {"content", "style"}
    own = adain.statistics(network.encode(content))
    assert network.encode(content).square().mean() == pytest.approx(1, rel=0.7)
    assert own.shape == (1, adain.export_spec(network).code_size)


def test_distillation_reduces_the_distance_to_the_teacher(
    small: Callable[..., Any], vgg: VGG, real_pair: tuple[Tensor, Tensor]
) -> None:
    """A small part of VGG, whose features predict VGG's better and better by a linear map."""
    network, teacher, config = ready(8, small, vgg, real_pair)
    size = sum(p.numel() for p in network.encoder.parameters())
    assert size < 0.05 * sum(p.numel() for p in teacher.network.parameters())
    assert adain.export_spec(network).code_size == 2 * 64
    content, style = real_pair
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    apart = []
    for _ in range(12):
        batch = Batch(content, torch.zeros(1), style)
        loss = adain.step(network, vgg, teacher, batch, config)["encoder"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        apart.append(float(loss.detach()))
    assert apart[-1] < 0.8 * apart[0], apart


def test_squeezenet_as_encoder(
    small: Callable[..., Any], squeezenet: Any, real_pair: tuple[Tensor, Tensor]
) -> None:
    """The style loss uses the published network, and is lower for a picture in the style."""
    torch.manual_seed(0)
    config = small(adain.METHOD, size=64)
    network = adain.Network(config, ())
    with torch.no_grad():
        targets = adain.targets(network, squeezenet, real_pair, config)
    assert targets.network is squeezenet
    content, style = real_pair
    grams = targets.style.grams(targets.style.see(squeezenet, style))
    near, far = (
        float(targets.style.distance(targets.style.see(squeezenet, x), grams))
        for x in (style, content)
    )
    assert near == pytest.approx(0, abs=1e-6)
    assert far > 0.1
    assert adain.export_spec(network).code_size == network.encode_style(style).shape[1] == 768


def test_a_decoder_of_wct_initializes_adain(small: Callable[..., Any]) -> None:
    """WCT's decoder inverts the same features: weights of equal shape are copied."""
    teacher = small(wct.METHOD, encoder="vgg16", levels=("4", "1"), width=FULL)
    decoder = wct.Network(teacher, ()).state_dict()
    network = adain.Network(small(adain.METHOD, encoder="vgg16", width=FULL), ())
    adain.begin(network, decoder)
    for name, value in network.decoder.state_dict().items():
        assert torch.equal(value, decoder[f"decoders.4.{name}"])
