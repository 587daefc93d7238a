"""How far a painting is from its style and from its content, by one definition for everything.

Judged by SqueezeNet, which no network here is trained on. Pictures of a style distance are compared
with a short side of SHORT_SIDE pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from st.train.features.squeezenet import SqueezeNet
from st.train.losses.basic import gram, relative_distance

Rgb = NDArray[np.uint8]  # (H, W, 3), 0..255
STYLE_LAYERS = ("conv1", "fire3", "fire5", "fire6")
CONTENT_LAYER = "fire5"
SHORT_SIDE = 384


@dataclass(frozen=True)
class Traits:
    """What SqueezeNet sees in a picture.

    grams: for each style layer (1, C, C), over C*H*W.
    content: (1, 256, H/8, W/8), activations of the content layer.
    """

    grams: dict[str, Tensor]
    content: Tensor


@torch.no_grad()
def traits(network: SqueezeNet, rgb: Rgb) -> Traits:
    """Look at a picture once, for any number of comparisons."""
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    found = network(image, {*STYLE_LAYERS, CONTENT_LAYER})
    return Traits({name: gram(found[name]) for name in STYLE_LAYERS}, found[CONTENT_LAYER])


def style_distance(painted: Traits, style: Traits) -> float:
    """|G_painted - G_style|² / |G_style|², averaged over the style layers; 0 for the same picture.

    Both pictures with a short side of SHORT_SIDE; of any other shape.
    """
    apart = [relative_distance(painted.grams[k], style.grams[k]) for k in STYLE_LAYERS]
    return float(torch.stack(apart).mean())


def content_distance(painted: Traits, content: Traits) -> float:
    """|F_painted - F_content|² / |F_content|² after the content layer, pictures of one size."""
    return float(relative_distance(painted.content, content.content))
