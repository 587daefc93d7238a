"""Deep feature reshuffle: the painting's features are a permutation of the style's.

Gu, Chen, Liao and Yuan, "Arbitrary style transfer with deep feature reshuffle", CVPR 2018,
arXiv:1805.04103. Each 3x3 patch of features is matched to a style patch by normalized
cross-correlation with a penalty on reuse, so that each style patch is used about once. Then both
local patches and global statistics agree with the style (sections 3 and 4). This is done from
relu5_1 down to relu1_1: on each layer, L-BFGS optimizes the picture to have the matched features
and, to a degree, the content's (feature inversion).

    st-slow reshuffle --content photo.jpg --style wave.jpg -o painted.jpg

On large layers, patches are searched only around the position that the coarser layer points to, so
time and memory are linear in the picture's area.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from st.runtime.errors import BadInput
from st.train.features import VGG
from st.train.losses.basic import relative_distance, total_variation
from st.train.losses.patch_reuse import Assignment, Grid, assign_patches
from st.train.losses.patches import Bank, Votes, assemble, patch_distance
from st.train.settings import option
from st.train.slow.networks import Network, perceptual
from st.train.slow.optimize import Callback, Settings, Task, paint
from st.train.slow.styles import Style, Styles, as_styles, known_layers, weighted


@dataclass(frozen=True)
class Config(Settings):
    size: int = option(384, "Longest side of the result, in pixels.", minimum=1)
    steps: int = option(250, "Evaluations of the loss, over all sizes and layers.", minimum=1)
    layers: tuple[str, ...] = option(
        ("relu5_1:1", "relu4_1:0.6", "relu3_1:0.3", "relu2_1:0", "relu1_1:0"),
        "LAYER:WEIGHT, deepest first: layer and weight of its content term; repeat for several.",
    )
    tv_weight: float = option(1.0, "Weight of the total variation.", minimum=0)
    reuse_penalty: float = option(
        0.05, "Subtracted from a patch's correlation for each use of it so far.", minimum=0
    )
    max_uses: int = option(
        2,
        "Maximum uses of a style patch; more if there are fewer style patches than positions.",
        minimum=1,
    )
    matchings: int = option(2, "Number of times to match the patches on each layer.", minimum=1)


def reshuffle(
    content: Tensor,
    style: Styles,
    config: Config | None = None,
    callback: Callback | None = None,
    vgg: VGG | None = None,
) -> Tensor:
    """Paint the content with rearranged style features. Arguments and errors are those of `gatys`.

    Also raises BadInput for more than one style, or a mask. `Step.figures` has "used %", the share
    of the layer's style patches in use, and "max uses", the uses of the most used one.
    """
    config = config or Config()
    given = as_styles(style)
    if len(given) > 1 or given[0].mask is not None:
        raise BadInput("reshuffle takes one style, without a mask")
    if config.max_uses < 1 or config.matchings < 1 or not config.reuse_penalty >= 0:
        raise BadInput("max uses and matchings must be 1 or more, and the reuse penalty 0 or more")
    network = perceptual(vgg, content)
    layers = content_weights(config, network)
    return paint(
        content,
        given,
        config,
        lambda c, s: objective(network, c, s[0], layers, config),
        callback,
        tasks=len(layers),
        min_side=48,  # pixels: at this size relu5_1 has 3x3 cells
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
    """The assignment of style patches on one layer, and the distance to it.

    coarser: the next deeper layer, whose assignment guides this one.
    """

    name: str
    content: Tensor  # (1, C, h, w)
    style: Tensor  # (1, C, h', w')
    coarser: Layer | None
    assigned: Assignment | None = None
    votes: Votes | None = None
    bank: Bank = field(init=False)

    def __post_init__(self) -> None:
        self.bank = Bank.of([self.style])

    def renew(self, features: Tensor, config: Config) -> None:
        """Assign the style's patches to these features, (1, C, h, w), again."""
        guide, coarser = None, self.coarser
        if coarser and coarser.assigned and self.follows(coarser):
            chosen = coarser.assigned.chosen
            guide = Grid(chosen, _cells(coarser.content), _cells(coarser.style))
        self.assigned = assign_patches(
            features, self.style, config.max_uses, config.reuse_penalty, guide
        )
        self.votes = assemble(self.bank, self.assigned.chosen, *_cells(features))

    def follows(self, coarser: Layer) -> bool:
        """Whether the coarser layer has half as many cells a side, as a guide must."""
        return all(
            fine // 2 == coarse
            for mine, theirs in ((self.content, coarser.content), (self.style, coarser.style))
            for fine, coarse in zip(_cells(mine), _cells(theirs), strict=True)
        )

    def distance(self, features: Tensor) -> Tensor:
        """The distance of the features' patches to those assigned: a scalar."""
        assert self.votes is not None
        return patch_distance(features, self.votes)

    def figures(self) -> dict[str, float]:
        if self.assigned is None:
            return {}
        return {"used %": 100 * self.assigned.used(), "max uses": float(self.assigned.uses.max())}


def _cells(features: Tensor) -> tuple[int, int]:
    return features.shape[-2], features.shape[-1]


def objective(
    vgg: Network, content: Tensor, style: Style, layers: dict[str, float], config: Config
) -> list[Task]:
    """One task per layer, deepest first: match patches, then optimize the picture towards them."""
    with torch.no_grad():
        kept, painted = vgg(content, layers), vgg(style.picture, layers)
    tasks: list[Task] = []
    coarser: Layer | None = None
    for name, weight in layers.items():
        coarser = Layer(name, kept[name], painted[name], coarser)
        tasks.append(layer_task(vgg, coarser, weight, config))
    return tasks


def layer_task(vgg: Network, layer: Layer, content_weight: float, config: Config) -> Task:
    """Feature inversion on one layer, with its patches matched config.matchings times."""

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
