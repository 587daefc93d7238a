"""Super-resolution: its low-resolution input, and an initial state that is no worse than
bicubic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from st.runtime.errors import BadInput
from st.train.features import VGG
from st.train.method import Batch
from st.train.methods.superres import METHOD, Network, degrade, paint, step


def test_the_input_is_blurred_and_scaled_down() -> None:
    """Compared with float64 by hand: a Gaussian of σ = 1, then bicubic weights (a = -0.5) over
    4·4."""
    x = torch.rand(1, 3, 48, 48, dtype=torch.float64)
    got = degrade(x, 4)
    assert got.shape == (1, 3, 12, 12)

    def matrix() -> Tensor:
        bell = torch.exp(-torch.arange(-3, 4, dtype=torch.float64).square() / 2)
        bell /= bell.sum()
        blur = torch.zeros(48, 48, dtype=torch.float64)
        for row in range(48):
            for offset, weight in zip(range(-3, 4), bell, strict=True):
                place = abs(row + offset)
                blur[row, 94 - place if place > 47 else place] += weight
        down = torch.zeros(12, 48, dtype=torch.float64)
        for row in range(12):
            for column in range(48):
                t = abs((column + 0.5) / 4 - (row + 0.5))
                if t < 1:
                    down[row, column] = 1.5 * t**3 - 2.5 * t**2 + 1
                elif t < 2:
                    down[row, column] = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        return (down / down.sum(1, keepdim=True)) @ blur

    both = matrix()
    torch.testing.assert_close(got, both @ x @ both.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", ["4", "8"])
@torch.no_grad()
def test_outputs_are_larger_by_the_factor(small: Callable[..., Any], factor: str) -> None:
    network = Network(small(METHOD, factor=factor), ())
    made = network(torch.full((2, 3, 9, 10), 0.25))
    assert made.shape == (2, 3, 9 * int(factor), 10 * int(factor))
    assert METHOD.export_spec(network).scale == int(factor)
    # It begins near the picture enlarged without it.
    assert (made - 0.25).abs().mean() < 0.1
    assert paint(network, torch.rand(1, 3, 41, 50), None, 0).shape == (1, 3, 41, 50)


def test_the_crop_is_its_own_target(
    small: Callable[..., Any], vgg: VGG, real_pair: tuple[Tensor, Tensor]
) -> None:
    config = small(METHOD, factor="8")
    torch.manual_seed(0)
    network = Network(config, ())
    batch = Batch(real_pair[0], torch.zeros(1, dtype=torch.int64), shift=(3, 5))
    assert set(step(network, vgg, None, batch, config)) == {"content", "tv"}
    more = replace(config, pixel_weight=2.0)
    terms = step(network, vgg, None, batch, more)
    assert 0 < float(terms["pixel"].detach()) < 0.5


def test_squeezenet_as_the_loss_network(
    small: Callable[..., Any], squeezenet: Any, real_pair: tuple[Tensor, Tensor]
) -> None:
    """Its layer and its pixel term are defaults of the network; the loss of the photograph itself
    is 0."""
    config = small(METHOD, loss_network="squeezenet")
    assert config.content_layer == "fire2"
    torch.manual_seed(0)
    network, batch = Network(config, ()), Batch(real_pair[0], torch.zeros(1))
    terms = step(network, squeezenet, None, batch, config)
    assert set(terms) == {"content", "tv", "pixel"}
    assert 0 < float(terms["content"].detach()) < 1
    with pytest.raises(BadInput, match="has no layer relu2_2"):
        METHOD.config(loss_network="squeezenet", content_layer="relu2_2")
