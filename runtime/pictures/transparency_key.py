"""The transparent color of a PNG (tRNS) at depths where Pillow compares it with other values."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageFile

SCALE = {"L;2": 85, "L;4": 17}  # packing -> how Pillow scales samples, but not the key


def packing(file: ImageFile.ImageFile) -> str:
    """How the samples of an opened, not yet loaded PNG are packed: "L;4", "RGB;16B", …"""
    return str(file.tile[0][3]) if file.format == "PNG" and file.tile else ""


def scale_key(file: ImageFile.ImageFile) -> None:
    """Bring the key of 2- and 4-bit gray to the range of Pillow's samples. Call before loading."""
    key = file.info.get("transparency")
    if isinstance(key, int) and (scale := SCALE.get(packing(file))):
        file.info["transparency"] = key * scale


def deep_key_alpha(file: ImageFile.ImageFile, packed: str, data: bytes) -> Image.Image | None:
    """The alpha (mode L) that the key of a loaded 16-bit PNG gives; None where there is none.

    packed: its `packing` before it was loaded. data: its bytes, which only RGB needs, because
    Pillow has 8 bits of its samples.
    """
    key = file.info.get("transparency")
    if packed.startswith("I;16") and isinstance(key, int):
        opaque = np.asarray(file) != key
    elif packed.startswith("RGB;16") and isinstance(key, tuple):
        samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if samples is None or samples.ndim != 3 or samples.shape[2] != 4:
            return None
        opaque = samples[..., 3] > 0
    else:
        return None
    return Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8))
