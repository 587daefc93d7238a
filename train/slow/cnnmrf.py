"""CNNMRF: every patch of the painting is a patch of the style.

Li and Wand, "Combining Markov random fields and convolutional neural networks for image synthesis",
CVPR 2016, arXiv:1601.04589. The style term (eq. 2) is the squared distance of each 3x3 patch of
VGG's activations to its nearest style patch by normalized cross-correlation (eq. 3), so local
structure of the style survives, where Gram matrices keep its statistics alone. With it come the
content term (eq. 4), the squared gradient of the pixels (eq. 5), L-BFGS, and a pyramid by 2 from a
longest side under 64 pixels. The style is also cut scaled and rotated, to fit the content better.

    st-slow cnnmrf --content photo.jpg --style wave.jpg -o painted.jpg

The paper's layers are relu3_1 and relu4_1. On the VGG-16 used here these do not hold the style's
colors (a sunset came out purple), so relu2_1 is with them; `--style-layers` chooses.

Patches are matched anew every few evaluations; between, the losses are one smooth function. Content
with nothing like it in the style comes out strange: that is the method's limit (section 6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from st.runtime.errors import BadInput
from st.train.features import VGG
from st.train.losses.basic import relative_distance, total_variation
from st.train.losses.patches import Bank, Votes, lay, nearest, patch_distance
from st.train.settings import option
from st.train.slow.networks import Network, perceptual
from st.train.slow.optimize import Callback, Settings, Task, paint
from st.train.slow.styles import (
    Style,
    Styles,
    as_styles,
    known_layers,
    region,
    resize,
    weighted_layers,
)

TURNED = "relu3_1"  # the finest layer that the style is scaled and rotated for


@dataclass(frozen=True)
class Config(Settings):
    size: int = option(384, "longest side of the result, pixels", minimum=1)
    steps: int = option(400, "evaluations of the losses, over all sizes", minimum=1)
    coarsest: int = option(32, "halve the size while it stays above this: under 64 at the start")
    content_weight: float = option(2.0, "alpha_1 of eq. 1", minimum=0)
    style_weight: float = option(15.0, "of the energy of patches, eq. 1", minimum=0)
    tv_weight: float = option(10.0, "alpha_2 of eq. 1, of the squared gradient", minimum=0)
    content_layer: str = option("relu4_2", "VGG layer that content is compared on")
    style_layers: tuple[str, ...] = option(
        ("relu2_1", "relu3_1", "relu4_1"),
        "LAYER or LAYER:WEIGHT that patches are cut from; may be repeated",
    )
    patch: int = option(3, "cells of a patch's side", minimum=1)
    scales: tuple[float, ...] = option((0.85, 1.0, 1.15), "of the style picture; may be repeated")
    rotations: tuple[float, ...] = option(
        (-7.5, 0.0, 7.5), "of the style picture, degrees; may be repeated"
    )
    match_every: int = option(15, "evaluations between two matchings of patches", minimum=1)
    max_patches: int = option(
        0, "style patches kept of a layer, drawn at random; 0: all", minimum=0
    )


def cnnmrf(
    content: Tensor,
    style: Styles,
    config: Config | None = None,
    callback: Callback | None = None,
    vgg: VGG | None = None,
) -> Tensor:
    """Paint the content out of patches of the style. Arguments and errors as for `gatys`.

    The patches of several styles compete everywhere, so weights need regions: BadInput otherwise.
    """
    config = config or Config()
    check_config(config)
    given = as_styles(style)
    if any(s.mask is None for s in given) and len({s.weight for s in given}) > 1:
        raise BadInput("cnnmrf picks patches: without a mask each, its styles take no weights")
    network = perceptual(vgg, content)
    return paint(
        content,
        given,
        config,
        lambda c, s: objective(network, c, s, config),
        callback,
        fall=1.0,  # as many at each size, as in the paper
    )


def check_config(config: Config) -> None:
    """Raises BadInput."""
    if config.patch < 1 or config.match_every < 1 or config.max_patches < 0:
        raise BadInput("patch and match every must be 1 or more, max patches 0 or more")
    if not config.scales or not config.rotations:
        raise BadInput("give at least one scale and one rotation")
    if not all(0.1 <= scale <= 10 for scale in config.scales):
        raise BadInput("scales must be 0.1 to 10")


@dataclass
class Match:
    """One layer's style patches: a bank for each group of styles, and where the group paints.

    regions: (1, 1, H, W) masks, None for everywhere. votes: what the last matching laid down.
    """

    banks: list[Bank]
    regions: list[Tensor | None]
    votes: list[Votes] = field(default_factory=list)

    def renew(self, features: Tensor) -> None:
        """Match the patches of the features, (1, C, h, w), anew."""
        height, width = features.shape[-2:]
        self.votes = []
        for bank, mask in zip(self.banks, self.regions, strict=True):
            if min(height, width) < bank.size or not len(bank):
                continue  # the pyramid's first sizes can be smaller than a patch
            weights = None
            if mask is not None:
                # A patch belongs to a region as far as the cell in its middle does.
                rows, columns = height - bank.size + 1, width - bank.size + 1
                top = bank.size // 2
                weights = region(mask, features)[0, 0, top : top + rows, top : top + columns]
                weights = weights.flatten()
            self.votes.append(lay(bank, nearest(features, bank), height, width, weights))

    def distance(self, features: Tensor) -> Tensor:
        """Eq. 2 over the energy of the patches laid down: a scalar."""
        if not self.votes:
            return features.new_zeros(())
        return patch_distance(features, sum(self.votes[1:], start=self.votes[0]))


def objective(vgg: Network, content: Tensor, styles: list[Style], config: Config) -> list[Task]:
    """Eq. 1 at one size."""
    weights = weighted_layers(config.style_layers, vgg)
    known_layers([config.content_layer], vgg)
    with torch.no_grad():
        kept = vgg(content, [config.content_layer])[config.content_layer]
        matches = find_patches(vgg, styles, list(weights), config)

    def renew(picture: Tensor) -> None:
        with torch.no_grad():
            for name, features in vgg(picture, weights).items():
                matches[name].renew(features)

    def losses(picture: Tensor) -> dict[str, Tensor]:
        found = vgg(picture, {config.content_layer, *weights})
        near = relative_distance(found[config.content_layer], kept)
        style = picture.new_zeros(())
        for name, weight in weights.items():
            style = style + weight * matches[name].distance(found[name])
        return {
            "content": config.content_weight * near,
            "style": config.style_weight * style,
            "tv": config.tv_weight * total_variation(picture),
        }

    return [Task(losses, renew, lambda evaluations: -(-evaluations // config.match_every))]


def find_patches(
    vgg: Network, styles: list[Style], layers: Sequence[str], config: Config
) -> dict[str, Match]:
    """The patches of all styles, scaled and rotated; in one bank, or one a region.

    Layers finer than `TURNED` see the styles as they are: they have four times as many patches and
    more, and follow the coarser layers' lead.
    """
    fine = [name for name in layers if vgg.names.index(name) < vgg.names.index(TURNED)]
    coarse = [name for name in layers if name not in fine]
    groups = [styles] if all(style.mask is None for style in styles) else [[s] for s in styles]
    matches = {name: Match([], [group[0].mask for group in groups]) for name in layers}
    source = torch.Generator().manual_seed(config.seed)
    for group in groups:
        maps: dict[str, list[Tensor]] = {name: [] for name in layers}
        for style in group:
            for scale, degrees in product(config.scales, config.rotations):
                for name, seen in vgg(turned(style.picture, scale, degrees), coarse).items():
                    maps[name].append(seen)
            for name, seen in vgg(style.picture, fine).items() if fine else ():
                maps[name].append(seen)
        for name in layers:
            bank = Bank.of(maps[name], config.patch)
            if config.max_patches and len(bank) > config.max_patches:
                kept = torch.randperm(len(bank), generator=source)[: config.max_patches]
                bank = bank.subset(kept.sort().values.to(bank.start.device))
            matches[name].banks.append(bank)
    return matches


def turned(image: Tensor, scale: float, degrees: float) -> Tensor:
    """The picture scaled, and turned about its middle inside its own frame.

    Corners that come from outside are filled by reflection: texture, and no edge.
    """
    height, width = (max(16, round(side * scale)) for side in image.shape[-2:])
    image = resize(image, height, width).clamp(0, 1)
    if not degrees:
        return image
    angle = math.radians(degrees)
    sine, cosine, aspect = math.sin(angle), math.cos(angle), height / width
    # grid_sample's coordinates are -1..1 along both sides, so a turn has the aspect in it.
    turn = image.new_tensor([[[cosine, -sine * aspect, 0], [sine / aspect, cosine, 0]]])
    grid = affine_grid(turn, [1, 3, height, width], align_corners=False)
    return grid_sample(image, grid, "bicubic", "reflection", align_corners=False).clamp(0, 1)
