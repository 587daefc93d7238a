"""The perceptual loss as methods use it: its settings, their defaults by network, its terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from st.runtime.errors import BadInput
from st.train.features.base import FeatureNetwork
from st.train.features.networks import NETWORKS, layer_names_of
from st.train.losses.basic import (
    gram_and_deviations,
    relative_distance,
    standardized,
    total_variation,
)
from st.train.losses.perceptual import (
    Compared,
    Grams,
    Statistics,
    StyleLoss,
    compare_style,
)
from st.train.method import SHIFT, Batch, shifted
from st.train.settings import (
    batch_option,
    by_network,
    fill_defaults,
    learning_rate_option,
    option,
    size_option,
    steps_option,
)

LAYERS = (*layer_names_of("squeezenet"), *layer_names_of("vgg16"))
STYLE_LAYERS = {
    "squeezenet": ("conv1", "fire2", "fire3", "fire4", "fire5", "fire6", "fire7"),
    # The papers begin at relu1_2, which hardly depends on brightness: white paper became
    # gray. relu1_1 depends on it.
    "vgg16": ("relu1_1", "relu1_2", "relu2_2", "relu3_3", "relu4_3"),
}
SCALES = {"squeezenet": (1.0, 0.5, 1.5), "vgg16": (1.0,)}

CONTENT_HELP = "Weight of the relative distance of features."
CONTENT_DISTANCES = ("standardized", "relative")
CONTENT_LAYER_HELP = "Layer that content is compared on."
STYLE_LAYERS_HELP = "Layer that style is compared on; repeat for several."
STYLE_SCALES_HELP = (
    "Scale that paintings and style pictures are compared at; repeat for several. 1 counts in "
    "every step, the others take turns."
)
CONTRAST_HELP = (
    "Weight of the channels' standard deviations beside the Gram matrices, within the style loss; "
    "keeps the style's contrast."
)
COLOR_HELP = (
    "Weight of the contrast of colors in bands of detail beside the layers, within the style loss; "
    "keeps the style's colors in fine strokes."
)
RASTER_HELP = "Weight of the pattern that repeats on the network's own pixel raster."


@dataclass(frozen=True)
class Training:
    """Settings of the length of a training and of its crops."""

    steps: int = steps_option(4_000)
    size: int = size_option(256)
    batch: int = batch_option(4)
    learning_rate: float = learning_rate_option(1e-3)


@dataclass(frozen=True)
class Perceptual(Training):
    """The content and style losses on a pretrained network.

    A setting that is not given has the default of the loss network. A loss network that is not
    given is the one with the given layers, else squeezenet. So Configs from before there was a
    choice, with VGG's layers, keep their meaning.
    """

    loss_network: str = option(
        None,
        "Pretrained network that compares pictures. [default: squeezenet, or the network of the "
        "given layers]",
        choices=NETWORKS,
    )
    content_weight: float = by_network({"squeezenet": 5.0, "vgg16": 1.7}, CONTENT_HELP, 0)
    style_weight: float = option(12.5, "Weight of the relative distance of Gram matrices.", 0)
    tv_weight: float = by_network(
        {"squeezenet": 2.0, "vgg16": 4.0}, "Weight of the total variation.", 0
    )
    contrast_weight: float = by_network({"squeezenet": 2.0, "vgg16": 0.0}, CONTRAST_HELP, 0)
    color_weight: float = by_network({"squeezenet": 2.0, "vgg16": 0.0}, COLOR_HELP, 0)
    content_distance: str = by_network(
        {"squeezenet": "standardized", "vgg16": "relative"},
        "Compare features of the content as they are (relative), or each channel less its mean "
        "and over its standard deviation (standardized), which leaves colors and contrast free.",
        choices=CONTENT_DISTANCES,
    )
    content_layer: str = by_network(
        {"squeezenet": "fire4", "vgg16": "relu3_3"},
        CONTENT_LAYER_HELP,
        choices=LAYERS,
    )
    style_layers: tuple[str, ...] = by_network(STYLE_LAYERS, STYLE_LAYERS_HELP, choices=LAYERS)
    style_scales: tuple[float, ...] = by_network(SCALES, STYLE_SCALES_HELP, minimum=0.1)

    def __post_init__(self) -> None:
        network = self.loss_network or self._network_of_layers()
        object.__setattr__(self, "loss_network", network)
        fill_defaults(self, network)
        check_layers(network, (self.content_layer, *self.style_layers))

    def _network_of_layers(self) -> str:
        layers = [*(self.style_layers or ()), self.content_layer or "conv1"]
        own = layer_names_of("squeezenet")
        return "squeezenet" if all(layer in own for layer in layers) else "vgg16"


def check_layers(network: str, layers: Sequence[str]) -> None:
    """Raises BadInput for a layer that the pretrained network does not have."""
    known = layer_names_of(network)
    for layer in layers:
        if layer not in known:
            raise BadInput(f"{network} has no layer {layer}; it has {', '.join(known)}")


def style_loss(config: Perceptual, statistics: Statistics = gram_and_deviations) -> StyleLoss:
    return StyleLoss(
        config.style_layers,
        config.style_scales,
        statistics,
        config.contrast_weight,
        config.color_weight,
    )


def named_grams(
    network: FeatureNetwork,
    styles: Sequence[Tensor],
    config: Perceptual,
    statistics: Statistics = gram_and_deviations,
) -> dict[float, Grams]:
    """Gram matrices of S style pictures (1, 3, H, W) by scale and layer, each (S, C, C).

    Raises BadInput where the training crops are too small for the loss.
    """
    return style_loss(config, statistics).of_styles(network, styles, config.size - SHIFT)


def of_index(grams: Mapping[float, Grams], index: Tensor) -> Callable[[float], Grams]:
    """Of a scale, the Gram matrices of each sample's own style. index: (N,)."""
    return lambda scale: {name: every[index] for name, every in grams[scale].items()}


def content_features(network: FeatureNetwork, batch: Batch, layer: str) -> Tensor:
    """Activations of the photographs, `shifted` like the paintings; without gradient."""
    with torch.no_grad():
        return network(shifted(batch.content, batch.shift), [layer])[layer]


def perceptual_terms(
    network: FeatureNetwork,
    painted: Tensor,
    targets: Callable[[float], Grams],
    batch: Batch,
    config: Perceptual,
) -> dict[str, Tensor]:
    """The weighted terms "content", "style" and "tv" of a step.

    painted: (N, 3, H, W), RGB, 0..1, of batch.content. targets: of a scale, the Gram matrices that
    each painting is compared with.
    """
    seen = shifted(painted, batch.shift)
    found = compare_style(
        network, seen, style_loss(config), targets, (batch.step, batch.seed), [config.content_layer]
    )
    return weighted_terms(found, network, seen, batch, config)


def weighted_terms(
    found: Compared, network: FeatureNetwork, seen: Tensor, batch: Batch, config: Perceptual
) -> dict[str, Tensor]:
    """The terms of paintings from their style distances. seen: the `shifted` paintings."""
    own = found.features[config.content_layer]
    wanted = content_features(network, batch, config.content_layer)
    if config.content_distance == "standardized":
        own, wanted = standardized(own), standardized(wanted)
    content = relative_distance(own, wanted)
    return {
        "content": config.content_weight * content,
        "style": config.style_weight * found.style,
        "tv": config.tv_weight * total_variation(seen),
    }
