"""Runtime and training read all sample types and channel layouts equally."""

from __future__ import annotations

import contextlib
import io
import itertools
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some
from PIL import ExifTags, Image

from st.runtime.errors import BadInput
from st.runtime.pictures import deep_tiff
from st.runtime.pictures.batch import plan
from st.runtime.pictures.io import Picture, TooManyPixels, encode_picture, read_picture
from st.runtime.pictures.white_level import to_unit, white_level

tifffile = pytest.importorskip("tifffile")

CHANNELS = {"gray": [0], "gray+alpha": [0, 3], "RGB": [0, 1, 2], "RGBA": [0, 1, 2, 3]}
WHITE = {"u1": 255, "u2": 65535, "u4": 2**32 - 1, "f2": 1, "f4": 1, "f8": 1}


def colors() -> np.ndarray:
    """(30, 50, 4) in 0..1. No pixel is fully transparent, since those change color."""
    unit = np.random.default_rng(5).random((30, 50, 4))
    unit[..., 3] = np.linspace(0.2, 0.9, 50)
    return unit


def stored(unit: np.ndarray, layout: str, kind: str) -> np.ndarray:
    samples = unit[..., CHANNELS[layout]] * WHITE[kind]
    return (np.rint(samples) if kind[0] == "u" else samples).astype(kind)


def png_of(samples: np.ndarray) -> bytes:
    """A PNG of (H, W, 1 to 4) uint8 or uint16. No library here writes all of these layouts."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, channels = samples.shape
    bits, color = 8 * samples.itemsize, {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(
        b"\0" + row.astype(samples.dtype.newbyteorder(">")).tobytes() for row in samples
    )
    head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff_of(samples: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    gray, alpha = samples.shape[2] < 3, samples.shape[2] % 2 == 0
    tifffile.imwrite(
        out,
        samples[..., 0] if samples.shape[2] == 1 else samples,
        photometric="minisblack" if gray else "rgb",
        planarconfig=None if samples.shape[2] == 1 else "contig",
        extrasamples=["unassalpha"] if alpha else None,
        **options,
    )
    return out.getvalue()


def needs_opencv_5(data: bytes) -> None:
    """OpenCV 4 decodes no TIFF of 32-bit integers, nor of gray with alpha in floats."""
    if cv2.__version__ < "5":
        with pytest.raises(BadInput, match=r"cannot be decoded: .* or install OpenCV 5"):
            read_picture(data)
        pytest.skip(f"OpenCV {cv2.__version__} does not decode this kind of TIFF")


def check(picture: Picture, unit: np.ndarray, layout: str, bits: int) -> None:
    color = unit[..., :1].repeat(3, 2) if layout.startswith("gray") else unit[..., :3]
    assert np.abs(picture.rgb - 255 * color).max() <= 1.01
    assert picture.bits == bits
    if 3 in CHANNELS[layout]:
        assert picture.alpha is not None
        assert np.abs(picture.alpha - 255 * unit[..., 3]).max() <= 1.01
    else:
        assert picture.alpha is None
    assert not picture.warnings


@pytest.mark.parametrize("layout", CHANNELS)
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_png(layout: str, kind: str, tmp_path: Path) -> None:
    unit = colors()
    picture = read_picture(png_of(stored(unit, layout, kind)))
    check(picture, unit, layout, 8 if kind == "u1" else 16)


@pytest.mark.parametrize("layout", CHANNELS)
@pytest.mark.parametrize("kind", WHITE)
def test_tiff(layout: str, kind: str) -> None:
    unit = colors()
    samples = stored(unit, layout, kind)
    if kind == "u4" or (kind in ("f4", "f8") and layout == "gray+alpha"):
        needs_opencv_5(tiff_of(samples))
    for order, compression, tile in itertools.product("<>", (None, "zlib"), (None, (16, 32))):
        data = tiff_of(samples, byteorder=order, compression=compression, tile=tile)
        check(read_picture(data), unit, layout, 8 if kind == "u1" else 16)
    if kind[0] == "u" and kind != "u4":
        data = tiff_of(samples, compression="zlib", predictor=2)
        check(read_picture(data), unit, layout, 8 if kind == "u1" else 16)


@pytest.mark.skipif(not shutil.which("convert"), reason="ImageMagick is not installed")
@pytest.mark.parametrize("alpha", ["", "-alpha set -channel A -evaluate multiply 0.5 +channel"])
@pytest.mark.parametrize("gray", ["", "-colorspace Gray"])
def test_float_predictors(alpha: str, gray: str, tmp_path: Path) -> None:
    """ImageMagick writes floats with the floating point predictor, also gray with alpha."""
    if alpha and gray:
        needs_opencv_5(tiff_of(stored(colors(), "gray+alpha", "f4")))
    source = f"convert -size 40x24 gradient:red-yellow {alpha} {gray}"
    subprocess.run([*source.split(), "-depth", "8", tmp_path / "x.png"], check=True)
    plain = read_picture(tmp_path / "x.png")
    for depth, order, tile in itertools.product((16, 32), ("lsb", "msb"), (False, True)):
        options = f"-define quantum:format=floating-point -depth {depth} -endian {order}"
        options += " -compress LZW" + (" -define tiff:tile-geometry=16x16" if tile else "")
        subprocess.run([*source.split(), *options.split(), tmp_path / "x.tif"], check=True)
        picture = read_picture(tmp_path / "x.tif")
        assert np.abs(picture.rgb.astype(int) - plain.rgb).max() <= 1
        assert (picture.alpha is None) == (plain.alpha is None)
        if picture.alpha is not None and plain.alpha is not None:
            assert np.abs(picture.alpha.astype(int) - plain.alpha).max() <= 1


def test_a_float_tiff_keeps_its_tags_and_is_written_with_16_bits() -> None:
    unit = colors()[..., :3].astype("f4")
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        unit,
        photometric="rgb",
        resolution=(300, 300),
        resolutionunit="INCH",
        extratags=[(ExifTags.Base.Orientation, 3, 1, 6), (ExifTags.Base.Artist, 2, 0, "Somebody")],
    )
    picture = read_picture(out.getvalue())
    assert np.abs(picture.rgb - 255 * unit.transpose(1, 0, 2)[:, ::-1]).max() <= 1.01
    again = Image.open(io.BytesIO(encode_picture(picture, "tiff")[0]))
    assert again.getexif()[ExifTags.Base.Artist] == "Somebody"
    assert again.info["dpi"] == (300, 300)
    assert read_picture(encode_picture(picture, "tiff")[0]).bits == 16


def test_hidden_colors_are_ignored_and_premultiplied_ones_divided() -> None:
    unit = np.full((8, 8, 4), (0.8, 0.4, 0.2, 1), "f4")
    unit[:, 4:] = (0, 1, 0, 0)  # hidden
    picture = read_picture(tiff_of(unit))
    assert (picture.rgb == picture.rgb[0, 0]).all()  # the mean of what shows
    assert picture.alpha is not None
    assert picture.alpha[0].tolist() == [255] * 4 + [0] * 4
    half = np.full((8, 8, 4), (0.4, 0.2, 0.1, 0.5), "f4")  # times alpha
    out = io.BytesIO()
    tifffile.imwrite(out, half, photometric="rgb", extrasamples=["assocalpha"])
    assert read_picture(out.getvalue()).rgb[0, 0].tolist() == [204, 102, 51]


def test_the_white_level_is_inferred_from_the_values() -> None:
    ramp = np.linspace(0, 1, 1000, dtype="f4")
    assert white_level(ramp) == 1
    assert white_level(ramp * 3) == 1  # highlights
    bright = ramp.copy()
    bright[:5] = 9000  # a lamp
    assert white_level(bright) == 1
    assert white_level(ramp * 255) == white_level(np.rint(ramp * 200)) == 255
    assert white_level(ramp * 65535) == 65535
    stars = np.zeros(1000, "f4")
    stars[:3] = 255
    assert white_level(stars) == 255
    for wrong in (ramp * 1e6, ramp * 1000 - 500):
        with pytest.raises(ValueError, match=r"save it with values in 0\.\.1"):
            white_level(wrong)
    odd = np.array([np.nan, np.inf, -np.inf, -0.5, 0.25, 2], "f4")
    assert to_unit(odd, white_level(odd)).tolist() == [0, 1, 0, 0, 0.25, 1]
    with pytest.raises(ValueError, match="no sample is a number"):
        white_level(np.full(4, np.nan))
    assert white_level(np.array([3, 60000], "i4")) == 65535


def test_another_white_level_gives_a_warning() -> None:
    picture = read_picture(tiff_of(colors()[..., :3].astype("f4") * 255))
    assert picture.warnings == ("float samples: white is taken to be 255",)
    assert np.abs(picture.rgb - 255 * colors()[..., :3]).max() <= 1.01


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(data=some.binary(max_size=40), place=some.integers(0, 400), cut=some.integers(8, 4000))
@example(data=b"\0\0\0\x80\0", place=18, cut=4000)  # a width of 2^31, without a height
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_bad_input(data: bytes, place: int, cut: int) -> None:
    whole = tiff_of(stored(colors(), "gray+alpha", "f4"), compression="zlib")
    damaged = (whole[:place] + data + whole[place + len(data) :])[:cut]
    with contextlib.suppress(BadInput):
        assert read_picture(damaged).rgb.ndim == 3


def test_size_is_checked_before_samples_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_tiff.Layout, "rewrite", lambda *_: pytest.fail("decoded"))
    with pytest.raises(TooManyPixels, match="50×30"):
        read_picture(tiff_of(colors().astype("f4")), max_pixels=1000)
    with pytest.raises(TooManyPixels):
        read_picture(b"PF\n50 30\n-1.0\n" + bytes(18000), max_pixels=1000)


def test_unsupported_files_are_named_by_kind() -> None:
    out = io.BytesIO()
    tifffile.imwrite(
        out, np.zeros((8, 8, 7), "f4"), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(BadInput, match="a TIFF with 7 channels of 32-bit float samples: save it"):
        read_picture(out.getvalue())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", ["gray", "RGB"])
def test_portable_float_maps(order: str, layout: str, tmp_path: Path) -> None:
    unit = colors()
    samples = stored(unit, layout, "f4")
    head = f"{'Pf' if layout == 'gray' else 'PF'}\n50 30\n{'-' if order == '<' else ''}1.0\n"
    data = head.encode() + samples[::-1].astype(f"{order}f4").tobytes()
    check(read_picture(data), unit, layout, 16)
    with pytest.raises(BadInput, match="cut short"):
        read_picture(data[:-1])


def test_radiance_is_tone_mapped(tmp_path: Path) -> None:
    light = np.full((20, 30, 3), (0.02, 0.18, 0.5), "f4")  # BGR
    light[:, 20:] = 40  # a lamp
    cv2.imwrite(str(tmp_path / "x.hdr"), light)
    (job,) = plan([str(tmp_path)], None, None)  # found in a folder
    assert job.format == "png"
    picture = read_picture(tmp_path / "x.hdr")
    expected = [255 * (1.099 * v**0.45 - 0.099) for v in (0.5, 0.18, 0.02)]
    assert np.abs(picture.rgb[5, 5] - expected).max() <= 2
    assert picture.rgb[5, 25].min() >= 254
    with pytest.raises(BadInput):
        read_picture((tmp_path / "x.hdr").read_bytes()[:60])
