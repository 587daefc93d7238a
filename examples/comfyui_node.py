"""ComfyUI nodes: paint an image batch in a style, and blend two styles.

Copy this file into ComfyUI/custom_nodes/ and `pip install` this repository into its Python. The
nodes appear under "image/st". `engine` is a shipped engine's name or the path of an .onnx.

    python examples/comfyui_node.py photo.jpg painted.png --style wave   # the node without ComfyUI
"""

from __future__ import annotations

import argparse
import math
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from st.engines import DEFAULT, names
from st.runtime import StError, Stylizer

Blend = dict[str, float]  # {style: weight}, the type of ST_BLEND connections


@lru_cache(maxsize=4)
def opened(engine: str) -> Stylizer:
    """Open an engine once, for all nodes that use it."""
    return Stylizer(engine)


def to_frames(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """ComfyUI's IMAGE, (B, H, W, C) float 0..1, to (B, H, W, 3) uint8. Alpha is left out."""
    return (images[..., :3].clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def to_images(frames: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    return torch.from_numpy(frames).float() / 255


class StBlend:
    """Blends two styles; chain nodes for more than two."""

    CATEGORY = "image/st"
    RETURN_TYPES = ("ST_BLEND",)
    FUNCTION = "blend"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        styles = list(opened(DEFAULT).styles)
        return {
            "required": {
                "first": (styles,),
                "second": (styles, {"default": styles[-1]}),
                "share": ("FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.01}),
            },
            "optional": {"instead_of_first": ("ST_BLEND",)},
        }

    def blend(
        self, first: str, second: str, share: float, instead_of_first: Blend | None = None
    ) -> tuple[Blend]:
        weights = {s: w * (1 - share) for s, w in (instead_of_first or {first: 1.0}).items()}
        weights[second] = weights.get(second, 0.0) + share
        return (weights,)


class StStylize:
    """Paints a batch. `style` is a named style, a style picture's file or a saved .npz code."""

    CATEGORY = "image/st"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "stylize"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        return {
            "required": {
                "image": ("IMAGE",),
                "engine": ("STRING", {"default": names()[0]}),
                "style": ("STRING", {"default": ""}),
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}),
            },
            "optional": {"blend": ("ST_BLEND",)},  # goes before `style`
        }

    @classmethod
    def VALIDATE_INPUTS(cls, strength: float) -> bool | str:  # noqa: N802 - ComfyUI's name
        return math.isfinite(strength) or "strength is no number"

    def stylize(
        self, image: Tensor, engine: str, style: str, strength: float, blend: Blend | None = None
    ) -> tuple[Tensor]:
        # Own settings on the shared engine, independent of other nodes.
        paint = opened(engine).styled(blend or style or None, strength)
        frames = [
            paint(frame) for frame in to_frames(image)
        ]  # one by one, so that batches of any length fit into memory
        return (to_images(np.stack(frames)),)


NODE_CLASS_MAPPINGS = {"StStylize": StStylize, "StBlend": StBlend}
NODE_DISPLAY_NAME_MAPPINGS = {"StStylize": "Stylize (st)", "StBlend": "Blend styles (st)"}


def main() -> None:
    parser = argparse.ArgumentParser(description="The node StStylize, without ComfyUI.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--style", default="wave")
    given = parser.parse_args()

    with Image.open(given.picture) as picture:
        image = to_images(np.array(picture.convert("RGB"))[None])
    (painted,) = StStylize().stylize(image, DEFAULT, given.style, strength=1.0)
    Image.fromarray(to_frames(painted)[0]).save(given.output)
    print(f"{tuple(painted.shape)} {painted.dtype}")


if __name__ == "__main__":
    try:
        main()
    except (StError, OSError, ValueError) as error:  # the video or picture cannot be read
        sys.exit(f"Error: {error}")
