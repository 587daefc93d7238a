"""Gatys' method: the first neural style transfer.

Gatys, Ecker and Bethge, "Image style transfer using convolutional neural networks", CVPR 2016.
L-BFGS changes the pixels until VGG gives the content's activations on one layer (eq. 1) and the
style's Gram matrices on five (eq. 3 to 5); eq. 7 is the weighted sum. The optimization goes from
coarse to fine, as in Gatys et al., "Controlling perceptual factors in neural style transfer", CVPR
2017, section 6. Regions use the masked Gram matrices of the same paper, section 4.

    st-slow gatys --content photo.jpg --style wave.jpg -o painted.jpg

All distances are relative to the energy of their target. This replaces the constants of eq. 1 and
4, and the same weight suits every layer and style.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from st.train.features import NETWORKS, FeatureNetwork
from st.train.losses.basic import gram, relative_distance
from st.train.settings import by_network, fill_defaults, option
from st.train.slow.networks import POOLINGS, Network, perceptual
from st.train.slow.optimize import Callback, Settings, Task, paint
from st.train.slow.styles import Style, Styles, known_layers, region, shares, weighted_layers

Features = Mapping[str, Tensor]  # activations by layer, each (1, C, h, w)


@dataclass(frozen=True)
class Config(Settings):
    loss_network: str = option(
        "vgg16",
        "Pretrained network of the loss; squeezenet is several times faster.",
        choices=NETWORKS,
    )
    content_weight: float = option(1.0, "Weight of the content term, alpha of eq. 7.", minimum=0)
    style_weight: float = option(50.0, "Weight of the style term, beta of eq. 7.", minimum=0)
    content_layer: str = by_network(
        {"vgg16": "relu4_2", "squeezenet": "fire5"}, "Layer of the content term."
    )
    # The paper names conv1_1 to conv5_1, but its network computed each ReLU in place.
    style_layers: tuple[str, ...] = by_network(
        {
            "vgg16": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
            "squeezenet": ("conv1", "fire2", "fire3", "fire4", "fire5", "fire6", "fire7"),
        },
        "LAYER or LAYER:WEIGHT of the style term; repeat for several.",
    )
    pooling: str = option(
        "max",
        "Pooling of VGG: max, as it was trained, or average, as in the paper.",
        choices=POOLINGS,
    )

    def __post_init__(self) -> None:
        fill_defaults(self, self.loss_network)


def gatys(
    content: Tensor,
    style: Styles,
    config: Config | None = None,
    callback: Callback | None = None,
    vgg: FeatureNetwork | None = None,
) -> Tensor:
    """Paint the content in the style: (1, 3, H, W) -> (1, 3, h, w), RGB, 0..1.

    style: a picture, or `Style`s with weights and regions. callback: is called after every
    evaluation; returning True stops the optimization. vgg: the loss network that the config names;
    loaded by default. Raises BadInput for invalid settings or pictures.
    """
    return minimize_objective(objective, content, style, config or Config(), callback, vgg)


def minimize_objective(
    objective: Callable[[Network, Tensor, list[Style], Any], list[Task]],
    content: Tensor,
    style: Styles,
    config: Config,
    callback: Callback | None,
    vgg: FeatureNetwork | None,
) -> Tensor:
    """Paint by an objective on the network of a Config. Arguments and errors as for `gatys`.

    objective: (network, content, styles, config) -> tasks, for one size.
    """
    network = perceptual(vgg, content, config.pooling, config.loss_network)
    return paint(
        content,
        style,
        config,
        lambda c, s: objective(network, c, s, config),
        callback,
        min_side=network.min_side,
    )


def objective(vgg: Network, content: Tensor, styles: list[Style], config: Config) -> list[Task]:
    """The objective of eq. 7 at one size."""
    layers, terms = gatys_terms(vgg, content, styles, config)
    return [Task(lambda picture: terms(vgg(picture, layers)))]


def gatys_terms(
    vgg: Network, content: Tensor, styles: list[Style], config: Config
) -> tuple[set[str], Callable[[Features], dict[str, Tensor]]]:
    """The layers needed, and the two weighted terms of eq. 7 as a function of their activations."""
    weights = weighted_layers(config.style_layers, vgg)
    known_layers([config.content_layer], vgg)
    with torch.no_grad():
        kept = vgg(content, [config.content_layer])[config.content_layer]
        targets = [
            {name: gram(seen) for name, seen in vgg(style.picture, weights).items()}
            for style in styles
        ]

    def terms(found: Features) -> dict[str, Tensor]:
        near = relative_distance(found[config.content_layer], kept)
        style = style_distance(found, styles, targets, weights)
        return {"content": config.content_weight * near, "style": config.style_weight * style}

    return {config.content_layer, *weights}, terms


def style_distance(
    found: Features,
    styles: Sequence[Style],
    targets: Sequence[Features],
    weights: Mapping[str, float],
) -> Tensor:
    """The style loss of eq. 5 with relative distances, each style in its region: a scalar.

    targets: for each style, its Gram matrices by layer, (1, C, C). weights: of the layers.
    """
    total, parts = next(iter(found.values())).new_zeros(()), shares(styles)
    for name, weight in weights.items():
        whole = gram(found[name]) if any(style.mask is None for style in styles) else None
        for style, share, target in zip(styles, parts, targets, strict=True):
            own = whole if style.mask is None else masked_gram(found[name], style.mask)
            assert own is not None
            total = total + weight * share * relative_distance(own, target[name])
    return total


def masked_gram(features: Tensor, mask: Tensor) -> Tensor:
    """The Gram matrix of a region, normalized to be independent of the region's area.

    "Controlling perceptual factors", eq. 4 and 5. (1, C, h, w) and (1, 1, H, W) -> (1, C, C).
    """
    guide = region(mask, features)
    return gram(features * guide) / guide.square().mean().clamp_min(1e-8)
