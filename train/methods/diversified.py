"""Diversified synthesis: many textures or styles, and a different picture for different noise.

Li, Fang, Yang, Wang, Lu and Yang, "Diversified texture synthesis with feed-forward networks", CVPR
2017, arXiv:1703.01664. A selector maps the one-hot choice of a style to an embedding, which
controls the generator at every scale (section 3.1). Gram matrices are of activations minus their
mean (eq. 3), which separates textures that differ in color. A diversity loss separates the pictures
of one style from different noise (eq. 5). Styles are added to the training one after the other
(section 3.4).

    st-train diversified --content photos/ --style paintings/ -o many.pt
    st-train diversified --mode texture --style textures/ -o textures.pt

Differences from the paper: distances are relative, so one weight suits every style. The embedding
is added to each layer as constant channels, before the layer's ReLU and norm. Upsampling is
nearest, and padding by reflection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from st.train.features.base import FeatureNetwork
from st.train.losses.basic import gram_and_deviations, wide
from st.train.losses.perceptual import Grams, compare_style
from st.train.method import Batch, ExportSpec, Method, shifted
from st.train.networks.noise import draw, every
from st.train.networks.transform import InstanceNorm, ReflectConv, UpsampleConv
from st.train.perceptual_loss import (
    CONTENT_HELP,
    LAYERS,
    STYLE_LAYERS,
    STYLE_LAYERS_HELP,
    Perceptual,
    named_grams,
    of_index,
    style_loss,
    weighted_terms,
)
from st.train.settings import (
    batch_option,
    by_network,
    option,
    size_option,
    steps_option,
    style_size_option,
)

MODES = ("stylize", "texture")
PREVIEW = 1  # seed of the previews' noise
DOWN = 2  # halvings of a photograph before it is joined with the noise
COARSE = 4  # halvings from a texture to its noise


@dataclass(frozen=True)
class Config(Perceptual):
    steps: int = steps_option(15_000)
    size: int = size_option(192)
    batch: int = batch_option(4, ", in pairs of one content and one style")
    mode: str = option(
        "stylize", "Paint photographs (stylize), or textures from noise alone.", choices=MODES
    )
    width: int = option(
        32, "Channels of the finest layers; doubled at each coarser scale, up to 4 times.", 1
    )
    blocks: int = option(3, "Residual blocks at the coarsest scale.", 0)
    embedding: int = option(16, "Size of a style's embedding, and channels of the noise.", 1)
    stage: int = option(500, "Steps before each further style joins.", 1)
    style_size: int = style_size_option(256)
    content_weight: float = by_network({"squeezenet": 3.5, "vgg16": 1.0}, CONTENT_HELP, 0)
    diversity_weight: float = option(
        0.5, "Weight of the distance between pictures of one style from different noise.", 0
    )
    tv_weight: float = option(2.0, "Weight of the total variation.", 0)
    content_layer: str = by_network(
        {"squeezenet": "fire4", "vgg16": "relu4_2"},
        "Layer of the content and diversity losses.",
        choices=LAYERS,
    )
    style_layers: tuple[str, ...] = by_network(
        {
            "squeezenet": STYLE_LAYERS["squeezenet"],
            "vgg16": ("relu1_1", "relu2_1", "relu3_1", "relu4_1"),
        },
        STYLE_LAYERS_HELP,
        choices=LAYERS,
    )


class Guided(nn.Module):
    """A convolution with the style's embedding as further input channels, a ReLU, a norm.

    In this order: a norm right after the convolution would remove constant channels.
    """

    def __init__(self, conv: ReflectConv, embedding: int) -> None:
        super().__init__()
        self.conv = conv
        # A convolution of constant channels is constant: a linear layer gives the same.
        self.guide = nn.Linear(embedding, conv.out_channels, bias=False)
        self.norm = InstanceNorm(conv.out_channels)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        return self.norm(torch.relu(self.conv(x) + self.guide(embedded)[..., None, None]))


class Network(nn.Module):
    """content (N, 3, H, W), noise (N or 1, C, H, W), weights (N or 1, S) of the styles -> 0..1.

    In texture mode content is None. Pictures are RGB, 0..1; the noise is uniform in 0..1. H and W
    are multiples of 4, or of 16 for textures.
    """

    def __init__(self, config: Config, names: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.texture = config.mode == "texture"
        size, width = config.embedding, config.width
        halvings = COARSE if self.texture else DOWN
        self.multiple = 2**halvings
        self.selector = nn.Linear(len(names), size, bias=False)
        nn.init.normal_(self.selector.weight)
        widths = [min(width * 2**k, 4 * width) for k in range(halvings + 1)]
        self.down = nn.ModuleList()
        if not self.texture:
            convolutions = [ReflectConv(3, widths[0], 3)]
            convolutions += [ReflectConv(i, o, 3, stride=2) for i, o in pairwise(widths)]
            self.down.extend(Guided(conv, size) for conv in convolutions)
        joined = size + (0 if self.texture else widths[-1])
        self.join = Guided(ReflectConv(joined, widths[-1], 3), size)
        self.residual = nn.ModuleList(
            Guided(ReflectConv(widths[-1], widths[-1], 3), size) for _ in range(config.blocks)
        )
        self.up = nn.ModuleList(
            Guided(UpsampleConv(i, o), size) for i, o in pairwise(reversed(widths))
        )
        self.last = ReflectConv(widths[0], 3, 3)
        self.tint = nn.Linear(size, 3, bias=False)

    def forward(self, content: Tensor | None, noise: Tensor, weights: Tensor) -> Tensor:
        with torch.autocast(noise.device.type, enabled=False):
            embedded = self.selector(weights)
        # The bilinear map of the paper: each entry of the embedding scales one channel of noise.
        x = every(noise - 0.5, self.multiple) * embedded[..., None, None]
        if content is not None:
            features = content
            for layer in self.down:
                features = layer(features, embedded)
            x = torch.cat([features, x.expand(features.shape[0], -1, -1, -1)], dim=1)
        x = self.join(x, embedded)
        for layer in self.residual:
            x = x + layer(x, embedded)
        for layer in self.up:
            x = layer(x, embedded)
        return torch.sigmoid(self.last(x) + self.tint(embedded)[..., None, None])

    def one_hot(self, index: Tensor) -> Tensor:
        """The selector's choice: (N,) -> (N, S)."""
        styles = self.selector.in_features
        return functional.one_hot(index, styles).to(self.selector.weight.dtype)


def centered_statistics(features: Tensor) -> Tensor:
    """Eq. 3: the Gram matrix of activations minus their mean, beside the channels' deviations.

    (N, C, H, W) -> (N, C, C + 1), as `gram_and_deviations`.

    In float32, because the mean is much larger than the differences.
    """
    x = wide(features)
    return gram_and_deviations(x - x.mean(dim=(1, 2, 3), keepdim=True))


def diversity(features: Tensor, partner: Tensor) -> Tensor:
    """Eq. 5 without its sign: mean distance of the pictures' features from their partners'.

    Relative to their magnitude, so that one weight suits every layer.
    """
    x, y = wide(features), wide(partner).detach()
    distance = (x - y).abs().flatten(1).mean(1)
    return (distance / y.abs().flatten(1).mean(1).clamp_min(1e-6)).mean()


def taught(index: Tensor, step: int, styles: int, config: Config) -> Tensor:
    """The style of a step, for all pictures of the batch: one of those added so far."""
    known = min(styles, 1 + step // config.stage)
    return index[:1].expand_as(index) % known


def targets(
    net: nn.Module, loss_network: FeatureNetwork, styles: Sequence[Tensor], config: Config
) -> dict[float, Grams]:
    """Centered Gram matrices of the style pictures by scale and layer, (S, C, C) each."""
    return named_grams(loss_network, styles, config, centered_statistics)


def step(
    net: nn.Module,
    loss_network: FeatureNetwork,
    grams: dict[float, Grams],
    batch: Batch,
    config: Config,
) -> dict[str, Tensor]:
    """Eq. 2-6: pairs with the same content and style and different noise."""
    network = cast(Network, net)
    half = -(-len(batch.content) // 2)
    content = torch.cat([batch.content[:half]] * 2)
    styles = network.selector.in_features
    index = taught(batch.index[:1].expand(2 * half), batch.step, styles, config)
    noise = draw(content, config.embedding, batch.seed)
    made = network(None if network.texture else content, noise, network.one_hot(index))
    painted, layer = shifted(made, batch.shift), config.content_layer
    loss, turn = style_loss(config, centered_statistics), (batch.step, batch.seed)
    found = compare_style(loss_network, painted, loss, of_index(grams, index), turn, [layer])
    terms = weighted_terms(found, loss_network, painted, replace(batch, content=content), config)
    if network.texture:
        del terms["content"]
    got = found.features[layer]
    return terms | {"diversity": -config.diversity_weight * diversity(got, got.roll(half, 0))}


def paint(net: nn.Module, content: Tensor, style: Tensor | None, index: int) -> Tensor:
    """One preview picture in the style of that index, always from the same noise."""
    network = cast(Network, net)
    chosen = network.one_hot(torch.tensor([index], device=content.device))
    noise = draw(content, network.config.embedding, PREVIEW)
    return network(None if network.texture else content, noise, chosen)


def export_spec(net: Network) -> ExportSpec:
    return ExportSpec(
        ("noise", "weights"),
        net.multiple,
        4 * net.multiple,
        noise=net.config.embedding,
        texture=net.texture,
    )


METHOD = Method(
    name="diversified",
    title="Diversified synthesis (Li et al., CVPR 2017): many styles, a new picture per noise",
    example="st-train diversified --content photos/ --style paintings/ -o many.pt",
    config=Config,
    styles="many",
    build=Network,
    targets=targets,
    step=step,
    paint=paint,
    export_spec=export_spec,
    min_steps=1_000,
    style_only=lambda config: config.mode == "texture",
)
