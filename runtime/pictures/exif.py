"""EXIF: the entries of a photograph that are also valid for its painting."""

from __future__ import annotations

from PIL import ExifTags, Image

KEPT = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)
# Not valid for the painting, or offsets into the old file.
DROPPED = (
    ExifTags.Base.MakerNote,
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
)
MAX_BYTES = 65_000  # maximum bytes in one JPEG segment
SRGB = 1
INCH = 2  # resolution unit


def carried_exif(image: Image.Image) -> bytes:
    """EXIF for the painting of `image`: camera, dates, author and place; b"" if there is none.

    Orientation, sizes, thumbnail and maker's notes are left out, because pixels are written upright
    and an old thumbnail would show the photograph. Damaged EXIF data count as none.
    """
    try:
        source, kept = image.getexif(), Image.Exif()
        for tag in KEPT:
            if tag in source:
                kept[tag] = source[tag]
        shot = source.get_ifd(ExifTags.IFD.Exif)
        shot = {tag: value for tag, value in shot.items() if tag not in DROPPED}
        place = source.get_ifd(ExifTags.IFD.GPSInfo)
        if not (kept or shot or place):
            return b""
        if shot:
            kept.get_ifd(ExifTags.IFD.Exif).update(shot | {ExifTags.Base.ColorSpace: SRGB})
        if place:
            kept.get_ifd(ExifTags.IFD.GPSInfo).update(place)
        data = kept.tobytes()
    except Exception:  # Pillow raises many types for damaged data
        return b""
    return data if len(data) <= MAX_BYTES else b""


def with_resolution(exif: bytes, resolution: tuple[float, float] | None) -> bytes:
    """The EXIF data with pixels per inch, for formats that have no other place for them."""
    if resolution is None:
        return exif
    record = Image.Exif()
    if exif:
        record.load(exif)
    record[ExifTags.Base.XResolution], record[ExifTags.Base.YResolution] = resolution
    record[ExifTags.Base.ResolutionUnit] = INCH
    return record.tobytes()
