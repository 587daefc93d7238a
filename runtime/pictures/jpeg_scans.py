"""Detect JPEG files with thousands of scans, each of which decodes the whole picture again."""

from __future__ import annotations

from PIL import ImageFile

MAX_SCANS = 100  # scans; encoders write at most a dozen, and embedded thumbnails have their own
START = b"\xff\xda"  # marker of a scan; it does not occur within one
PIECE = 1 << 20


def endless(image: ImageFile.ImageFile) -> bool:
    """Whether an opened, not yet loaded image is a JPEG with more than `MAX_SCANS` scans."""
    file = image.fp
    if image.format not in ("JPEG", "MPO") or file is None:
        return False
    place, count, last = file.tell(), 0, b""
    file.seek(0)
    while piece := file.read(PIECE):
        count += (last + piece).count(START)
        last = piece[-1:]
    file.seek(place)
    return count > MAX_SCANS
