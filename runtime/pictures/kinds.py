"""Pictures as apps have them: NumPy arrays, PIL images, files and encoded bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.errors import BadInput

if TYPE_CHECKING:
    from PIL import Image

    from st.runtime.pictures.io import Picture

Pixels = NDArray[np.uint8]
Painted = Callable[[Pixels], Any]  # the painting, (H, W, 3) or (N, H, W, 3) RGB -> its kind


def open_kind(picture: Any, bgr: bool = False) -> tuple[Pixels, Painted]:
    """A picture of any kind as RGB, and the function that makes a picture of that kind of RGB.

    picture: an array (H, W, 3), (H, W, 4), (H, W) or (N, H, W, 3), uint8; a PIL image; a file's
        path; or the bytes of a file.
    bgr: arrays are BGR or BGRA, as OpenCV has them.

    An array gives an array, bytes give the bytes of a file of the same format, a PIL image and a
    path give a PIL image. A painting of a gray picture is in color. Transparency is kept.

    Returns (pixels, to_kind): pixels is (H, W, 3) or (N, H, W, 3) uint8 RGB.
    Raises BadInput: none of these, or a file that is missing, damaged or no picture.
    """
    if isinstance(picture, np.ndarray):
        return _open_array(picture, bgr)
    if isinstance(picture, str | Path | bytes | bytearray | memoryview):
        from st.runtime.pictures.io import read_picture

        if isinstance(picture, str | Path):
            opened = read_picture(picture)
            return opened.rgb, lambda painting: _image(painting, opened.alpha)
        data = bytes(picture)
        opened = read_picture(data)
        return opened.rgb, lambda painting: _encoded(painting, opened, data)
    if is_image(picture):
        rgb, alpha = _open_image(picture)
        return rgb, lambda painting: _image(painting, alpha)
    raise BadInput(
        "a picture must be a NumPy array, a PIL image, a file's path or its bytes, "
        f"not {type(picture).__name__}"
    )


def is_picture(value: Any) -> bool:
    """Whether `open_kind` accepts objects of this type; a path or an array may still be invalid."""
    plain = str | Path | bytes | bytearray | memoryview | np.ndarray
    return isinstance(value, plain) or is_image(value)


def is_image(picture: Any) -> bool:
    """Whether it is a PIL image."""
    from PIL import Image

    return isinstance(picture, Image.Image)


def as_rgb(picture: Any) -> Pixels:
    """A picture of any kind as RGB, without its transparency: see `open_kind`."""
    return open_kind(picture)[0]


def swap_channels(pixels: Pixels) -> Pixels:
    """RGB <-> BGR: (…, 3) -> the same shape, new; RGBA <-> BGRA too."""
    order = [2, 1, 0, 3][: pixels.shape[-1]]
    if pixels.ndim == 3:
        code = cv2.COLOR_RGB2BGR if len(order) == 3 else cv2.COLOR_RGBA2BGRA
        return np.asarray(cv2.cvtColor(pixels, code), np.uint8)
    return np.ascontiguousarray(pixels[..., order])


def _open_array(array: NDArray[Any], bgr: bool) -> tuple[Pixels, Painted]:
    """The shape (N, H, W, 3) and everything that is wrong is left to `as_batch`."""
    if array.dtype != np.uint8 or 0 in array.shape:
        return array, lambda painting: painting
    if array.ndim == 2:
        rgb = np.asarray(cv2.cvtColor(array, cv2.COLOR_GRAY2RGB), np.uint8)
        return rgb, swap_channels if bgr else lambda painting: painting
    if array.ndim == 3 and array.shape[2] == 4:
        from st.runtime.pictures.io import fill_hidden

        rgb = np.ascontiguousarray(array[..., 2::-1] if bgr else array[..., :3]).copy()
        alpha = np.ascontiguousarray(array[..., 3])
        fill_hidden(rgb, alpha)

        def with_alpha(painting: Pixels) -> Pixels:
            own = swap_channels(painting) if bgr else painting
            return np.dstack([own, _fitted(alpha, painting)])

        return rgb, with_alpha
    if bgr and array.ndim in (3, 4) and array.shape[-1] == 3:
        return swap_channels(array), swap_channels
    return array, lambda painting: painting


def _open_image(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """An upright PIL image in sRGB: (H, W, 3), and its alpha (H, W) or None."""
    from PIL import ImageOps

    from st.runtime.pictures.icc import to_srgb
    from st.runtime.pictures.io import fill_hidden
    from st.runtime.pictures.white_level import to_unit, white_level

    image = ImageOps.exif_transpose(image)
    alpha = None
    if image.has_transparency_data:
        alpha = np.array(image.convert("RGBA").getchannel("A"))
    if image.mode == "F":
        samples = np.asarray(image)
        try:
            gray = np.rint(to_unit(samples, white_level(samples)) * 255).astype(np.uint8)
        except ValueError as error:
            raise BadInput(f"a PIL image of mode F: {error}") from None
        return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8), None
    if image.mode.startswith("I"):  # 16-bit gray; Pillow's own conversion cuts it at 255
        values = np.asarray(image).astype(np.int64)
        gray = ((values.clip(0, 65535) + 128) // 257).astype(np.uint8)
        return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8), None
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        profile = image.info.get("icc_profile")
        image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
        image.info["icc_profile"] = profile
    rgb = np.array(to_srgb(image)[0])
    return rgb, None if alpha is None else fill_hidden(rgb, alpha)


def _image(painting: Pixels, alpha: Pixels | None) -> Image.Image:
    from PIL import Image

    if alpha is None:
        return Image.fromarray(painting)
    return Image.fromarray(np.dstack([painting, _fitted(alpha, painting)]))


def _encoded(painting: Pixels, opened: Picture, data: bytes) -> bytes:
    """The bytes of a file of the same format, PNG where st does not write that format."""
    from PIL import Image, UnidentifiedImageError

    from st.runtime.pictures.io import FORMATS, encode_picture

    try:
        with Image.open(io.BytesIO(data)) as file:
            name = {"MPO": "jpeg"}.get(file.format or "", (file.format or "").lower())
    except UnidentifiedImageError:  # float samples: see read_picture
        name = "tiff" if data[:2] in (b"II", b"MM") else "png"
    alpha = None if opened.alpha is None else _fitted(opened.alpha, painting)
    picture = replace(opened, rgb=painting, alpha=alpha)
    return encode_picture(picture, name if name in FORMATS else "png")[0]


def _fitted(alpha: Pixels, painting: Pixels) -> Pixels:
    """Alpha at the size of a painting that an engine enlarged."""
    height, width = painting.shape[:2]
    if alpha.shape == (height, width):
        return alpha
    return np.asarray(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
