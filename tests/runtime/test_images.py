"""Reading and writing unusual picture files."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import ExifTags, Image

from st.runtime.errors import BadInput, StError
from st.runtime.pictures import io as images
from st.runtime.pictures.icc import srgb_profile
from st.runtime.pictures.io import Picture, encode_picture, read_picture, resized, write_picture

RED, GREEN, BLUE, GRAY = (220, 30, 40), (30, 200, 60), (20, 60, 230), (128, 128, 128)


def flags() -> np.ndarray:
    """(24, 40, 3): four differently colored fields, so that every rotation and flip is visible."""
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:12, :20], pixels[:12, 20:], pixels[12:, :20], pixels[12:, 20:] = RED, GREEN, BLUE, GRAY
    return pixels


def corners(rgb: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(int(v) for v in rgb[y, x]) for y in (2, -3) for x in (2, -3)]


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def wide_gamut_profile() -> bytes:
    """A matrix profile with Display P3's primaries and a gamma of 2.2."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249),
        b"rXYZ": b"XYZ \0\0\0\0" + fixed(0.5151, 0.2412, -0.0011),
        b"gXYZ": b"XYZ \0\0\0\0" + fixed(0.2920, 0.6922, 0.0419),
        b"bXYZ": b"XYZ \0\0\0\0" + fixed(0.1571, 0.0666, 0.7841),
    }
    for curve in (b"rTRC", b"gTRC", b"bTRC"):
        tags[curve] = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256))
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = bytearray(128)
    head[0:4] = struct.pack(">I", start + len(body))
    head[8:12] = bytes((2, 16, 0, 0))
    head[12:24] = b"mntrRGB XYZ "
    head[36:40] = b"acsp"
    head[68:80] = fixed(0.9642, 1.0, 0.8249)
    return bytes(head) + table + body


# --- orientation and the record


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied(form: str, orientation: int) -> None:
    # What a camera held so stores: the inverse of the turn that the tag asks viewers for.
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(flags())
    if orientation > 1:
        stored = stored.transpose(inverse[orientation])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {} if form in ("PNG", "TIFF") else {"quality": 95}
    picture = read_picture(saved(stored, form, exif=exif, **options))
    assert picture.rgb.shape == (24, 40, 3)
    assert np.abs(np.subtract(corners(picture.rgb), corners(flags()))).max() <= 12
    again = Image.open(io.BytesIO(encode_picture(picture, "jpeg")[0]))
    assert again.size == (40, 24)
    assert again.getexif().get(ExifTags.Base.Orientation, 1) == 1


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif"])
def test_exif_is_kept_without_outdated_tags(form: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Orientation] = 6
    shot = exif.get_ifd(ExifTags.IFD.Exif)
    shot[ExifTags.Base.DateTimeOriginal] = "2020:01:02 03:04:05"
    shot[ExifTags.Base.ExifImageWidth] = 9999
    shot[ExifTags.Base.MakerNote] = b"secret"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    picture = read_picture(saved(Image.fromarray(flags()), "JPEG", exif=exif))
    got = Image.open(io.BytesIO(encode_picture(picture, form)[0])).getexif()
    assert got[ExifTags.Base.Make] == "Maker"
    assert ExifTags.Base.Orientation not in got
    shot = got.get_ifd(ExifTags.IFD.Exif)
    assert shot[ExifTags.Base.DateTimeOriginal] == "2020:01:02 03:04:05"
    assert ExifTags.Base.ExifImageWidth not in shot
    assert ExifTags.Base.MakerNote not in shot
    assert got.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


def test_tiff_exif_is_kept_without_the_layout_tags() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Somebody"
    picture = read_picture(saved(Image.fromarray(flags()), "TIFF", exif=exif))
    got = Image.open(io.BytesIO(encode_picture(picture, "jpeg")[0])).getexif()
    assert dict(got) == {ExifTags.Base.Artist: "Somebody"}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_prevent_reading() -> None:
    jpeg = saved(Image.fromarray(flags()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(9))
    assert read_picture(jpeg).rgb.shape == (24, 40, 3)


# --- color


def test_wide_gamut_is_converted_and_the_output_tagged() -> None:
    profile = wide_gamut_profile()
    stored = np.full((8, 8, 3), (100, 180, 90), np.uint8)
    picture = read_picture(saved(Image.fromarray(stored), "PNG", icc_profile=profile))
    # By the definition: decode, P3 to XYZ (D50), XYZ to linear sRGB, encode.
    to_xyz = np.array(
        [[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]]
    )
    srgb_to_xyz = np.array(
        [[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]]
    )
    linear = np.linalg.inv(srgb_to_xyz) @ to_xyz @ (stored[0, 0] / 255) ** 2.2
    expected = 255 * np.where(
        linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear
    )
    assert np.abs(picture.rgb[4, 4] - expected).max() <= 2
    assert np.abs(picture.rgb[4, 4].astype(int) - stored[0, 0]).max() > 10
    for form in ("jpeg", "png", "webp", "tiff", "avif"):
        tag = Image.open(io.BytesIO(encode_picture(picture, form)[0])).info["icc_profile"]
        assert tag == srgb_profile()


def test_srgb_tagged_pixels_are_untouched() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
    png = saved(Image.fromarray(pixels), "PNG", icc_profile=srgb_profile())
    assert (read_picture(png).rgb == pixels).all()


@pytest.mark.parametrize(
    ("profile", "words"),
    [(b"not a profile at all" * 20, "damaged"), ("GRAY", "for GRAY pictures")],
)
def test_an_unusable_profile_gives_a_warning(profile: bytes | str, words: str) -> None:
    if isinstance(profile, str):
        changed = bytearray(wide_gamut_profile())
        changed[16:20] = profile.encode()
        profile = bytes(changed)
    picture = read_picture(saved(Image.fromarray(flags()), "PNG", icc_profile=profile))
    assert (picture.rgb == flags()).all()
    assert len(picture.warnings) == 1
    assert words in picture.warnings[0]


def test_gray_with_a_monitor_profile_stays_gray() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    picture = read_picture(saved(Image.fromarray(ramp), "PNG", icc_profile=wide_gamut_profile()))
    assert (picture.rgb.max(axis=2).astype(int) - picture.rgb.min(axis=2) <= 1).all()
    assert not picture.warnings


def test_cmyk_jpegs_keep_red() -> None:
    cmyk = Image.fromarray(flags()).convert("CMYK")
    assert (
        np.abs(np.subtract(corners(read_picture(saved(cmyk, "JPEG")).rgb), corners(flags()))).max()
        < 12
    )


def test_lab_tiff_is_converted() -> None:
    lab = Image.new("LAB", (8, 8), (0x88, 128, 128))  # L* of 53.3, a neutral mid gray
    pixel = read_picture(saved(lab, "TIFF")).rgb[3, 3]
    assert np.abs(pixel.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "I;16"])
def test_every_mode_is_read_as_opaque_rgb(mode: str) -> None:
    image = Image.fromarray(flags())
    image = (
        Image.fromarray(np.full((24, 40), 30000, np.uint16))
        if mode == "I;16"
        else image.convert(mode)
    )
    # Pillow before 13 writes uncompressed YCbCr files that it cannot read itself.
    more = {"compression": "tiff_lzw"} if mode == "YCbCr" else {}
    picture = read_picture(saved(image, "TIFF", **more))
    assert picture.rgb.dtype == np.uint8
    assert picture.rgb.shape == (24, 40, 3)
    assert picture.alpha is None


# --- transparency


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L+tRNS", "RGB+tRNS"])
def test_every_kind_of_transparency_is_kept(mode: str) -> None:
    shape = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    shape.paste((*RED, 255), (0, 0, 8, 16))
    if mode in ("RGBA", "LA"):
        data = saved(shape.convert(mode), "PNG")
    elif mode == "P":
        data = saved(shape.quantize(4), "GIF", transparency=shape.quantize(4).getpixel((12, 4)))
    else:
        data = saved(
            shape.convert(mode[:-5]), "PNG", transparency=0 if mode[0] == "L" else (0, 0, 0)
        )
    picture = read_picture(data)
    assert picture.alpha is not None
    assert (picture.alpha[:, :8] == 255).all()
    assert (picture.alpha[:, 8:] == 0).all()
    # The network meets no black hole beside the shape, but the shape's own mean color.
    assert np.abs(picture.rgb[4, 12].astype(int) - picture.rgb[4, 4]).max() <= 1


def test_partial_transparency_has_straight_alpha() -> None:
    rgba = np.dstack([flags(), np.full((24, 40), 100, np.uint8)])
    picture = read_picture(saved(Image.fromarray(rgba), "PNG"))
    assert (picture.rgb == flags()).all()
    assert picture.alpha is not None
    assert (picture.alpha == 100).all()


def test_opaque_alpha_is_dropped_and_a_hidden_picture_is_gray() -> None:
    assert read_picture(saved(Image.new("RGBA", (4, 4), (9, 8, 7, 255)), "PNG")).alpha is None
    hidden = read_picture(saved(Image.new("RGBA", (4, 4), (9, 8, 7, 0)), "PNG"))
    assert (hidden.rgb == 128).all()


@pytest.mark.parametrize("form", ["jpeg", "bmp"])
def test_formats_without_transparency_composite_on_white_with_a_warning(form: str) -> None:
    picture = Picture(np.full((8, 8, 3), 50, np.uint8), np.zeros((8, 8), np.uint8))
    data, warnings = encode_picture(picture, form)
    assert (np.asarray(Image.open(io.BytesIO(data))) == 255).all()
    assert len(warnings) == 1
    assert "no transparency" in warnings[0]


# --- 16 bits


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bit_pictures_are_written_with_sixteen_bits(
    tmp_path: Path, suffix: str, channels: int
) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 65536, (20, 30, channels), np.uint16)
    values[..., 3:] |= 0x0100  # what is wholly transparent has no color of its own
    source = tmp_path / f"in.{suffix}"
    assert cv2.imwrite(str(source), values)
    picture = read_picture(source)
    assert picture.bits == 16
    rgb = values[..., 2::-1] if channels > 1 else values.repeat(3, axis=2)
    assert np.abs(picture.rgb - rgb / 257).max() <= 1
    target = tmp_path / f"out.{suffix}"
    assert write_picture(picture, target) == ()
    got = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert got is not None
    assert got.dtype == np.uint16
    assert (got[..., 2::-1] == picture.rgb * np.uint16(257)).all()
    if channels == 4:
        assert picture.alpha is not None
        assert (got[..., 3] == picture.alpha * np.uint16(257)).all()
    with Image.open(target) as again:
        assert again.info["icc_profile"] == srgb_profile()
    assert read_picture(target).bits == 16


def test_sixteen_bit_png_keeps_its_exif_and_jpeg_warns_of_the_loss() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    picture = Picture(flags(), bits=16, exif=exif.tobytes())
    with Image.open(io.BytesIO(encode_picture(picture, "png")[0])) as image:
        assert image.getexif()[ExifTags.Base.Make] == "Maker"
    assert "no 16-bit" in encode_picture(picture, "jpeg")[1][0]


def test_float_pixels_without_a_known_white_give_one_line() -> None:
    assert (read_picture(saved(Image.new("F", (4, 4), 0.5), "TIFF")).rgb == 128).all()
    with pytest.raises(BadInput, match=r"^picture: samples up to 1e\+06: save it"):
        read_picture(saved(Image.new("F", (4, 4), 1e6), "TIFF"))
    with pytest.raises(BadInput, match=r"^picture: no sample is a number"):
        read_picture(saved(Image.new("F", (4, 4), float("nan")), "TIFF"))


# --- round trips


@settings(max_examples=40, deadline=None)
@given(
    rgb=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20).map(lambda s: (*s, 3))),
    form=some.sampled_from(["png", "tiff", "bmp"]),
    bits=some.sampled_from([8, 16]),
    data=some.data(),
)
def test_lossless_formats_return_every_pixel(
    rgb: np.ndarray, form: str, bits: int, data: some.DataObject
) -> None:
    alpha = None
    if form != "bmp" and data.draw(some.booleans()):
        alpha = data.draw(arrays(np.uint8, rgb.shape[:2]))
    again = read_picture(encode_picture(Picture(rgb, alpha, bits), form)[0])
    shown = np.ones(rgb.shape[:2], bool) if alpha is None else alpha > 0
    assert (again.rgb[shown] == rgb[shown]).all()
    assert again.bits == (8 if form == "bmp" else bits)
    if alpha is None or alpha.min() == 255:
        assert again.alpha is None
    else:
        assert again.alpha is not None
        assert (again.alpha == alpha).all()


@settings(max_examples=60, deadline=None)
@given(
    cut=some.floats(0, 1),
    seed=some.integers(0, 2**16),
    form=some.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF"]),
)
def test_damaged_files_are_read_or_give_one_line(cut: float, seed: int, form: str) -> None:
    rng = np.random.default_rng(seed)
    good = bytearray(saved(Image.fromarray(flags()), form))
    for _ in range(4):
        good[rng.integers(len(good))] = rng.integers(256)
    said = ""
    try:
        read_picture(bytes(good[: max(1, round(cut * len(good)))]), max_pixels=1_000_000)
    except BadInput as error:
        said = str(error)
    assert "\n" not in said


@given(
    width=some.integers(1, 60),
    height=some.integers(1, 60),
    longest=some.integers(1, 90),
)
@settings(deadline=None)
def test_resize_gives_the_requested_longer_side(width: int, height: int, longest: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    picture = resized(Picture(pixels, pixels[..., 0]), longest)
    assert max(picture.rgb.shape[:2]) == longest
    assert picture.alpha is not None
    assert picture.alpha.shape == picture.rgb.shape[:2]


# --- bad input


def test_an_animation_gives_its_first_frame_with_a_warning() -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in (RED, GREEN)]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        picture = read_picture(saved(frames[0], form, save_all=True, append_images=frames[1:]))
        assert np.abs(picture.rgb[4, 4].astype(int) - RED).max() <= 8, form
        assert "only the first" in picture.warnings[0], form


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"just a letter to grandmother", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "not a picture"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"MM\0\x2b\0\x08\0\0" + bytes(40), "big-endian BigTIFF.*save it as a little-endian"),
        (b"v/1\x01\x02\0\0\0channels\0" + bytes(40), "OpenEXR.*save it as TIFF or Radiance HDR"),
        (b"8BPS\0\x01" + bytes(40), "Photoshop files.*save it as TIFF or PNG"),
        (None, "no such file"),
    ],
)
def test_files_that_are_no_picture_give_one_line(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=words) as caught:
        read_picture(path)
    assert "bad.png" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"])
def test_a_truncated_file_is_refused(form: str) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    whole = saved(Image.fromarray(pixels), form)
    with pytest.raises(BadInput):
        read_picture(whole[: len(whole) // 2])


def test_a_folder_and_a_name_with_a_nul_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder"):
        read_picture(tmp_path)
    with pytest.raises(BadInput, match="no such file"):
        read_picture(Path("a\0b.png"))


def bomb(side: int) -> bytes:
    """A real PNG of side × side white 1-bit pixels, in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer, row = zlib.compressobj(9), b"\0" + b"\xff" * ((side + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_decompression_bombs_are_refused_by_their_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(32_000))
    assert path.stat().st_size < 200_000
    script = """
import re, sys
from pathlib import Path
from st.runtime.pictures.io import read_picture
from st.runtime.errors import BadInput
try:
    read_picture(sys.argv[1])
except BadInput as error:
    assert "1024 megapixels, more than the 178 allowed" in str(error), error
    # Not getrusage: its peak outlives exec, so it would be that of the tests that started this.
    peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
    print(int(peak[1]) / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) <= 200


def test_the_pixel_limit_can_be_lowered_and_raised() -> None:
    png = bomb(500)
    with pytest.raises(BadInput, match="megapixels"):
        read_picture(png, max_pixels=249_999)
    assert read_picture(png, max_pixels=250_000).rgb.min() == 255


def test_the_pixel_limit_may_exceed_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_picture(bomb(300)).rgb.shape == (300, 300, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000


# --- writing


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "good.png"
    write_picture(Picture(flags()), path)
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StError, match="No space left"):
        write_picture(Picture(255 - flags()), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["good.png"]


def test_unsupported_output_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"st writes .*\.png"):
        write_picture(Picture(flags()), tmp_path / "out.gif")
    with pytest.raises(BadInput, match="no such folder"):
        write_picture(Picture(flags()), tmp_path / "nowhere" / "out.png")
    with pytest.raises(BadInput, match="try PNG"):
        write_picture(Picture(np.zeros((1, 16_500, 3), np.uint8)), tmp_path / "long.webp")


def test_quality_changes_the_size_and_streams_can_be_written() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    for form in ("jpeg", "webp", "avif"):
        low, high = (len(encode_picture(Picture(pixels), form, q)[0]) for q in (20, 95))
        assert low < high
    stream = io.BytesIO()
    write_picture(Picture(pixels), stream)
    assert (read_picture(stream.getvalue()).rgb == pixels).all()
    stream.seek(0)
    assert (read_picture(stream).rgb == pixels).all()


def test_the_formats_table_matches_pillow() -> None:
    Image.init()
    for form in images.FORMATS.values():
        assert form.name in Image.SAVE
