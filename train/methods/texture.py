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

from st.train.features.vgg import VGG
from st.train.losses.basic import gram, relative_distance, total_variation
from st.train.method import Batch, ExportSpec, Method, shifted
from st.train.networks.noise import draw, every
from st.train.networks.transform import InstanceNorm
from st.train.settings import (
    batch_option,
    content_layer_option,
    learning_rate_option,
    option,
    size_option,
    steps_option,
    style_layers_option,
    style_size_option,
)

SLOPE = 0.01  # of the leaky ReLUs
MODES = ("stylize", "texture")
PREVIEW = 1  # seed of the previews' noise


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(3_000)
    size: int = size_option(256)
    batch: int = batch_option(4)
    learning_rate: float = learning_rate_option(5e-3)
    mode: str = option("stylize", "of photographs, or texture: of noise alone", choices=MODES)
    scales: int = option(5, "sizes of the noise, each half the one before", 1)
    width: int = option(8, "channels of a scale's blocks", 1)
    noise: int = option(3, "channels of the noise at each scale", 1)
    style_size: int = style_size_option(384)
    content_weight: float = option(1.0, "of the relative distance of features", 0)
    style_weight: float = option(12.5, "of the relative distance of Gram matrices", 0)
    tv_weight: float = option(1.0, "of the total variation", 0)
    content_layer: str = content_layer_option("relu4_2")
    style_layers: tuple[str, ...] = style_layers_option(
        "relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"
    )


class CircularConv(nn.Conv2d):
    """A convolution on a torus: what leaves at one side enters at the other."""

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
    """content (N, 3, H, W), RGB, 0..1, noise (N or 1, C, H, W), even, 0..1 -> pictures, 0..1.

    In texture mode content is None. H and W are multiples of 2^(scales - 1). The noise has
    `config.noise` channels for each scale; a coarser scale takes every 2nd, 4th, … of its own.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.texture = config.mode == "texture"
        inputs = config.noise + (0 if self.texture else 3)
        width, scales = config.width, config.scales
        self.blocks = nn.ModuleList(Block(inputs, width) for _ in range(scales))
        # Before they are joined both sides are normalized, else the finer drowns the coarser.
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
        """Channels of its noise, all scales together."""
        return self.config.noise * self.config.scales


def targets(
    net: nn.Module, vgg: VGG, styles: Sequence[Tensor], config: Config
) -> dict[str, Tensor]:
    """Gram matrices of the style picture by layer, each (1, C, C): made once."""
    (style,) = styles
    return {k: gram(features) for k, features in vgg(style, config.style_layers).items()}


def step(
    net: nn.Module, vgg: VGG, grams: dict[str, Tensor], batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 4 and 6: new noise every step, the style's Gram matrices, and the content of the crops
    where there is any."""
    network = cast(Network, net)
    noise = draw(batch.content, network.noise, batch.seed)
    made = network(None if network.texture else batch.content, noise)
    painted = shifted(made, batch.shift)
    got = vgg(painted, {config.content_layer, *config.style_layers})
    style = torch.stack([relative_distance(gram(got[k]), grams[k]) for k in config.style_layers])
    terms = {
        "style": config.style_weight * style.mean(),
        "tv": config.tv_weight * total_variation(painted),
    }
    if not network.texture:
        k = config.content_layer
        with torch.no_grad():
            want = vgg(shifted(batch.content, batch.shift), [k])
        terms["content"] = config.content_weight * relative_distance(got[k], want[k])
    return terms


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture, always of the same noise."""
    network = cast(Network, net)
    noise = draw(content, network.noise, PREVIEW)
    return network(None if network.texture else content, noise)


def export_spec(net: Network) -> ExportSpec:
    multiple = 2 ** (net.config.scales - 1)
    return ExportSpec(("noise",), multiple, 2 * multiple, noise=net.noise, texture=net.texture)


METHOD = Method(
    name="texture",
    title="Texture networks (Ulyanov et al., ICML 2016): one style, painted out of noise",
    config=Config,
    styles="one",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    style_only=lambda config: config.mode == "texture",
    least_steps=300,
    example="st-train texture --content photos/ --style wave.jpg -o wave.pt",
)
