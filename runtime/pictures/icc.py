"""ICC profiles: convert pictures to sRGB, which the engines are trained on."""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image, ImageCms


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """The sRGB profile of written pictures; always the same bytes."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes((7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0))  # date of creation: 2000-01-01
    return bytes(profile)


def to_srgb(image: Image.Image) -> tuple[Image.Image, str | None]:
    """Convert an opaque picture of mode L, RGB, CMYK or LAB to sRGB; also a warning or None.

    A picture without a profile counts as sRGB. So does one whose profile is damaged or is for
    another color space, with a warning.
    """
    data = image.info.get("icc_profile")
    if image.mode == "LAB":
        return _converted(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))), None
    if not data:
        return _plain(image), None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = data[16:20].decode("ascii").strip()  # of the profile's header: RGB, GRAY, CMYK
        if space == "RGB" and ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return _plain(image), None
        if space == "RGB" and image.mode == "L":  # gray PNGs with an RGB monitor profile are common
            image = image.convert("RGB")
        if space != {"L": "GRAY"}.get(image.mode, image.mode):
            return _plain(image), f"its color profile is for {space} pictures: not used"
        return _converted(image, profile), None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return _plain(image), "its color profile is damaged: taken as sRGB"


def _plain(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")  # convert always copies


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # only with inPlace
    return converted
