"""CNNMRF: the painting is made of patches of the style picture.

Li and Wand, "Combining Markov random fields and convolutional neural networks for image synthesis",
CVPR 2016, arXiv:1601.04589. The style term (eq. 2) is the squared distance of each 3x3 patch of
VGG's activations to its nearest style patch by normalized cross-correlation (eq. 3). It preserves
the local structure of the style, while Gram matrices preserve only its statistics. The method adds
the content term (eq. 4), a smoothness prior on the pixel gradient (eq. 5), L-BFGS, and an image
pyramid with a factor of 2 whose coarsest level is under 64 pixels. Patches are also cut from
scaled and rotated copies of the style, to fit the content better.

    st-slow cnnmrf --content photo.jpg --style wave.jpg -o painted.jpg

The paper uses relu3_1 and relu4_1. With the VGG-16 used here these two do not preserve the colors
of the style (a sunset came out purple), so the default adds relu2_1; see `Config.style_layers`.

Patches are matched again every few evaluations; in between, the objective is smooth. Content that
resembles nothing in the style gives artifacts: a limit of the method (section 6).
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
from st.train.losses.patches import Bank, Votes, assemble, nearest, patch_distance
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

FINEST_ROTATED = "relu3_1"  # the finest layer matched to scaled and rotated styles


@dataclass(frozen=True)
class Config(Settings):
    size: int = option(384, "Longest side of the result, in pixels.", minimum=1)
    steps: int = option(400, "Evaluations of the loss, over all sizes.", minimum=1)
    coarsest: int = option(
        32, "Minimum longest side of a pyramid level, in pixels; each has twice the size."
    )
    content_weight: float = option(2.0, "Weight of the content term, alpha_1 of eq. 1.", minimum=0)
    style_weight: float = option(15.0, "Weight of the patch term of eq. 1.", minimum=0)
    tv_weight: float = option(10.0, "Weight of the smoothness term, alpha_2 of eq. 1.", minimum=0)
    content_layer: str = option("relu4_2", "VGG layer of the content term.")
    style_layers: tuple[str, ...] = option(
        ("relu2_1", "relu3_1", "relu4_1"),
        "LAYER or LAYER:WEIGHT of the patch term; repeat for several.",
    )
    patch: int = option(3, "Side of a patch, in cells of the layer.", minimum=1)
    scales: tuple[float, ...] = option(
        (0.85, 1.0, 1.15), "Scale of the style picture to cut patches from; repeat for several."
    )
    rotations: tuple[float, ...] = option(
        (-7.5, 0.0, 7.5), "Rotation of the style picture, in degrees; repeat for several."
    )
    match_every: int = option(15, "Evaluations between two matchings of the patches.", minimum=1)
    max_patches: int = option(
        0, "Number of style patches kept for each layer, drawn at random; 0 keeps all.", minimum=0
    )


def cnnmrf(
    content: Tensor,
    style: Styles,
    config: Config | None = None,
    callback: Callback | None = None,
    vgg: VGG | None = None,
) -> Tensor:
    """Paint the content with patches of the style. Arguments and errors are those of `gatys`.

    Also raises BadInput for styles that differ in weight but have no masks: without regions, the
    patches of all styles compete everywhere, and a weight would have no effect.
    """
    config = config or Config()
    check_config(config)
    given = as_styles(style)
    if any(s.mask is None for s in given) and len({s.weight for s in given}) > 1:
        raise BadInput(
            "cnnmrf: style weights need one mask for each style; give masks, or no weights"
        )
    network = perceptual(vgg, content)
    return paint(
        content,
        given,
        config,
        lambda c, s: objective(network, c, s, config),
        callback,
        decay=1.0,  # equally many evaluations at each size, as in the paper
    )


def check_config(config: Config) -> None:
    """Raises BadInput."""
    if config.patch < 1 or config.match_every < 1 or config.max_patches < 0:
        raise BadInput("patch and match every must be 1 or more, and max patches 0 or more")
    if not config.scales or not config.rotations:
        raise BadInput("give at least one scale and one rotation")
    if not all(0.1 <= scale <= 10 for scale in config.scales):
        raise BadInput("scales must be 0.1 to 10")


@dataclass
class Match:
    """The style patches of one layer, and their last assignment to the picture.

    banks: the patches of each group of styles. regions: the mask of each group, (1, 1, H, W), None
    for everywhere. votes: the target features of each group by the last matching.
    """

    banks: list[Bank]
    regions: list[Tensor | None]
    votes: list[Votes] = field(default_factory=list)

    def renew(self, features: Tensor) -> None:
        """Match the patches of the features, (1, C, h, w), again."""
        height, width = features.shape[-2:]
        self.votes = []
        for bank, mask in zip(self.banks, self.regions, strict=True):
            if min(height, width) < bank.size or not len(bank):
                continue  # the coarsest levels of the pyramid can be smaller than a patch
            weights = None
            if mask is not None:
                # A patch has the region weight of its center cell.
                rows, columns = height - bank.size + 1, width - bank.size + 1
                top = bank.size // 2
                weights = region(mask, features)[0, 0, top : top + rows, top : top + columns]
                weights = weights.flatten()
            self.votes.append(assemble(bank, nearest(features, bank), height, width, weights))

    def distance(self, features: Tensor) -> Tensor:
        """Eq. 2, relative to the energy of the assigned patches: a scalar."""
        if not self.votes:
            return features.new_zeros(())
        return patch_distance(features, sum(self.votes[1:], start=self.votes[0]))


def objective(vgg: Network, content: Tensor, styles: list[Style], config: Config) -> list[Task]:
    """The objective of eq. 1 at one size."""
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
    """The patches of all styles by layer: in one bank, or in one per style if these have regions.

    Layers finer than FINEST_ROTATED get no scaled and rotated copies: they have at least four times
    as many patches, and coarser layers already set the orientation.
    """
    fine = [name for name in layers if vgg.names.index(name) < vgg.names.index(FINEST_ROTATED)]
    coarse = [name for name in layers if name not in fine]
    groups = [styles] if all(style.mask is None for style in styles) else [[s] for s in styles]
    matches = {name: Match([], [group[0].mask for group in groups]) for name in layers}
    source = torch.Generator().manual_seed(config.seed)
    for group in groups:
        maps: dict[str, list[Tensor]] = {name: [] for name in layers}
        for style in group:
            for scale, degrees in product(config.scales, config.rotations):
                for name, seen in vgg(transformed(style.picture, scale, degrees), coarse).items():
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


def transformed(image: Tensor, scale: float, degrees: float) -> Tensor:
    """The picture scaled, then rotated about its center: (1, 3, H, W) -> (1, 3, H', W').

    The corners are filled by reflection, so that they hold texture and no edge.
    """
    height, width = (max(16, round(side * scale)) for side in image.shape[-2:])
    image = resize(image, height, width).clamp(0, 1)
    if not degrees:
        return image
    angle = math.radians(degrees)
    sine, cosine, aspect = math.sin(angle), math.cos(angle), height / width
    # grid_sample's coordinates are -1..1 along both sides: the rotation includes the aspect.
    rotation = image.new_tensor([[[cosine, -sine * aspect, 0], [sine / aspect, cosine, 0]]])
    grid = affine_grid(rotation, [1, 3, height, width], align_corners=False)
    return grid_sample(image, grid, "bicubic", "reflection", align_corners=False).clamp(0, 1)
