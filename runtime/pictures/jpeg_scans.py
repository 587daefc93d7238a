"""How often a JPEG goes over its pixels: a progressive one does so for a few bytes each time."""

from __future__ import annotations

from PIL import ImageFile

MOST = 100  # encoders write a dozen at most; thumbnails and second views have their own
START = b"\xff\xda"  # of a scan; within one no 0xff is followed by 0xda
PIECE = 1 << 20


def endless(image: ImageFile.ImageFile) -> bool:
    """Whether it is a JPEG of over `MOST` scans, made to take for ever; before it is loaded."""
    file = image.fp
    if image.format not in ("JPEG", "MPO") or file is None:
        return False
    place, count, last = file.tell(), 0, b""
    file.seek(0)
    while piece := file.read(PIECE):
        count += (last + piece).count(START)
        last = piece[-1:]
    file.seek(place)
    return count > MOST
