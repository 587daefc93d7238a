"""Encode PNG and TIFF with 16 bits per channel, which Pillow does not write in color."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from st.runtime.pictures.carried import XMP_TAG, Carried, png_texts
from st.runtime.pictures.icc import srgb_profile

END_OF_IHDR = 33  # 8 bytes of signature, 25 of the first chunk
INCH = 0.0254  # meters
POINTERS = {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}  # pointers to directories that are not written


def widen(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """0..255 to 0..65535 as v * 257, so that black, white and all steps are exact."""
    return pixels.astype(np.uint16) * np.uint16(257)


def encode_png(pixels: NDArray[np.uint8], exif: bytes, carried: Carried) -> bytes:
    """(H, W, 3 or 4) uint8, RGB or RGBA, to a PNG with 16 bits per channel, tagged sRGB."""
    order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    done, data = cv2.imencode(".png", cv2.cvtColor(widen(pixels), order))
    if not done:
        raise ValueError("the PNG encoder failed")
    png = data.tobytes()
    chunks = _png_chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile()))
    if exif:
        chunks += _png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    if carried.resolution:
        across, down = (round(value / INCH) for value in carried.resolution)
        chunks += _png_chunk(b"pHYs", struct.pack(">IIB", across, down, 1))
    for key, value in png_texts(carried):
        name = key.encode("latin-1", "replace")[:79]
        chunks += _png_chunk(b"iTXt", name + b"\0\0\0\0\0" + value.encode("utf-8", "replace"))
    return png[:END_OF_IHDR] + chunks + png[END_OF_IHDR:]


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode_tiff(pixels: NDArray[np.uint8], exif: bytes, carried: Carried) -> bytes:
    """(H, W, 3 or 4) uint8, RGB or RGBA, to a TIFF with 16 bits per channel, tagged sRGB."""
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
        tags[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha, not premultiplied
    _add_metadata(tags, exif, carried)
    tags.tagtype[TiffImagePlugin.ICCPROFILE] = TiffTags.UNDEFINED
    tags[TiffImagePlugin.ICCPROFILE] = srgb_profile()
    head = struct.pack("<2sHI", b"II", 42, 8)
    return head + tags.tobytes(len(head)) + strip


def _add_metadata(
    tags: TiffImagePlugin.ImageFileDirectory_v2, exif: bytes, carried: Carried
) -> None:
    """Add what Pillow would: resolution, XMP, and the EXIF entries of the main directory."""
    if exif:
        record = Image.Exif()
        record.load(exif)
        for tag, value in record.items():
            if tag not in tags and tag not in POINTERS:
                tags[tag] = value
    if carried.resolution:
        tags[TiffImagePlugin.X_RESOLUTION], tags[TiffImagePlugin.Y_RESOLUTION] = carried.resolution
        tags[TiffImagePlugin.RESOLUTION_UNIT] = 2  # inch
    if carried.xmp:
        tags.tagtype[XMP_TAG] = TiffTags.BYTE
        tags[XMP_TAG] = carried.xmp
