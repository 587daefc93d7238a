"""Markovian GAN: a generator that decodes features into the patches of one style.

Li and Wand, "Precomputed real-time texture synthesis with Markovian generative adversarial
networks", ECCV 2016, arXiv:1604.04382. The generator decodes a deep feature map of the photograph.
The discriminator sees a shallower one, of the style picture or of the generator's, and classifies
each patch of it, never the whole picture. It learns by the hinge loss to tell the style's patches
from the generator's, and the generator to have its patches taken for the style's (eq. 2), while the
photograph's deep features stay (eq. 1) and neighboring pixels are smooth.

    st-train mgan --content photos/ --style wave.jpg -o wave.pt

Differences from the paper:

- The features are SqueezeNet's: fire5 is decoded, and fire3 discriminated. `--loss-network vgg16`
  is VGG-16 with relu4_1 and relu3_1 (the paper has VGG-19).
- The discriminator's patches come from the style picture itself and the content from the
  photograph, where the paper first makes training pairs by optimization (its MDAN). As there, no
  Gram matrix is used.
- Distances are relative. Generator and discriminator are updated in the same step, each by the
  gradients of its own terms alone. Adam keeps its state by parameter, so one optimizer acts as two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from st.train.features.base import FeatureNetwork
from st.train.losses.basic import hinge, relative_distance, total_variation, wide
from st.train.method import Batch, ExportSpec, Method, shifted
from st.train.networks.autoencoder import LEVELS, WIDTH, WIDTH_HELP, decoder, encoder, fill
from st.train.settings import (
    batch_option,
    by_network,
    fill_defaults,
    learning_rate_option,
    loss_network_option,
    option,
    size_option,
    steps_option,
    style_size_option,
)

CONTENT = {"squeezenet": 3, "vgg16": 4}  # level that is decoded; both at 1/8 of the size
PATCH = {"squeezenet": 2, "vgg16": 3}  # level whose patches are discriminated; both at 1/4
SLOPE = 0.2  # of the discriminator's leaky ReLU
CRITIC_RATE = 0.5  # of the generator's learning rate


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(6_000)
    size: int = size_option(192)
    batch: int = batch_option(4)
    learning_rate: float = learning_rate_option(5e-4)
    loss_network: str = loss_network_option("squeezenet")
    width: int = by_network(WIDTH, WIDTH_HELP, 1)
    critic: int = option(64, "Channels of the discriminator.", 1)
    style_size: int = style_size_option(384)
    style_weight: float = option(1.0, "Weight of the patches' hinge loss.", 0)
    content_weight: float = option(2.0, "Weight of the relative distance of decoded features.", 0)
    tv_weight: float = option(2.0, "Weight of the total variation.", 0)

    def __post_init__(self) -> None:
        fill_defaults(self, self.loss_network)


class Discriminator(nn.Sequential):
    """Features (N, C, h, w) -> a score for each 3×3 patch (N, 1, h - 2, w - 2).

    A score above 0 takes the patch for the style's.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, width, 3),
            nn.BatchNorm2d(width, track_running_stats=False),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, 1, 1),
        )


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1 -> pictures, about 0..1, not clamped.

    H and W are multiples of 8. Encoder and discriminator are part of the state; the discriminator
    is used in training only.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        network = config.loss_network
        self.content = LEVELS[network][CONTENT[network]]
        self.patch = LEVELS[network][PATCH[network]]
        self.encoder = encoder(network, CONTENT[network])
        self.generator = decoder(network, CONTENT[network], config.width)
        self.discriminator = Discriminator(self.patch.channels, config.critic)

    def forward(self, content: Tensor) -> Tensor:
        layer = self.content.layer
        return self.generator(wide(self.encoder(content, [layer])[layer]))

    def fooled(self, features: Tensor) -> Tensor:
        """The discriminator's scores, with no gradient to its own weights."""
        frozen = {k: v.detach() for k, v in self.discriminator.named_parameters()}
        return cast(Tensor, functional_call(self.discriminator, frozen, (features,)))


def targets(
    net: nn.Module, pretrained: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> Tensor:
    """Fill the encoder. Result: the style picture's features to discriminate, (1, C, h, w)."""
    (style,) = styles
    network = cast(Network, net)
    layer = network.patch.layer
    fill(network.encoder, pretrained, styles, (layer, network.content.layer))
    return network.encoder(style, [layer])[layer]


def step(
    net: nn.Module, pretrained: FeatureNetwork, style: Tensor, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 1 for the generator, eq. 2 for the discriminator, neither with a gradient of the other's
    terms."""
    network = cast(Network, net)
    patch, deep = network.patch.layer, network.content.layer
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
    """One preview picture; the network has one style."""
    return net(content)


def export_spec(net: Network) -> ExportSpec:
    return ExportSpec(multiple=net.content.stride, min_size=2 * net.content.stride)


METHOD = Method(
    name="mgan",
    title="Markovian GAN (Li and Wand, ECCV 2016): one style, by its patches alone",
    example="st-train mgan --content photos/ --style wave.jpg -o wave.pt",
    config=Config,
    styles="one",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=1_000,
    rates={"discriminator": CRITIC_RATE},
)
