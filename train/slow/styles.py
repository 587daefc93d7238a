"""Style pictures with weights and region masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from st.runtime.errors import BadInput, printable
from st.train.slow.networks import Network


@dataclass(frozen=True)
class Style:
    """One style picture of a painting.

    picture: (1, 3, H, W), RGB, 0..1, of any size.
    weight: relative to the other styles; above 0.
    mask: (1, 1, H, W), 0..1, of the content's size: 1 where the style applies; None: everywhere.
    """

    picture: Tensor
    weight: float = 1.0
    mask: Tensor | None = None


Styles = Tensor | Style | Sequence[Style]


def as_styles(given: Styles) -> list[Style]:
    """One or several styles as a list. Raises BadInput for an unusable picture, weight or mask."""
    if isinstance(given, Tensor):
        styles = [Style(given)]
    else:
        styles = [given] if isinstance(given, Style) else list(given)
    if not styles:
        raise BadInput("no style picture given")
    for style in styles:
        if style.picture.ndim != 4 or style.picture.shape[:2] != (1, 3):
            raise BadInput(f"style picture is {tuple(style.picture.shape)}, not (1, 3, H, W)")
        if not 0 < style.weight < float("inf"):
            raise BadInput(f"style weight {style.weight} is not above 0")
        if style.mask is not None and not style.mask.any():
            raise BadInput("a region mask is all black: its style would have no effect")
    return styles


def shares(styles: Sequence[Style]) -> list[float]:
    """The factor of each style's loss: its weight times its area.

    A loss over a region is a mean, so its gradient per pixel is inversely proportional to the
    region's area; the area in the factor cancels that. The factors are normalized so that the
    weights sum to 1 at the pixel with the largest sum.
    """
    regions = [torch.ones(1) if style.mask is None else style.mask for style in styles]
    cover = sum(style.weight * region for style, region in zip(styles, regions, strict=True))
    most = float(torch.as_tensor(cover).max())
    return [
        style.weight * float(region.mean()) / most
        for style, region in zip(styles, regions, strict=True)
    ]


def region(mask: Tensor, features: Tensor) -> Tensor:
    """A mask averaged to the cells of features: (1, 1, H, W) -> (1, 1, h, w)."""
    height, width = features.shape[-2:]
    return adaptive_avg_pool2d(mask, (height, width)).to(features.dtype)


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Resize (N, C, H, W), bicubic with antialiasing. The result may exceed 0..1 a little."""
    if image.shape[-2:] == (height, width):
        return image
    return interpolate(image, (height, width), mode="bicubic", antialias=True)


def weighted(text: str) -> tuple[str, float]:
    """ "relu4_1:0.5" -> ("relu4_1", 0.5); the weight is 1 where none is given."""
    name, colon, number = text.rpartition(":")
    try:
        return (name, float(number)) if colon else (text, 1.0)
    except ValueError:
        return text, 1.0  # the colon is part of the name


def known_layers(names: Sequence[str], vgg: Network) -> None:
    """Raises BadInput for a layer that the network does not have."""
    for name in names:
        if name not in vgg.names:
            relu = [known for known in vgg.names if known.startswith("relu")]
            shown = f"{', '.join(relu)} (and conv, pool)" if relu else ", ".join(vgg.names)
            raise BadInput(f"no layer {printable(name)}; there are {shown}")


def weighted_layers(given: Sequence[str], vgg: Network) -> dict[str, float]:
    """Layer weights, normalized to a sum of 1. Raises BadInput for an unknown layer or weight."""
    layers = dict(weighted(text) for text in given)
    known_layers(list(layers), vgg)
    for name, weight in layers.items():
        if not 0 <= weight < float("inf"):
            raise BadInput(f"layer weight {weight} of {name} is not 0 or more")
    total = sum(layers.values())
    if not total:
        raise BadInput("every layer weight is 0")
    return {name: weight / total for name, weight in layers.items() if weight}
