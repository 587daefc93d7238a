"""Valid pictures with traps: endless pages, scans, frames and metadata."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.support.hostile.bad_files import Box, kind
from tests.support.hostile.bad_pictures import SMALL, TIFF_PICTURE, chunk, tiff
from tests.support.hostile.goods import picture


def saved(image: Image.Image, form: str, **how: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **how)  # type: ignore[arg-type]
    return out.getvalue()


@kind("picture")
def jpeg_of_endless_scans(box: Box) -> bytes:
    """Progressive JPEG: each scan is a few bytes, and visits all pixels again."""
    whole = saved(Image.new("L", (6000, 6000)), "JPEG", progressive=True)
    start = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[start:-2] * 3000 + whole[-2:]


@kind("picture", usable=True)
def jpeg_of_a_thousand_records(box: Box) -> bytes:
    whole = picture(SMALL, "JPEG")
    record = b"\xff\xe1" + struct.pack(">H", 65_000) + b"Exif\0\0" + bytes(64_992)
    return whole[:2] + record * 300 + whole[2:]


@kind("picture", usable=True)
def record_that_points_to_itself(box: Box) -> bytes:
    entries = struct.pack("<HHHII", 2, 0x8769, 4, 1, 8) + struct.pack("<HHII", 0x8825, 4, 1, 8)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + entries + struct.pack("<I", 8)
    return saved(SMALL, "JPEG", exif=exif)


@kind("picture", usable=True)
def record_of_four_gigabytes(box: Box) -> bytes:
    entry = struct.pack("<HHHII", 1, 0x010E, 2, 2**32 - 1, 26) + struct.pack("<I", 0)
    return saved(SMALL, "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0" + entry)


@kind("picture", usable=True)
def cmyk_with_a_broken_profile(box: Box) -> bytes:
    good = b"\0\0\2\x0c" + b"lcms\4 \0\0prtrCMYKLab " + bytes(100)
    profile = good if box.random.integers(2) else good[:30] + box.random.bytes(500)
    return saved(SMALL.convert("CMYK"), "JPEG", icc_profile=profile)


@kind("picture", usable=True)
def profile_of_another_space(box: Box) -> bytes:
    profile = bytearray(128)
    profile[16:20] = (b"GRAY", b"CMYK", b"HSV ", b"\x1b[2J")[box.random.integers(4)]
    return saved(SMALL, "PNG", icc_profile=bytes(profile))


@kind("picture", usable=True)
def gif_of_ten_thousand_frames(box: Box) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, 8, 8, 0) + b"\x02\x02\x44\x01\0"
    palette = bytes(12)
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x81, 0, 0) + palette + frame * 10_000 + b";"


@kind("picture")
def gif_whose_frame_is_larger(box: Box) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65_000, 65_000, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x81, 0, 0) + bytes(12) + frame + b";"


@kind("picture", usable=True)
def png_of_endless_frames(box: Box) -> bytes:
    """An APNG that claims four billion frames."""
    whole = saved(SMALL, "PNG")
    control = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    frame = struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0)
    return whole[:33] + control + chunk(b"fcTL", frame) + whole[33:]


@kind("picture", usable=True)
def png_frame_outside_the_picture(box: Box) -> bytes:
    whole = saved(SMALL, "PNG")
    control = chunk(b"acTL", struct.pack(">II", 2, 0))
    frame = struct.pack(">IIIIIHHBB", 0, 2**30, 2**30, 2**30, 7, 1, 1, 0, 0)
    return whole[:33] + control + chunk(b"fcTL", frame) + whole[33:]


@kind("picture", usable=True)
def palette_that_is_too_short(box: Box) -> bytes:
    header = struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, int(box.random.integers(2)))
    parts = chunk(b"IHDR", header) + chunk(b"PLTE", b"\1\2\3") + chunk(b"tRNS", bytes(999))
    pixels = zlib.compress(bytes([0, 9, 200, 255, 1]) * 4)
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@kind("picture", usable=True)
def deep_picture(box: Box) -> bytes:
    """An intact 16-bit picture, with or without transparency."""
    colors = int(box.random.choice([2, 6]))
    row = b"\0" + box.random.bytes(5 * 2 * (colors // 2 + 1 if colors == 6 else 3))
    header = struct.pack(">IIBBBBB", 5, 5, 16, colors, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 5)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@kind("picture")
def tiff_of_huge_tiles(box: Box) -> bytes:
    tiles = [(322, 4, 1, 2**31), (323, 4, 1, 2**31), (324, 4, 1, 160), (325, 4, 1, 64)]
    return tiff([(256, 4, 1, 8), (257, 4, 1, 8), *TIFF_PICTURE[:3], (277, 3, 1, 1), *tiles])


@kind("picture", usable=True)
def tiff_of_many_samples(box: Box) -> bytes:
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), *TIFF_PICTURE[:4], (277, 3, 1, 65_535)]
    return tiff([*entries, (279, 4, 1, 64)])


@kind("picture", usable=True)
def tiff_of_a_hundred_thousand_pages(box: Box) -> bytes:
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), *TIFF_PICTURE, (279, 4, 1, 64)]
    packed = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries)
    data = b"II*\0" + struct.pack("<I", 8)
    for page in range(100_000):
        data_end = 8 + (page + 1) * (len(packed) + 4)
        data += packed + struct.pack("<I", data_end if page < 99_999 else 0)
        if page == 999:  # then back to the first: endless
            return data[:-4] + struct.pack("<I", 8) + bytes(200)
    return data


@kind("picture")
def avif_bomb(box: Box) -> bytes:
    data = bytearray(saved(SMALL, "AVIF"))
    start = data.index(b"ispe") + 8
    data[start : start + 8] = struct.pack(">II", 65_536, 65_536)
    return bytes(data)


@kind("picture", usable=True)
def pictures_in_motion(box: Box) -> bytes:
    form = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")[box.random.integers(5)]
    frames = [Image.new("RGB", (16, 16), (n * 20, 0, 0)) for n in range(5)]
    return saved(frames[0], form, save_all=True, append_images=frames[1:])


@kind("picture")
def pictures_of_other_trades(box: Box) -> bytes:
    """OpenEXR, JPEG XL, QOI, icons, DirectDraw, FITS, Windows metafiles, cursors."""
    starts = (
        b"\x76\x2f\x31\x01\x02\0\0\0",
        b"\xff\x0a\xfa\x1f",
        b"qoif\0\0\0\x08\0\0\0\x08\x04\0",
        b"icns\0\0\1\0",
        b"DDS |\0\0\0",
        b"SIMPLE  =                    T",
        b"\xd7\xcd\xc6\x9a\0\0",
        b"\0\0\2\0\1\0",
        b"BLP2",
        b"\x0a\x05\x01\x08",
    )
    return starts[box.random.integers(len(starts))] + box.random.bytes(500)


@kind("picture", usable=True)
def one_pixel(box: Box) -> bytes:
    mode = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")[box.random.integers(7)]
    return saved(Image.new(mode, (1, 1)), "PNG")


@kind("picture", usable=True)
def wholly_transparent(box: Box) -> bytes:
    pixels = box.random.integers(0, 256, (9, 9, 4), np.uint8)
    pixels[..., 3] = 0
    return saved(Image.fromarray(pixels), "WEBP", lossless=True)
