"""Pictures that claim more than they contain, or that are other files."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.support.hostile.bad_files import Box, kind
from tests.support.hostile.goods import picture

SMALL = Image.fromarray(np.full((8, 8, 3), 90, np.uint8))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, more: bytes = b"", data: bytes | None = None) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000)) if data is None else data
    parts = (chunk(b"IHDR", header), more, chunk(b"IDAT", body), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@kind("picture", often=True)
def png_bomb(box: Box) -> bytes:
    width, height = (int(v) for v in box.random.integers(20_000, 2**31 - 1, 2))
    return png(width, height)


@kind("picture")
def png_bomb_that_is_whole(box: Box) -> bytes:
    """A megapixel per kilobyte: 20,000 × 10,000 pixels of one color."""
    packer = zlib.compressobj(1)
    line = bytes(1 + 3 * 20_000)
    data = b"".join(packer.compress(line) for _ in range(10_000)) + packer.flush()
    return png(20_000, 10_000, data=data)


@kind("picture")
def png_of_no_size(box: Box) -> bytes:
    return png(0, 0)


@kind("picture", usable=True)
def png_with_a_text_bomb(box: Box) -> bytes:
    packed = zlib.compress(bytes(100_000_000), 1)
    return png(8, 8, chunk(b"zTXt", b"comment\0\0" + packed), zlib.compress(bytes(25 * 8)))


@kind("picture", usable=True)
def png_with_a_profile_bomb(box: Box) -> bytes:
    packed = zlib.compress(bytes(100_000_000), 1)
    return png(8, 8, chunk(b"iCCP", b"sRGB\0\0" + packed), zlib.compress(bytes(25 * 8)))


@kind("picture")
def png_chunk_of_two_gigabytes(box: Box) -> bytes:
    return png(8, 8)[:33] + struct.pack(">I", 2**31 - 1) + b"IDATx"


@kind("picture")
def gif_bomb(box: Box) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"," + bytes(9) + b"\x02;"


@kind("picture", often=True)
def bmp_bomb(box: Box) -> bytes:
    width, height = (int(v) for v in box.random.integers(20_000, 2**31 - 1, 2))
    head = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, 0, 0, 0, 0, 0)


@kind("picture")
def ppm_bomb(box: Box) -> bytes:
    return b"P6 99999 99999 255\n" + bytes(1000)


@kind("picture")
def ppm_of_endless_digits(box: Box) -> bytes:
    return b"P6 " + b"9" * 1_000_000


@kind("picture")
def jpeg_bomb(box: Box) -> bytes:
    data = bytearray(picture(SMALL, "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


@kind("picture")
def webp_bomb(box: Box) -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xfe\xff\x7f" + b"\x7f\x00\x00"
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff(entries: list[tuple[int, int, int, int]], after: int = 0) -> bytes:
    """One directory of (tag, type, count, value), and the offset of the next one."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + packed + struct.pack("<I", after) + bytes(200)


TIFF_PICTURE = [(258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 160), (277, 3, 1, 1)]


@kind("picture")
def tiff_bomb(box: Box) -> bytes:
    return tiff([(256, 4, 1, 2**31 - 1), (257, 4, 1, 60_000), *TIFF_PICTURE, (279, 4, 1, 64)])


@kind("picture", usable=True)
def tiff_whose_pages_loop(box: Box) -> bytes:
    return tiff([(256, 4, 1, 8), (257, 4, 1, 8), *TIFF_PICTURE, (279, 4, 1, 64)], after=8)


@kind("picture", usable=True)
def tiff_tag_of_four_gigabytes(box: Box) -> bytes:
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), *TIFF_PICTURE, (279, 4, 1, 64)]
    return tiff([*entries, (34675, 7, 2**32 - 1, 8), (34665, 4, 1, 8)])


@kind("picture")
def jpeg2000_bomb(box: Box) -> bytes:
    data = bytearray(picture(SMALL, "JPEG2000"))
    start = data.index(b"ihdr") + 4
    data[start : start + 8] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    return bytes(data)


@kind("picture")
def float_pixels(box: Box) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(out, "TIFF")
    return out.getvalue()


@kind("picture")
def postscript_that_writes(box: Box) -> bytes:
    """Pillow passes PostScript to Ghostscript, whatever the suffix."""
    order = f"({box.canary}) (w) file closefile showpage"
    return f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{order}\n%%EOF\n".encode()


@kind("picture")
def vector_picture_that_reads(box: Box) -> bytes:
    entity = '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    return f'<?xml version="1.0"?>{entity}<svg width="9" height="9"><text>&x;</text></svg>'.encode()


@kind("picture")
def other_picture_formats(box: Box) -> bytes:
    """Formats whose parsers are rarely reviewed; st reads none of them."""
    forms = (b"8BPS\0\1" + bytes(20), b"SIMPLE  =" + b" " * 71, b"%PDF-1.4\n", b"\0\0\1\0\1\0")
    return forms[box.random.integers(len(forms))] + bytes(300)


@kind("picture", usable=True)
def damaged_records(box: Box) -> bytes:
    """EXIF and color profile are noise; the pixels are intact."""
    out = io.BytesIO()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + box.random.bytes(500)
    SMALL.save(out, "JPEG", exif=exif, icc_profile=box.random.bytes(400))
    return out.getvalue()


@kind("picture", usable=True)
def one_pixel_wide(box: Box) -> bytes:
    out = io.BytesIO()
    Image.new("L", (1, 60_000), 9).save(out, "PNG")
    return out.getvalue()
