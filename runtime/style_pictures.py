"""From a style picture to its style code, by the encoder that lies beside an engine."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import cv2
import numpy as np

from st.runtime.backend import Backend
from st.runtime.errors import BadEngine, BadInput
from st.runtime.frames import Frames, as_batch, fitted_size, pad
from st.runtime.metadata import Metadata
from st.runtime.style_code import StyleCode

SHORT_SIDE = 512  # pixels: larger style pictures are scaled down to it, as in training
LONG_SIDE = 4 * SHORT_SIDE
KEPT = 32  # codes


class StyleEncoder:
    """Encodes style pictures, each once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._codes: OrderedDict[bytes, StyleCode] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, picture: Frames) -> StyleCode:
        """(H, W, 3) uint8 RGB -> its code. Raises BadInput: no such picture."""
        if isinstance(picture, np.ndarray) and picture.ndim == 4:
            raise BadInput(f"a style is one picture, (height, width, 3), not {picture.shape}")
        batch = as_batch(picture)
        mark = repr(batch.shape).encode() + hashlib.blake2b(batch.data).digest()
        with self._lock:
            if mark in self._codes:
                self._codes.move_to_end(mark)
                return self._codes[mark]
        code = self._encode(batch[0])
        with self._lock:
            self._codes[mark] = code
            while len(self._codes) > KEPT:
                self._codes.popitem(last=False)
        return code

    def _encode(self, picture: Frames) -> StyleCode:
        metadata = self._backend.metadata
        (values,) = self._backend.run({"style": as_style(picture, metadata)}, ["code"])
        if values.shape != (1, metadata.code_size) or not np.isfinite(values).all():
            raise BadEngine(f"the style encoder gave no style code of {metadata.code_size} numbers")
        values[0].flags.writeable = False
        return StyleCode(values[0], metadata.fingerprint)

    def close(self) -> None:
        self._backend.close()


def as_style(picture: Frames, metadata: Metadata) -> Frames:
    """(H, W, 3) -> (1, H', W', 3) of a size that the encoder takes: scaled down and cropped, since
    padding would change the style's statistics; padded only where it is too small."""
    if metadata.fixed_size:
        height, width = metadata.fixed_size
        return _resized(_of_shape(picture, width / height), height, width)[None]
    sides = picture.shape[:2]
    scale = min(1.0, SHORT_SIDE / min(sides), LONG_SIDE / max(sides))
    if metadata.sizes:
        scale = min(scale, *(m / s for m, s in zip(metadata.sizes[1], sides, strict=True)))
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in sides)
        picture = _resized(picture, height, width)
    step, sides = metadata.multiple, picture.shape[:2]
    least = -(-max(metadata.min_size, 1) // step) * step
    height, width = (side // step * step if side >= least else side for side in sides)
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    batch = np.ascontiguousarray(picture[None, top : top + height, left : left + width])
    return pad(batch, *fitted_size(metadata, height, width))


def _of_shape(picture: Frames, ratio: float) -> Frames:
    """The middle of a picture, with that width over its height: strokes keep their shape."""
    height, width = picture.shape[:2]
    rows, columns = min(height, round(width / ratio)), min(width, round(height * ratio))
    top, left = (height - max(1, rows)) // 2, (width - max(1, columns)) // 2
    return picture[top : top + max(1, rows), left : left + max(1, columns)]


def _resized(picture: Frames, height: int, width: int) -> Frames:
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return resized.astype(np.uint8, copy=False)


def check_encoder(encoder: Metadata, engine: Metadata) -> None:
    """Raises BadEngine unless an encoder makes codes for this engine."""
    if (encoder.fingerprint, encoder.code_size) != (engine.fingerprint, engine.code_size):
        raise BadEngine("this style encoder belongs to another engine: export both anew")
