"""Encode style pictures with the style encoder of an engine (`NAME.encoder.onnx`)."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import cv2
import numpy as np

from st.runtime.backends.base import Backend
from st.runtime.engine.metadata import Metadata
from st.runtime.engine.style_code import StyleCode
from st.runtime.errors import BadEngine, BadInput
from st.runtime.painting.frames import Frames, as_batch, fitted_size, pad

SHORT_SIDE = 512  # pixels; larger style pictures are scaled down to it, as in training
LONG_SIDE = 4 * SHORT_SIDE
MAX_PIXELS = 2 << 20  # of a style picture after upscaling
KEPT = 32  # style codes in the cache


class StyleEncoder:
    """Encodes style pictures, and caches the last style codes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._codes: OrderedDict[bytes, StyleCode] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, picture: Frames, scale: float = 1.0) -> StyleCode:
        """Encode a picture, (H, W, 3) uint8 RGB. scale: see `as_style`. Raises BadInput."""
        if isinstance(picture, np.ndarray) and picture.ndim == 4:
            raise BadInput(f"a style must be one picture, (height, width, 3), not {picture.shape}")
        batch = as_batch(picture)
        mark = repr((batch.shape, scale)).encode() + hashlib.blake2b(batch.data).digest()
        with self._lock:
            if mark in self._codes:
                self._codes.move_to_end(mark)
                return self._codes[mark]
        code = self._encode(batch[0], scale)
        with self._lock:
            self._codes[mark] = code
            while len(self._codes) > KEPT:
                self._codes.popitem(last=False)
        return code

    def _encode(self, picture: Frames, scale: float) -> StyleCode:
        metadata = self._backend.metadata
        (values,) = self._backend.run({"style": as_style(picture, metadata, scale)}, ["code"])
        if values.shape != (1, metadata.code_size) or not np.isfinite(values).all():
            raise BadEngine(
                f"the style encoder must return {metadata.code_size} finite numbers, but it did not"
            )
        values[0].flags.writeable = False
        return StyleCode(values[0], metadata.fingerprint)

    def close(self) -> None:
        self._backend.close()


def as_style(picture: Frames, metadata: Metadata, scale: float = 1.0) -> Frames:
    """Fit a style picture to the encoder: (H, W, 3) -> (1, H', W', 3).

    The picture is scaled down and cropped, because padding would change the style's statistics. It
    is padded only if it is too small.

    scale: stroke size multiplier. At 2 the encoder sees the picture twice as large, cropped to its
        center where that would exceed `MAX_PIXELS`.
    """
    if metadata.fixed_size:
        height, width = metadata.fixed_size
        picture = _of_shape(picture, width / height)
        if scale == 1:
            return _resized(picture, height, width)[None]
        sides = [max(1, round(side * scale)) for side in (height, width)]
        return _cut(_resized(picture, *sides), height, width)[None]
    sides = picture.shape[:2]
    factor = scale * min(1.0, SHORT_SIDE / min(sides), LONG_SIDE / max(sides))
    if metadata.sizes:
        factor = min(factor, *(m / s for m, s in zip(metadata.sizes[1], sides, strict=True)))
    if factor != 1:
        if scale > 1:
            picture = _middle(picture, MAX_PIXELS / factor**2)
        height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
        picture = _resized(picture, height, width)
    step, sides = metadata.multiple, picture.shape[:2]
    least = -(-max(metadata.min_size, 1) // step) * step
    height, width = (side // step * step if side >= least else side for side in sides)
    batch = np.ascontiguousarray(_cut(picture, height, width)[None])
    return pad(batch, *fitted_size(metadata, height, width))


def _of_shape(picture: Frames, ratio: float) -> Frames:
    """Crop the center of a picture to this ratio of width to height, without distortion."""
    height, width = picture.shape[:2]
    rows, columns = min(height, round(width / ratio)), min(width, round(height * ratio))
    top, left = (height - max(1, rows)) // 2, (width - max(1, columns)) // 2
    return picture[top : top + max(1, rows), left : left + max(1, columns)]


def _middle(picture: Frames, pixels: float) -> Frames:
    """Crop the center of a picture to at most this many pixels, with the same aspect ratio."""
    height, width = picture.shape[:2]
    part = min(1.0, (pixels / (height * width)) ** 0.5)
    return _cut(picture, max(1, int(height * part)), max(1, int(width * part)))


def _cut(picture: Frames, height: int, width: int) -> Frames:
    """Crop the center of a picture, after padding it by reflection where it is too small."""
    down, right = (max(0, n - m) for n, m in zip((height, width), picture.shape, strict=False))
    if down or right:
        edges = (down // 2, down - down // 2, right // 2, right - right // 2)
        picture = np.asarray(cv2.copyMakeBorder(picture, *edges, cv2.BORDER_REFLECT), np.uint8)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def _resized(picture: Frames, height: int, width: int) -> Frames:
    smaller = height < picture.shape[0] or width < picture.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    resized = cv2.resize(picture, (width, height), interpolation=how)
    return resized.astype(np.uint8, copy=False)


def check_encoder(encoder: Metadata, engine: Metadata) -> None:
    """Raises BadEngine unless the encoder's codes fit this engine."""
    if (encoder.fingerprint, encoder.code_size) != (engine.fingerprint, engine.code_size):
        raise BadEngine("this style encoder belongs to another engine: export both again")
