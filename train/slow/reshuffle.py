"""Deep feature reshuffle: the painting's features are the style's own, moved about.

Gu, Chen, Liao and Yuan, "Arbitrary style transfer with deep feature reshuffle", CVPR 2018,
arXiv:1805.04103. Each 3x3 patch of features goes to a style patch by normalized cross-correlation,
with a price on reuse, so that each style patch is used about once: then local patches and global
statistics agree with the style at once (sections 3 and 4). It is done coarse to fine, relu5_1 to
relu1_1: on each layer the matched patches are laid down, with a share of the content's features,
and the picture is sought that has these features (feature inversion by L-BFGS).

    st-slow reshuffle --content photo.jpg --style wave.jpg -o painted.jpg

On large layers patches are sought around the place that the coarser layer's match points to, so
time and memory grow with the picture's area, not its square.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from st.runtime.errors import BadInput
from st.train.features import VGG
from st.train.losses.basic import relative_distance, total_variation
from st.train.losses.patch_reuse import Grid, Handed, hand_out
from st.train.losses.patches import Bank, Votes, lay, patch_distance
from st.train.settings import option
from st.train.slow.networks import Network, perceptual
from st.train.slow.optimize import Callback, Settings, Task, paint
from st.train.slow.styles import Style, Styles, as_styles, known_layers, weighted


@dataclass(frozen=True)
class Config(Settings):
    size: int = option(384, "longest side of the result, pixels", minimum=1)
    steps: int = option(250, "evaluations of the losses, over all sizes and layers", minimum=1)
    layers: tuple[str, ...] = option(
        ("relu5_1:1", "relu4_1:0.6", "relu3_1:0.3", "relu2_1:0", "relu1_1:0"),
        "LAYER:CONTENT, deepest first: layers to reshuffle and the content's weight there",
    )
    tv_weight: float = option(1.0, "of the total variation", minimum=0)
    price: float = option(
        0.05, "taken off a patch's correlation for each time it is in use", minimum=0
    )
    max_uses: int = option(
        2, "times a style patch is used at most, or more where they are fewer", minimum=1
    )
    matchings: int = option(2, "times that patches are matched on each layer", minimum=1)


def reshuffle(
    content: Tensor,
    style: Styles,
    config: Config | None = None,
    callback: Callback | None = None,
    vgg: VGG | None = None,
) -> Tensor:
    """Paint the content with the style's features moved about. Arguments and errors as for `gatys`.

    One style, everywhere: BadInput for more. Steps carry the figures `used %`, the share of the
    layer's style patches in use, and `max uses`, the uses of the most used one.
    """
    config = config or Config()
    given = as_styles(style)
    if len(given) > 1 or given[0].mask is not None:
        raise BadInput("reshuffle counts the patches of one style: give one, without a mask")
    if config.max_uses < 1 or config.matchings < 1 or not config.price >= 0:
        raise BadInput("max uses and matchings must be 1 or more, price 0 or more")
    network = perceptual(vgg, content)
    layers = content_weights(config, network)
    return paint(
        content,
        given,
        config,
        lambda c, s: objective(network, c, s[0], layers, config),
        callback,
        tasks=len(layers),
        min_side=48,  # pixels: relu5_1 has one 3x3 patch
    )


def content_weights(config: Config, vgg: Network) -> dict[str, float]:
    """{layer: weight of the content's features}. Raises BadInput."""
    layers = dict(weighted(text) for text in config.layers)
    known_layers(list(layers), vgg)
    if not layers or not all(0 <= weight < float("inf") for weight in layers.values()):
        raise BadInput("give at least one layer, and content weights of 0 or more")
    return layers


@dataclass
class Layer:
    """One layer's part: which style patches lie where, and how far the picture is from it."""

    name: str
    content: Tensor  # (1, C, h, w)
    style: Tensor  # (1, C, h', w')
    coarser: Layer | None
    handed: Handed | None = None
    votes: Votes | None = None
    bank: Bank = field(init=False)

    def __post_init__(self) -> None:
        self.bank = Bank.of([self.style])

    def renew(self, features: Tensor, config: Config) -> None:
        """Hand the style's patches out anew for these features, (1, C, h, w)."""
        guide, coarser = None, self.coarser
        if coarser and coarser.handed and self.follows(coarser):
            chosen = coarser.handed.chosen
            guide = Grid(chosen, _cells(coarser.content), _cells(coarser.style))
        self.handed = hand_out(features, self.style, config.max_uses, config.price, guide)
        self.votes = lay(self.bank, self.handed.chosen, *_cells(features))

    def follows(self, coarser: Layer) -> bool:
        """Whether this layer has twice the cells of the coarser one, as a guide must."""
        return all(
            fine // 2 == coarse
            for mine, theirs in ((self.content, coarser.content), (self.style, coarser.style))
            for fine, coarse in zip(_cells(mine), _cells(theirs), strict=True)
        )

    def distance(self, features: Tensor) -> Tensor:
        """The reshuffle loss: the patches of the features to those laid down, a scalar."""
        assert self.votes is not None
        return patch_distance(features, self.votes)

    def figures(self) -> dict[str, float]:
        if self.handed is None:
            return {}
        return {"used %": 100 * self.handed.used(), "max uses": float(self.handed.uses.max())}


def _cells(features: Tensor) -> tuple[int, int]:
    return features.shape[-2], features.shape[-1]


def objective(
    vgg: Network, content: Tensor, style: Style, layers: dict[str, float], config: Config
) -> list[Task]:
    """For each layer, deepest first: match, then bring the picture to the features matched."""
    with torch.no_grad():
        kept, painted = vgg(content, layers), vgg(style.picture, layers)
    tasks: list[Task] = []
    coarser: Layer | None = None
    for name, weight in layers.items():
        coarser = Layer(name, kept[name], painted[name], coarser)
        tasks.append(layer_task(vgg, coarser, weight, config))
    return tasks


def layer_task(vgg: Network, layer: Layer, content_weight: float, config: Config) -> Task:
    """Feature inversion on one layer, its patches matched `matchings` times on the way."""

    def renew(picture: Tensor) -> None:
        with torch.no_grad():
            layer.renew(vgg(picture, [layer.name])[layer.name], config)

    def losses(picture: Tensor) -> dict[str, Tensor]:
        features = vgg(picture, [layer.name])[layer.name]
        return {
            "reshuffle": layer.distance(features),
            "content": content_weight * relative_distance(features, layer.content),
            "tv": config.tv_weight * total_variation(picture),
        }

    return Task(losses, renew, lambda evaluations: config.matchings, layer.figures)
