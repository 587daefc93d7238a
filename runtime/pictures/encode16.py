"""PNG and TIFF with 16 bits a channel, which Pillow reads but does not write in color."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin, TiffTags

from st.runtime.pictures.icc import srgb_profile

END_OF_IHDR = 33  # 8 bytes of signature, 25 of the first chunk


def widen(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """0..255 as 0..65535, exactly: v * 257, so that black, white and every step stay in place."""
    return pixels.astype(np.uint16) * np.uint16(257)


def encode_png(pixels: NDArray[np.uint8], exif: bytes) -> bytes:
    """(H, W, 3 or 4) uint8, RGB or RGBA, as a PNG of 16 bits a channel, tagged sRGB."""
    order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    done, data = cv2.imencode(".png", cv2.cvtColor(widen(pixels), order))
    if not done:
        raise ValueError("the PNG encoder failed")
    png = data.tobytes()
    chunks = _png_chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile()))
    if exif:
        chunks += _png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return png[:END_OF_IHDR] + chunks + png[END_OF_IHDR:]


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode_tiff(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3 or 4) uint8, RGB or RGBA, as a TIFF of 16 bits a channel, tagged sRGB."""
    height, width, channels = pixels.shape
    strip = zlib.compress(widen(pixels).astype("<u2", copy=False).tobytes(), level=3)
    tags = TiffImagePlugin.ImageFileDirectory_v2(ifh=b"II\x2a\x00\0\0\0\0")
    tags[TiffImagePlugin.IMAGEWIDTH] = width
    tags[TiffImagePlugin.IMAGELENGTH] = height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (16,) * channels
    tags[TiffImagePlugin.COMPRESSION] = 8  # Adobe's deflate
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2  # RGB
    tags[TiffImagePlugin.STRIPOFFSETS] = 0  # the pixels follow the directory: tobytes adds its end
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    tags[TiffImagePlugin.ROWSPERSTRIP] = height
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = len(strip)
    if channels == 4:
        tags[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha, colors not multiplied by it
    tags.tagtype[TiffImagePlugin.ICCPROFILE] = TiffTags.UNDEFINED
    tags[TiffImagePlugin.ICCPROFILE] = srgb_profile()
    head = struct.pack("<2sHI", b"II", 42, 8)
    return head + tags.tobytes(len(head)) + strip
