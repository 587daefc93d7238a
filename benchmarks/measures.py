"""What every benchmark means by style distance, content distance and warping error.

Style and content are judged by SqueezeNet, which no network here is trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.pictures import Rgb
from st.train.features.squeezenet import SqueezeNet
from st.train.losses import gram, relative_distance

STYLE_LAYERS = ("conv1", "fire3", "fire5", "fire6")
CONTENT_LAYER = "fire5"
SHORT_SIDE = 384  # pixels, of every picture compared


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


def backward_flow(previous: Rgb, current: Rgb) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where each pixel of `current` was in `previous`, and whether that is known.

    Returns (flow, seen): flow (H, W, 2), pixels in x and y from a place in `current` to its place
    in `previous`, by OpenCV's DIS; seen (H, W) is False where the place lies outside, and where
    the forward flow does not lead back (an occlusion): |there + back|² > 0.01 (|there|² +
    |back|²) + 0.5, the check of Sundaram, Brox and Keutzer, ECCV 2010, eq. 5.
    """
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (previous, current)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = (np.zeros((*gray[0].shape, 2), np.float32) for _ in range(2))
    there = np.asarray(dis.calc(gray[1], gray[0], next(flows)), np.float32)
    back = warp(np.asarray(dis.calc(gray[0], gray[1], next(flows)), np.float32), there)
    apart = np.square(there + back).sum(2)
    size = np.square(there).sum(2) + np.square(back).sum(2)
    y, x = np.indices(gray[0].shape, dtype=np.float32)
    x, y = x + there[..., 0], y + there[..., 1]
    inside = (x >= 0) & (y >= 0) & (x <= x.shape[1] - 1) & (y <= x.shape[0] - 1)
    return there, inside & (apart <= 0.01 * size + 0.5)


def warp(image: NDArray[np.float32], flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """image at (x, y) + flow(x, y), bilinear; (H, W, C) -> same."""
    y, x = np.indices(flow.shape[:2], dtype=np.float32)
    moved = cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    return moved.astype(np.float32)


def warping_error(
    previous: Rgb, current: Rgb, flow: NDArray[np.float32], seen: NDArray[np.bool_]
) -> float:
    """Mean squared difference (0..1) of a frame and the one before it moved along, where seen.

    previous, current: painted frames (or the source's own). flow, seen: `backward_flow` of the
    source's frames. NaN when nothing is seen, as across a hard cut.
    """
    if not seen.any():
        return float("nan")
    difference = warp(previous.astype(np.float32), flow) - current
    return float(np.square(difference[seen]).mean(dtype=np.float64)) / 255**2
