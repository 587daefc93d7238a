"""Avatar-Net: any style, patches of the style in whitened features, styled again at every scale.

Sheng, Lin, Shao and Wang, "Avatar-Net: multi-scale zero-shot style transfer by feature decoration",
CVPR 2018, arXiv:1805.03857. The style decorator (section 3.1) whitens content and style (ZCA, eq.
3, 4), gives each content patch the style's most alike (eq. 5 to 7), and colors the result with the
style's covariance (eq. 8). The hourglass decoder (section 3.2) gives its features the means and
deviations of the style's at relu3_1, relu2_1 and relu1_1 on its way up. It learns to reproduce
photographs, no styles (eq. 9).

    st-train avatarnet --content photos/ -o any.pt

Unlike the paper's: VGG-16 in place of VGG-19; 3×3 patches; the matrices come from an iteration of
products (`st.train.networks.whitening`); distances in the loss are relative; layers between those
that are fused may be narrower than VGG's mirror (`--width`).

A style code holds the style's whitened feature map, at one fixed size: blends are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from st.train.features.vgg import VGG, WIDTHS
from st.train.losses.basic import relative_distance, total_variation, wide
from st.train.method import Batch, ExportSpec, Method
from st.train.methods.adain import adain, statistics
from st.train.networks.autoencoder import FULL, deepest, encoder, fill, initialize, stride
from st.train.networks.style_swap import SIDE, swap
from st.train.networks.transform import ReflectConv, UpsampleConv
from st.train.networks.whitening import apply_matrix, covariance, roots
from st.train.settings import batch_option, learning_rate_option, option, size_option, steps_option

LEVEL = 4
CHANNELS = WIDTHS[LEVEL - 1]
MULTIPLE = stride(LEVEL)
# Directions of less variance than this part of the covariance's norm are hardly scaled up: patches
# shall not be told apart by noise.
EPS = 1e-4
FUSED = (3, 2, 1)  # levels whose statistics the decoder is given, in its order
LAYERS = [deepest(level) for level in (LEVEL, *FUSED)]


@dataclass(frozen=True)
class Config:
    steps: int = steps_option(10_000)
    size: int = size_option(256)
    batch: int = batch_option(4)
    learning_rate: float = learning_rate_option(5e-4)
    width: int = option(FULL, f"channels of the last layer not fused; {FULL}: VGG's mirror", 8)
    style_size: int = option(256, "side of the square that styles are scaled to: their strokes", 32)
    pixel_weight: float = option(1.0, "of the relative distance of pixels", 0)
    feature_weight: float = option(0.25, "of the relative distances of features, four layers", 0)
    tv_weight: float = option(1.0, "of the total variation", 0)


class Hourglass(nn.Module):
    """Features of relu4_1, statistics (N or 1, 2C) by level -> pictures, about 0..1, not clamped.

    VGG backwards; what mirrors relu3_1, relu2_1 and relu1_1 gets those means and deviations.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = [channels * width // FULL for channels in WIDTHS]
        self.stages = nn.ModuleDict()
        for level in FUSED:
            inside, outputs = narrow[level - 1], WIDTHS[level - 1]
            layers: list[nn.Module] = [ReflectConv(WIDTHS[level], inside, 3), nn.ReLU()]
            if level == 3:  # VGG-16's third block has three convolutions
                layers += [UpsampleConv(inside, inside), nn.ReLU()]
                layers += [ReflectConv(inside, outputs, 3), nn.ReLU()]
            else:
                layers += [UpsampleConv(inside, outputs), nn.ReLU()]
            self.stages[str(level)] = nn.Sequential(*layers)
        self.last = ReflectConv(WIDTHS[0], 3, 3)
        convolutions = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
        initialize(nn.Sequential(*convolutions))

    def forward(self, features: Tensor, moments: dict[int, Tensor]) -> Tensor:
        x = features
        for level in FUSED:
            x = adain(self.stages[str(level)](x), moments[level])
        return self.last(x)


class Network(nn.Module):
    """content (N, 3, H, W), RGB, 0..1, style code (N or 1, code_size), strength (1,) -> pictures.

    H and W are multiples of 8. A code holds the style's whitened features (512, S, S), their mean
    (512) and the root of their covariance (512, 512), and the means and deviations of relu3_1,
    relu2_1 and relu1_1. Strength is the share of the decorated features, and of the style's
    statistics in the decoder; 0 gives the content back as the decoder knows it.
    The encoder is part of the state, so a checkpoint needs no other weights.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        side = max(config.style_size // MULTIPLE, SIDE)
        self.style_size = side * MULTIPLE
        self.encoder = encoder(LEVEL)
        self.decoder = Hourglass(config.width)
        self.map = (CHANNELS, side, side)
        fused = [2 * WIDTHS[level - 1] for level in FUSED]
        self.parts = [CHANNELS * side * side, CHANNELS, CHANNELS * CHANNELS, *fused]
        self.code_size = sum(self.parts)

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Pictures (N, 3, H, W) -> features of relu4_1, relu3_1, relu2_1, relu1_1."""
        return self.encoder(images, LAYERS)

    def encode_style(self, style: Tensor) -> Tensor:
        """Style pictures (N, 3, H, W), RGB, 0..1 -> codes (N, code_size).

        Others than squares of `style_size` are scaled to it first.
        """
        if style.shape[2:] != (self.style_size, self.style_size):
            side = (self.style_size, self.style_size)
            style = functional.interpolate(style, side, mode="bilinear", antialias=True)
        seen = self.encode(style)
        white, mean, root = whitened(seen[deepest(LEVEL)])
        fused = own_moments(seen)
        parts = [white.flatten(1), mean, root.flatten(1), *(fused[level] for level in FUSED)]
        return torch.cat(parts, dim=1)

    def forward(self, content: Tensor, code: Tensor, strength: Tensor) -> Tensor:
        bank, mean, root, *fused = code.split(self.parts, dim=1)
        seen = self.encode(content)
        features, own = wide(seen[deepest(LEVEL)]), own_moments(seen)
        white, _, _ = whitened(features)
        swapped = swap(white, bank.unflatten(1, self.map)).features
        root = root.unflatten(1, (CHANNELS, CHANNELS))
        decorated = apply_matrix(swapped, root, torch.zeros_like(mean), mean)
        features = features + strength[..., None, None, None] * (decorated - features)
        share = strength[..., None]
        moments = {
            level: own[level] + share * (styled - own[level])
            for level, styled in zip(FUSED, fused, strict=True)
        }
        return self.decoder(features, moments)


def whitened(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Projection, eq. 3 and 4: features of covariance 1, and the mean and root that they had.

    (N, C, H, W) -> (N, C, H, W), (N, C), (N, C, C).
    """
    mean, matrix = covariance(features)
    root, inverse = roots(matrix, EPS)
    return apply_matrix(features, inverse, mean, torch.zeros_like(mean)), mean, root


def own_moments(seen: dict[str, Tensor]) -> dict[int, Tensor]:
    """Means and deviations (N, 2C) of the features that the decoder mirrors, by level."""
    return {level: statistics(seen[deepest(level)]) for level in FUSED}


def targets(net: nn.Module, vgg: VGG, styles: Sequence[Tensor], config: Config) -> None:
    """Nothing to prepare but the encoder."""
    fill(cast(Network, net).encoder, vgg, styles, (LEVEL, *FUSED))


def step(
    net: nn.Module, vgg: VGG, targets: None, batch: Batch, config: Config
) -> dict[str, Tensor]:
    """Eq. 9: the decoder paints the crop from its own features and statistics."""
    network = cast(Network, net)
    with torch.no_grad():
        want = network.encode(batch.content)
    painted = network.decoder(want[deepest(LEVEL)], own_moments(want))
    terms = {
        "pixels": config.pixel_weight * relative_distance(painted, batch.content),
        "tv": config.tv_weight * total_variation(painted),
    }
    if config.feature_weight:  # half of a step
        got = network.encode(painted)
        apart = torch.stack([relative_distance(got[k], want[k]) for k in LAYERS]).sum()
        terms["features"] = config.feature_weight * apart
    return terms


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture in the style of another, or as the decoder knows it."""
    code = cast(Network, net).encode_style(content if style is None else style)
    return net(content, code, content.new_tensor([float(style is not None)]))


def export_spec(net: Network) -> ExportSpec:
    """A covariance is of the whole picture, so there are no tiles."""
    return ExportSpec(
        ("code", "strength"),
        multiple=MULTIPLE,
        min_size=SIDE * MULTIPLE,
        code_size=net.code_size,
        rounding=128,
        style_size=net.style_size,
        blends=False,
    )


METHOD = Method(
    name="avatarnet",
    title="Avatar-Net (Sheng et al., CVPR 2018): any style, patches and statistics at every scale",
    config=Config,
    styles="any",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    content_only=True,
    min_steps=1_000,
    example="st-train avatarnet --content photos/ -o any.pt",
)
