"""TIFF files that Pillow does not decode: float and 32-bit samples, 16-bit gray with alpha.

Each is rewritten in memory as a TIFF with 16 bits per channel, with all of its other tags, so that
orientation, color profile and metadata are treated as in any other file. OpenCV decodes the
samples. For layouts that it rejects (half floats, gray with alpha), the header is first changed to
one channel of integers, and the predictor is undone here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from st.runtime.pictures.quiet_opencv import decode_unchanged
from st.runtime.pictures.tiff_directory import Directory, read_directory, with_directory
from st.runtime.pictures.white_level import to_unit, white_level

WIDTH, HEIGHT, BITS, COMPRESSION, COLOR = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, CHANNELS, ROWS_PER_STRIP, STRIP_BYTES = 273, 274, 277, 278, 279
PLANES, PREDICTOR, TILE_WIDTH, EXTRA, SAMPLE_FORMAT = 284, 317, 322, 338, 339
TILE_TAGS = (TILE_WIDTH, 323, 324, 325)
STORAGE = {HEIGHT, COMPRESSION, STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES, *TILE_TAGS}
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, GRAY, RGB = 0, 1, 2
PREMULTIPLIED, STRAIGHT = 1, 2
COLORS = {WHITE_IS_ZERO: 1, GRAY: 1, RGB: 3}  # color channels
OR_UPDATE = ", or install OpenCV 5 (pip install -U opencv-python-headless)"
MAX_SIDE = 1 << 24  # pixels: a larger side is damage
MAX_BYTES = 1 << 31  # of decoded samples


@dataclass(frozen=True)
class Layout:
    """Samples of a TIFF. channels: including alpha. format: UNSIGNED, SIGNED or FLOAT."""

    directory: Directory
    width: int
    height: int
    channels: int
    bits: int
    format: int
    color: int
    extra: int
    planes: int
    predictor: int
    tile_width: int

    @property
    def words(self) -> str:
        kind = "float" if self.format == FLOAT else "integer"
        channels = f"{self.channels} channel{'s' if self.channels > 1 else ''}"
        return f"TIFF with {channels} of {self.bits}-bit {kind} samples"

    def rewrite(self, data: bytes) -> tuple[bytes, str | None]:
        """Convert a file to 16 bits per channel. Returns it, and a note on its white level or None.

        Raises ValueError: samples that no rule covers, or that OpenCV cannot decode.
        """
        colors = COLORS[self.color]
        if self.channels - colors not in (0, 1) or self.bits not in (16, 32, 64):
            raise ValueError(f"a {self.words}: save it with 8 or 16 bits a channel")
        pixels = self.width * self.height
        if not pixels or max(self.width, self.height) > MAX_SIDE:
            raise ValueError(f"a TIFF of {self.width}×{self.height} pixels")
        if pixels * self.channels * self.bits // 8 > MAX_BYTES:
            raise ValueError(f"a {self.words} of over 2 GB: save it with 16 bits a channel")
        samples = _decoded(data, self)
        color, alpha = samples[..., :colors], samples[..., colors:]
        known = self.format != FLOAT and self.bits == 16
        white = 65535.0 if known else white_level(color)
        unit = to_unit(color, white)
        if self.color == WHITE_IS_ZERO:
            unit = 1 - unit
        if alpha.size:
            cover = to_unit(alpha, 65535.0 if known else white_level(alpha))
            if self.extra == PREMULTIPLIED:
                unit = np.clip(unit / np.maximum(cover, 1e-6), 0, 1)
            unit = np.concatenate([np.broadcast_to(unit, (*unit.shape[:2], 3)), cover], axis=2)
        samples = np.rint(unit * 65535).astype(np.uint16)
        note = white_note(white) if self.format == FLOAT else None
        return _with_samples(data, self.directory, samples), note


def deep_layout(file: BinaryIO) -> Layout | None:
    """The layout of a TIFF that needs `Layout.rewrite`, or None.

    The file's position is kept. Raises ValueError: a damaged directory.
    """
    directory = read_directory(file)
    if directory is None:
        return None
    place = file.tell()

    def first(tag: int, default: int) -> int:
        return directory.integers(file, tag, (default,))[0]

    try:
        bits, channels = first(BITS, 1), first(CHANNELS, 1)
        kind, color = first(SAMPLE_FORMAT, UNSIGNED), first(COLOR, GRAY)
        deep = bits > 16 or kind == FLOAT or (bits == 16 and channels == 2)
        if not deep or color not in COLORS or kind not in (UNSIGNED, SIGNED, FLOAT):
            return None
        size = first(WIDTH, 0), first(HEIGHT, 0)
        rest = first(EXTRA, 0), first(PLANES, 1), first(PREDICTOR, 1), first(TILE_WIDTH, 0)
    finally:
        file.seek(place)
    return Layout(directory, *size, channels, bits, kind, color, *rest)


def tiff_of(samples: NDArray[np.uint16]) -> bytes:
    """A TIFF of (H, W, 1 or 3) samples, gray or RGB, uncompressed."""
    return _with_samples(b"II\x2a\0\0\0\0\0", Directory("<", False, {}), samples)


def white_note(white: float) -> str | None:
    """A note on the assumed white level of float samples; None if it is 1."""
    return None if white == 1 else f"float samples: white is taken to be {white:g}"


def _decoded(data: bytes, layout: Layout) -> NDArray[Any]:
    """(H, W, channels) samples of the file's type; color is gray or RGB."""
    hidden = layout.channels == 2 or (layout.format == FLOAT and layout.bits == 16)
    changes: dict[int, Any] = {ORIENTATION: None}
    if hidden:
        if layout.planes != 1:
            raise ValueError(f"a {layout.words} in separate planes: save it interleaved")
        changes = {tag: None for tag in layout.directory.entries if tag not in STORAGE}
        width = layout.width
        if layout.tile_width:  # rows of the last tiles in full: their predictor needs them
            width = math.ceil(width / layout.tile_width) * layout.tile_width
            changes[TILE_WIDTH] = (layout.tile_width * layout.channels,)
        changes |= {WIDTH: (width * layout.channels,), CHANNELS: (1,), BITS: (layout.bits,)}
        changes |= {SAMPLE_FORMAT: (UNSIGNED,), PREDICTOR: None, EXTRA: None, COLOR: (GRAY,)}
    shown = with_directory(data, layout.directory, changes)
    read = decode_unchanged(shown)
    if read is not None and hidden:
        read = _unhidden(read, layout)
    elif read is not None and read.ndim == 3:
        read = read[..., [2, 1, 0, 3][: read.shape[2]]]
    shape = (layout.height, layout.width, layout.channels)
    if read is None or read.size != math.prod(shape) or _type(layout) != read.dtype:
        mend = "save it with 16 bits a channel" + (OR_UPDATE if _needs_opencv_5(layout) else "")
        raise ValueError(f"a {layout.words} that cannot be decoded: {mend}")
    return read.reshape(shape)


def _needs_opencv_5(layout: Layout) -> bool:
    """Whether this OpenCV is too old for such samples."""
    new = layout.channels == 2 if layout.format == FLOAT else layout.bits == 32
    return new and int(cv2.__version__.partition(".")[0]) < 5


def _type(layout: Layout) -> np.dtype[Any]:
    kind = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}[layout.format]
    return np.dtype(f"{kind}{layout.bits // 8}")


def _unhidden(read: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """(H, width · channels) integers to (H, W, channels) samples, the predictor undone."""
    height, channels = read.shape[0], layout.channels
    across = (layout.tile_width or read.shape[1] // channels) * channels
    rows = np.ascontiguousarray(read).reshape(height, -1, across)  # (H, tiles, samples of a row)
    size = layout.bits // 8
    if layout.predictor == 2:
        steps = rows.reshape(*rows.shape[:2], -1, channels)
        rows = np.cumsum(steps, axis=2, dtype=steps.dtype).reshape(rows.shape)
    elif layout.predictor == 3:  # Adobe's TIFF technical note 3
        if layout.directory.order == ">":
            rows = rows.byteswap()
        stored = rows.view(np.uint8).reshape(height, rows.shape[1], -1, channels)
        planes = np.cumsum(stored, axis=2, dtype=np.uint8).reshape(*rows.shape[:2], size, across)
        rows = np.ascontiguousarray(planes.swapaxes(2, 3)).view(f">u{size}")[..., 0]
    typed = rows.astype(f"=u{size}").view(_type(layout))
    return typed.reshape(height, -1, channels)[:, : layout.width]


def _with_samples(data: bytes, directory: Directory, samples: NDArray[np.uint16]) -> bytes:
    """The file with (H, W, 1, 3 or 4) samples of 16 bits, uncompressed, in place of its own."""
    height, width, channels = samples.shape
    start = len(data) + -len(data) % 8
    pixels = samples.astype(f"{directory.order}u2").tobytes()
    changes: dict[int, Any] = {
        **dict.fromkeys((*TILE_TAGS, PREDICTOR, EXTRA, SAMPLE_FORMAT)),
        WIDTH: (width,),
        HEIGHT: (height,),
        BITS: (16,) * channels,
        COMPRESSION: (1,),
        COLOR: (GRAY if channels == 1 else RGB,),
        STRIP_OFFSETS: (start,),
        CHANNELS: (channels,),
        ROWS_PER_STRIP: (height,),
        STRIP_BYTES: (len(pixels),),
        PLANES: (1,),
    }
    if channels == 4:
        changes[EXTRA] = (STRAIGHT,)
    return with_directory(data + bytes(start - len(data)) + pixels, directory, changes)
