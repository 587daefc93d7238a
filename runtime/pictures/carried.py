"""Metadata of a picture file that is also valid for its painting."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image, PngImagePlugin

MAX_XMP = 65_000  # maximum bytes in one segment of a JPEG
MAX_TEXT = 1 << 20  # maximum characters of all texts of a PNG together
MAX_COMMENT = 65_533  # maximum bytes of a JPEG's comment
XMP_KEY = "XML:com.adobe.xmp"  # the key of the PNG text for XMP
XMP_TAG = 700  # of TIFF
STALE = ("Raw profile type", "Thumb::", "date:")  # PNG texts that describe the old file


@dataclass(frozen=True)
class Carried:
    """Metadata to write with a painting, beside EXIF.

    xmp: a packet; b"" for none. comment: of a JPEG or GIF; b"" for none.
    resolution: pixels per inch, horizontal and vertical.
    text: (key, value) pairs of a PNG.
    """

    xmp: bytes = b""
    comment: bytes = b""
    resolution: tuple[float, float] | None = None
    text: tuple[tuple[str, str], ...] = ()


def carried_metadata(image: Image.Image) -> Carried:
    """The metadata of a loaded image, turned upright. (A PNG may have texts after the pixels.)"""
    info = image.info
    xmp = _bytes(info.get("xmp")).rstrip(b"\0")
    return Carried(
        xmp if len(xmp) <= MAX_XMP else b"",
        _bytes(info.get("comment"))[:MAX_COMMENT],
        _resolution(info),
        _text(image),
    )


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "replace") if isinstance(value, str) else b""


def _resolution(info: Mapping[Any, Any]) -> tuple[float, float] | None:
    with suppress(TypeError, ValueError, KeyError, ZeroDivisionError, OverflowError):
        across, down = (float(value) for value in info["dpi"])
        if 0 < across < 1e6 and 0 < down < 1e6:
            return across, down
    return None


def _text(image: Image.Image) -> tuple[tuple[str, str], ...]:
    pairs = getattr(image, "text", {}).items()
    found = [(str(k), str(v)) for k, v in pairs if k != XMP_KEY and not k.startswith(STALE)]
    return tuple(found) if sum(len(value) for _, value in found) <= MAX_TEXT else ()


def save_settings(carried: Carried, format: str) -> tuple[dict[str, Any], list[str]]:
    """Settings for Pillow's save, and a line for each item that the format cannot store.

    format: its name in Pillow.
    """
    settings: dict[str, Any] = {}
    left_out = []
    if carried.resolution and format in ("JPEG", "PNG", "TIFF", "BMP"):
        settings["dpi"] = carried.resolution
    if format == "PNG":
        settings["pnginfo"] = _png_info(carried)
    elif carried.xmp and format == "TIFF":
        settings["tiffinfo"] = {XMP_TAG: carried.xmp}
    elif carried.xmp and format == "BMP":
        left_out.append("XMP")
    elif carried.xmp:
        settings["xmp"] = carried.xmp
    if format == "JPEG" and (comment := _comment(carried)):
        settings["comment"] = comment
    elif (carried.text or carried.comment) and format not in ("PNG", "JPEG"):
        left_out.append("text")
    return settings, [f"{format} cannot hold the picture's {what}: left out" for what in left_out]


def _comment(carried: Carried) -> bytes:
    """The comment of a JPEG: the file's own, or the texts of a PNG, one a line."""
    lines = "\n".join(f"{key}: {value}" for key, value in carried.text)
    return carried.comment or lines.encode("utf-8", "replace")[:MAX_COMMENT]


def png_texts(carried: Carried) -> list[tuple[str, str]]:
    """The texts of a PNG: the file's own, or the comment of a JPEG; and XMP."""
    found = list(carried.text)
    if carried.comment and not found:
        found.append(("Comment", carried.comment.decode("utf-8", "replace")))
    if carried.xmp:
        found.append((XMP_KEY, carried.xmp.decode("utf-8", "replace")))
    return found


def _png_info(carried: Carried) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for key, value in png_texts(carried):
        with suppress(ValueError):  # a key that no PNG may have
            if key == XMP_KEY or not _is_latin(key + value):
                info.add_itxt(key, value)
            else:
                info.add_text(key, value)
    return info


def _is_latin(text: str) -> bool:
    """Whether a tEXt chunk can hold the text; iTXt holds all others."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
