"""Markovian GAN: a generator that decodes VGG features into the patches of one style.

Li and Wand, "Precomputed real-time texture synthesis with Markovian generative adversarial
networks", ECCV 2016, arXiv:1604.04382. The generator sees the photograph as VGG's relu4_1 and
decodes it. The discriminator sees VGG's relu3_1, of a painting or of the generator's picture, and
judges each place of it, so patches of it, and never the picture as a whole: it learns by the hinge
loss to tell the style's patches from the generator's, and the generator to have its patches taken
for the style's (eq. 2), while the photograph's features stay (eq. 1) and neighbors are smooth.

    st-train mgan --content photos/ --style wave.jpg -o wave.pt

Unlike the paper's: the discriminator's patches come from the style picture itself and the content
from the photograph, where the paper first makes pairs by optimization (its MDAN) to train on; no
Gram matrix is used anywhere, as there. Distances are relative; VGG-16. Generator and discriminator
take their steps at once, each on gradients of its own terms alone: Adam keeps its state by
parameter, so one optimizer is two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from st.train.features.vgg import VGG, WIDTHS
from st.train.losses.basic import hinge, relative_distance, total_variation, wide
from st.train.method import Batch, ExportSpec, Method, shifted
from st.train.networks.autoencoder import deepest, encoder, fill, mirror, stride
from st.train.settings import (
    batch_option,
    learning_rate_option,
    option,
    size_option,
    steps_option,
    style_size_option,
)

CONTENT, PATCH = 4, 3  # levels of VGG: relu4_1, relu3_1
SLOPE = 0.2  # of the discriminator's leaky ReLU
CRITIC_RATE = 0.5  # of the generator's learning rate


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(6_000)
    size: int = size_option(192)
    batch: int = batch_option(4)
    learning_rate: float = learning_rate_option(5e-4)
    width: int = option(64, "channels of the generator's last block", 1)
    critic: int = option(64, "channels of the discriminator", 1)
    style_size: int = style_size_option(384)
    style_weight: float = option(1.0, "of the patches' hinge loss", 0)
    content_weight: float = option(2.0, "of the relative distance of relu4_1", 0)
    tv_weight: float = option(2.0, "of the total variation", 0)


class Discriminator(nn.Sequential):
    """relu3_1 (N, 256, h, w) -> a score a place (N, 1, h', w'), each of a patch of 3×3 of them.

    Above 0 it takes the patch for the style's.
    """

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(WIDTHS[PATCH - 1], width, 3),
            nn.BatchNorm2d(width, track_running_stats=False),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, 1, 1),
        )


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1 -> pictures, about 0..1, not clamped.

    H and W are multiples of 8. Encoder and discriminator are part of the state; the discriminator
    paints nothing.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder(CONTENT)
        self.generator = mirror(CONTENT, config.width)
        self.discriminator = Discriminator(config.critic)

    def forward(self, content: Tensor) -> Tensor:
        layer = deepest(CONTENT)
        return self.generator(wide(self.encoder(content, [layer])[layer]))

    def fooled(self, features: Tensor) -> Tensor:
        """The discriminator's scores, with no gradient to its own weights."""
        frozen = {k: v.detach() for k, v in self.discriminator.named_parameters()}
        return cast(Tensor, functional_call(self.discriminator, frozen, (features,)))


def targets(net: nn.Module, vgg: VGG, styles: Sequence[Tensor], config: Config) -> Tensor:
    """relu3_1 of the style picture, (1, 256, h, w); the encoder takes over VGG's weights."""
    (style,) = styles
    network = cast(Network, net)
    fill(network.encoder, vgg, styles, (PATCH, CONTENT))
    layer = deepest(PATCH)
    return network.encoder(style, [layer])[layer]


def step(
    net: nn.Module, vgg: VGG, style: Tensor, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 1 for the generator, eq. 2 for the discriminator; neither has a gradient of the other's
    terms."""
    network, patch, deep = cast(Network, net), deepest(PATCH), deepest(CONTENT)
    painted = shifted(network(batch.content), batch.shift)
    got = network.encoder(painted, [patch, deep])
    with torch.no_grad():
        want = network.encoder(shifted(batch.content, batch.shift), [deep])[deep]
    judged = network.discriminator(got[patch].detach())
    return {
        "content": config.content_weight * relative_distance(got[deep], want),
        "style": config.style_weight * hinge(network.fooled(got[patch]), 1),
        "tv": config.tv_weight * total_variation(painted),
        "critic": (hinge(network.discriminator(style), 1) + hinge(judged, -1)) / 2,
    }


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture; the network knows one style only."""
    return net(content)


def export_spec(net: Network) -> ExportSpec:
    return ExportSpec(multiple=stride(CONTENT), min_size=2 * stride(CONTENT))


METHOD = Method(
    name="mgan",
    title="Markovian GAN (Li and Wand, ECCV 2016): one style, by its patches alone",
    config=Config,
    styles="one",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=1_000,
    rates={"discriminator": CRITIC_RATE},
    example="st-train mgan --content photos/ --style wave.jpg -o wave.pt",
)
