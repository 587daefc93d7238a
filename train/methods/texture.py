"""Texture networks: a texture, or a photograph in it, out of noise at several scales.

Ulyanov, Lebedev, Vedaldi and Lempitsky, "Texture networks: feed-forward synthesis of textures and
stylized images", ICML 2016, arXiv:1603.03417. Noise of sizes that halve from scale to scale goes
through blocks of convolutions, and is joined from the coarsest to the finest (figure 2); for a
photograph, its pyramid stands beside the noise (section 4.3). The network learns that VGG sees the
style's Gram matrices in what it makes (eq. 2-4), and the photograph's content (eq. 5). Convolutions
are circular, so a texture's sides fit together.

    st-train texture --content photos/ --style wave.jpg -o wave.pt
    st-train texture --mode texture --style bricks.jpg -o bricks.pt

Unlike the paper's: distances are relative, so one weight suits every style; instance in place of
batch normalization, as the same authors later found better (arXiv:1607.08022); VGG-16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from st.train.features.base import FeatureNetwork
from st.train.losses.perceptual import Grams
from st.train.method import Batch, ExportSpec, Method
from st.train.networks.noise import draw, every
from st.train.networks.transform import InstanceNorm
from st.train.perceptual_loss import (
    CONTENT_HELP,
    CONTENT_LAYER_HELP,
    LAYERS,
    STYLE_LAYERS,
    STYLE_LAYERS_HELP,
    Perceptual,
    named_grams,
    perceptual_terms,
)
from st.train.settings import (
    by_network,
    learning_rate_option,
    option,
    steps_option,
    style_size_option,
)

SLOPE = 0.01  # of the leaky ReLUs
MODES = ("stylize", "texture")
PREVIEW = 1  # seed of the previews' noise


@dataclass(frozen=True)
class Config(Perceptual):
    steps: int = steps_option(10_000)
    learning_rate: float = learning_rate_option(5e-3)
    mode: str = option(
        "stylize", "Paint photographs (stylize), or textures from noise alone.", choices=MODES
    )
    scales: int = option(5, "Number of noise sizes, each half of the one before.", 1)
    width: int = option(8, "Channels of a scale's blocks.", 1)
    noise: int = option(3, "Channels of the noise at each scale.", 1)
    style_size: int = style_size_option(384)
    content_weight: float = by_network({"squeezenet": 2.0, "vgg16": 1.0}, CONTENT_HELP, 0)
    tv_weight: float = option(1.0, "Weight of the total variation.", 0)
    content_layer: str = by_network(
        {"squeezenet": "fire4", "vgg16": "relu4_2"}, CONTENT_LAYER_HELP, choices=LAYERS
    )
    style_layers: tuple[str, ...] = by_network(
        {
            "squeezenet": STYLE_LAYERS["squeezenet"],
            "vgg16": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        },
        STYLE_LAYERS_HELP,
        choices=LAYERS,
    )


class CircularConv(nn.Conv2d):
    """A convolution with circular padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel)

    def forward(self, input: Tensor) -> Tensor:
        edge = self.kernel_size[0] // 2
        if edge:
            input = torch.cat([input[..., -edge:, :], input, input[..., :edge, :]], dim=2)
            input = torch.cat([input[..., -edge:], input, input[..., :edge]], dim=3)
        return super().forward(input)


class Block(nn.Sequential):
    """3×3, 3×3 and 1×1 convolutions, each normalized and rectified: (N, inputs, H, W) -> width."""

    def __init__(self, inputs: int, width: int) -> None:
        layers: list[nn.Module] = []
        for i, kernel in ((inputs, 3), (width, 3), (width, 1)):
            layers += [CircularConv(i, width, kernel), InstanceNorm(width), nn.LeakyReLU(SLOPE)]
        super().__init__(*layers)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, noise (N or 1, C, H, W), uniform, 0..1 -> pictures, 0..1.

    In texture mode content is None. H and W are multiples of 2^(scales - 1). The noise has
    `config.noise` channels for each scale; coarser scales use every 2nd, 4th, … row and column.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.texture = config.mode == "texture"
        inputs = config.noise + (0 if self.texture else 3)
        width, scales = config.width, config.scales
        self.blocks = nn.ModuleList(Block(inputs, width) for _ in range(scales))
        # Both are normalized before they are joined; else the finer one dominates.
        self.fine = nn.ModuleList(InstanceNorm(width) for _ in range(scales - 1))
        self.coarse = nn.ModuleList(
            InstanceNorm(width * (scales - 1 - k)) for k in range(scales - 1)
        )
        self.joins = nn.ModuleList(
            Block(width * (scales - k), width * (scales - k)) for k in range(scales - 1)
        )
        self.last = CircularConv(width * scales, 3, 1)

    def forward(self, content: Tensor | None, noise: Tensor) -> Tensor:
        pyramid = []
        for k, own in enumerate(noise.split(self.config.noise, dim=1)):
            z = every(own, 2**k)
            if content is not None:
                small = content if k == 0 else functional.avg_pool2d(content, 2**k)
                z = torch.cat([small, z.expand(small.shape[0], -1, -1, -1)], dim=1)
            pyramid.append(z)
        x = self.blocks[-1](pyramid[-1])
        for k in reversed(range(self.config.scales - 1)):
            up = self.coarse[k](functional.interpolate(x, scale_factor=2.0))
            x = self.joins[k](torch.cat([up, self.fine[k](self.blocks[k](pyramid[k]))], dim=1))
        return torch.sigmoid(self.last(x))

    @property
    def noise(self) -> int:
        """Channels of the noise, for all scales together."""
        return self.config.noise * self.config.scales


def targets(
    net: nn.Module, loss_network: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> dict[float, Grams]:
    """Gram matrices of the style picture by scale and layer, (1, C, C) each."""
    return named_grams(loss_network, styles, config)


def step(
    net: nn.Module,
    loss_network: FeatureNetwork,
    grams: dict[float, Grams],
    batch: Batch,
    config: Config,
) -> dict[str, Tensor]:
    """Eq. 4 and 6, with new noise in every step; without the content term in texture mode."""
    network = cast(Network, net)
    noise = draw(batch.content, network.noise, batch.seed)
    painted = network(None if network.texture else batch.content, noise)
    terms = perceptual_terms(loss_network, painted, grams.__getitem__, batch, config)
    if network.texture:
        del terms["content"]
    return terms


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture, always from the same noise."""
    network = cast(Network, net)
    noise = draw(content, network.noise, PREVIEW)
    return network(None if network.texture else content, noise)


def export_spec(net: Network) -> ExportSpec:
    multiple = 2 ** (net.config.scales - 1)
    return ExportSpec(("noise",), multiple, 2 * multiple, noise=net.noise, texture=net.texture)


METHOD = Method(
    name="texture",
    title="Texture networks (Ulyanov et al., ICML 2016): one style, painted out of noise",
    example="st-train texture --content photos/ --style wave.jpg -o wave.pt",
    config=Config,
    styles="one",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=300,
    style_only=lambda config: config.mode == "texture",
)
