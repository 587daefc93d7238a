"""Picture files: color code points, transparent colors, metadata, links and long names."""

from __future__ import annotations

import io
import json
import os
import struct
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from st.runtime.cli.image import main
from st.runtime.errors import BadInput
from st.runtime.pictures.batch import plan
from st.runtime.pictures.coded_color import PRIMARIES, to_bt709
from st.runtime.pictures.hdr import HLG, PQ, code_to_sdr
from st.runtime.pictures.io import encode_picture, read_picture, write_picture
from st.runtime.system.atomic_files import atomic_write
from tests.support import toys

RAMP = np.stack([np.tile(np.linspace(20, 230, 32), (16, 1))] * 3, -1).astype(np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: NDArray[np.integer], depth: int, *extra: bytes) -> bytes:
    """A PNG of (H, W) gray or (H, W, 3) RGB samples, with chunks before its pixels."""
    height, width = samples.shape[:2]
    kind = 2 if samples.ndim == 3 else 0
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    rows = b""
    for row in samples.reshape(height, -1):
        bits = "".join(f"{int(value):0{depth}b}" for value in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    parts = [chunk(b"IHDR", head), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    return data[:33] + b"".join(chunks) + data[33:]


def encoded(pixels: NDArray[np.uint8], format: str = "PNG", **settings: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format, **settings)
    return out.getvalue()


# --- transparent colors


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_gray_of_a_png_at_every_depth(depth: int) -> None:
    top = (1 << depth) - 1
    samples = (np.arange(48).reshape(6, 8) * (1 if depth < 16 else 1300)) % (top + 1)
    key = int(samples[0, 1])
    picture = read_picture(png(samples, depth, chunk(b"tRNS", struct.pack(">H", key))))
    expected = np.where(samples == key, 0, 255)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, expected)
    shown = np.round(samples / top * 255)[expected > 0]
    np.testing.assert_allclose(picture.rgb[expected > 0], np.stack([shown] * 3, -1), atol=1)


def test_the_transparent_color_of_a_16_bit_png() -> None:
    samples = np.arange(6 * 8 * 3).reshape(6, 8, 3) * 400
    samples[2, 3] = samples[0, 0] + (0, 0, 1)  # the same in 8 bits
    key = samples[0, 0]
    picture = read_picture(png(samples, 16, chunk(b"tRNS", struct.pack(">HHH", *key.tolist()))))
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 0
    assert (picture.alpha == 0).sum() == 1
    assert picture.bits == 16


def test_a_transparent_gray_turns_with_its_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    samples = np.arange(48).reshape(6, 8) * 1300
    key = struct.pack(">H", int(samples[5, 0]))
    data = png(samples, 16, chunk(b"tRNS", key), chunk(b"eXIf", exif.tobytes()[6:]))
    picture = read_picture(data)
    assert picture.alpha is not None
    assert picture.alpha.shape == picture.rgb.shape[:2] == (8, 6)
    assert picture.alpha[0, 0] == 0
    assert (picture.alpha == 0).sum() == 1


# --- color


def test_display_p3_by_cicp_in_png_and_by_nclx_in_avif() -> None:
    pixels = np.array([[(200, 40, 40), (40, 200, 40), (60, 60, 190), (128, 128, 128)]], np.uint8)
    pixels = pixels.repeat(8, 0).repeat(8, 1)
    by_png = read_picture(with_chunks(encoded(pixels), chunk(b"cICP", bytes((12, 13, 0, 1)))))
    light = np.where(
        pixels / 255 <= 0.04045, pixels / 255 / 12.92, ((pixels / 255 + 0.055) / 1.055) ** 2.4
    )
    p3_to_srgb = [[1.22494, -0.22494, 0], [-0.04206, 1.04206, 0], [-0.01964, -0.07864, 1.09828]]
    wanted = np.clip(light @ np.array(p3_to_srgb).T, 0, 1)
    wanted = np.where(wanted <= 0.0031308, 12.92 * wanted, 1.055 * wanted ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(by_png.rgb, wanted * 255, atol=1)
    np.testing.assert_array_equal(by_png.rgb[:, -1], 128)
    # Pillow writes no nclx of another color: a box of sRGB's becomes one of P3.
    avif = encoded(pixels, "AVIF", quality=100, subsampling="4:4:4")
    place = avif.index(b"colrnclx") + 8
    by_avif = read_picture(avif[:place] + struct.pack(">HH", 12, 13) + avif[place + 4 :])
    np.testing.assert_allclose(by_avif.rgb.astype(int), by_png.rgb, atol=4)


def test_cicp_wins_over_a_profile_and_a_profile_over_gama() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = encoded(RAMP, icc_profile=profile)
    gama = chunk(b"gAMA", struct.pack(">I", 100_000))
    np.testing.assert_array_equal(read_picture(with_chunks(plain, gama)).rgb, RAMP)
    cicp = chunk(b"cICP", bytes((1, 8, 0, 1)))  # linear light
    assert read_picture(with_chunks(plain, cicp)).rgb.mean() > RAMP.mean() + 30


@pytest.mark.parametrize(("gamma", "exponent"), [(1.0, 1.0), (0.55556, 1.8), (0.45455, None)])
def test_gama_chunk_of_png_is_applied(gamma: float, exponent: float | None) -> None:
    data = with_chunks(encoded(RAMP), chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000))))
    wanted = RAMP.astype(float)
    if exponent:
        light = (RAMP / 255) ** exponent
        wanted = 255 * np.where(
            light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
        )
    np.testing.assert_allclose(read_picture(data).rgb, wanted, atol=1)


def test_chrm_chunk_of_png_changes_colors_but_not_gray() -> None:
    corners = [round(100_000 * value) for value in PRIMARIES[9]]
    data = with_chunks(encoded(RAMP), chunk(b"cHRM", struct.pack(">8I", *corners)))
    np.testing.assert_allclose(read_picture(data).rgb.astype(int), RAMP, atol=1)
    green = np.full((8, 8, 3), (60, 160, 60), np.uint8)
    wide = read_picture(with_chunks(encoded(green), chunk(b"cHRM", struct.pack(">8I", *corners))))
    assert wide.rgb[0, 0, 1] > 160
    assert wide.rgb[0, 0, 0] < 30
    broken = chunk(b"cHRM", struct.pack(">8I", *[0] * 8))
    np.testing.assert_array_equal(read_picture(with_chunks(encoded(green), broken)).rgb, green)


def test_primaries_map_white_to_white() -> None:
    for primaries in PRIMARIES.values():
        np.testing.assert_allclose(to_bt709(primaries).sum(axis=1), 1, atol=2e-3)
    np.testing.assert_allclose(
        to_bt709(PRIMARIES[9])[0], [1.6605, -0.5876, -0.0728], atol=2e-3, err_msg="BT.2087"
    )


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("depth", [8, 16])
def test_hdr_pictures_get_the_tone_curve_of_videos(transfer: int, depth: int) -> None:
    top = (1 << depth) - 1
    random = np.random.default_rng(0).integers(0, top + 1, (12, 16, 3))
    data = png(random, depth, chunk(b"cICP", bytes((9, transfer, 0, 1))))
    wanted = code_to_sdr(random / top, transfer) * 255
    np.testing.assert_allclose(read_picture(data).rgb, wanted, atol=1)


def test_an_hdr_avif_is_read_with_all_its_bits(tmp_path: Path) -> None:
    """Ten bits of PQ from black to peak: with eight bits, neighboring values would be equal."""
    codes = np.linspace(0.05, 0.75, 256)
    ten = np.rint(codes * 1023).astype(np.uint16)
    strip = np.stack([np.tile(ten, (16, 1))] * 3, -1)
    settings = [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_QUALITY, 100]
    done, data = cv2.imencode(".avif", strip, settings)
    assert done
    avif = data.tobytes()
    place = avif.index(b"colrnclx") + 8
    avif = avif[:place] + struct.pack(">HH", 9, PQ) + avif[place + 4 :]
    picture = read_picture(avif)
    wanted = code_to_sdr(np.stack([ten / 1023] * 3, -1), PQ) * 255
    np.testing.assert_allclose(picture.rgb[8].astype(float), wanted, atol=2.5)


# --- metadata


def test_resolution_xmp_and_comment_of_a_jpeg_are_kept() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:title>Sea</dc:title></x:xmpmeta>'
    photo = encoded(RAMP, "JPEG", dpi=(300, 300), xmp=xmp, comment=b"by the sea")
    picture = read_picture(photo)
    for format in ("jpeg", "png", "webp", "tiff", "avif", "bmp"):
        data, left_out = encode_picture(picture, format)
        image = Image.open(io.BytesIO(data))
        image.load()
        if format in ("jpeg", "png", "tiff", "bmp"):
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        else:
            assert image.getexif()[0x011A] == 300
        if format != "bmp":
            assert xmp in (image.info.get("xmp") or image.tag_v2[700]), format  # type: ignore[attr-defined]
        assert ("comment" in image.info or "Comment" in image.info) == (not left_out), format
    assert (
        Image.open(io.BytesIO(encode_picture(picture, "jpeg")[0])).info["comment"] == b"by the sea"
    )


def test_the_orientation_in_xmp_is_not_applied_twice() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = encoded(RAMP, "JPEG", xmp=xmp, exif=exif.tobytes())
    again = read_picture(encode_picture(read_picture(photo), "jpeg")[0])
    assert again.rgb.shape == (32, 16, 3)
    assert b"Orientation" not in again.carried.xmp


@pytest.mark.parametrize("bits", [8, 16])
def test_text_chunks_of_a_png_are_kept(bits: int) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "Wave")
    info.add_itxt("Author", "北斎")
    info.add_text("Raw profile type exif", "stale")
    info.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    data = encoded(RAMP, pnginfo=info, dpi=(72, 144))
    if bits == 16:
        texts = data[33 : data.index(b"IDAT") - 4]
        data = png(RAMP.astype(int) * 257, 16, texts)
    picture = read_picture(data)
    assert picture.bits == bits
    image = Image.open(io.BytesIO(encode_picture(picture, "png")[0]))
    image.load()
    texts = dict(image.text)  # type: ignore[attr-defined]
    assert texts["Title"] == "Wave"
    assert texts["Author"] == "北斎"
    assert "Raw profile type exif" not in texts
    assert texts["XML:com.adobe.xmp"] == "<x:xmpmeta/>"
    assert image.info["dpi"] == pytest.approx((72, 144), abs=0.1)
    comment = Image.open(io.BytesIO(encode_picture(picture, "jpeg")[0])).info["comment"]
    assert comment.decode() == "Title: Wave\nAuthor: 北斎"
    assert encode_picture(picture, "webp")[1][-1] == "WEBP cannot hold the picture's text: left out"


def test_a_16_bit_tiff_keeps_resolution_and_author() -> None:
    exif = Image.Exif()
    exif[0x013B] = "Hokusai"
    data = png(RAMP.astype(int) * 257, 16, chunk(b"eXIf", exif.tobytes()[6:]))
    data = with_chunks(data, chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1)))
    image = Image.open(io.BytesIO(encode_picture(read_picture(data), "tiff")[0]))
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert image.getexif()[0x013B] == "Hokusai"
    np.testing.assert_array_equal(np.asarray(image), RAMP)


# --- where it is written


def test_writing_to_a_link_writes_its_target(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link, real = tmp_path / "link.png", tmp_path / "disk" / "real.png"
    link.symlink_to(real)  # leads to nothing yet
    for value in (10, 20):
        write_picture(read_picture(encoded(np.full((4, 4, 3), value, np.uint8))), link)
        assert link.is_symlink()
        assert (np.asarray(Image.open(real)) == value).all()
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["real.png"]
    circle = tmp_path / "circle.png"
    circle.symlink_to(circle)
    with pytest.raises(BadInput, match="leads in a circle"), atomic_write(circle):
        pass


def test_writing_to_a_named_pipe_keeps_the_pipe(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe.png", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_picture(read_picture(encoded(RAMP)), pipe)
    reader.join(10)
    assert pipe.is_fifo()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(found[0]))), RAMP)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("letter", ["a", "ä", "海"])
def test_names_of_255_bytes(tmp_path: Path, letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    length = 251 // len(letter.encode())
    name = letter * length + "." + "png"
    Path(name).write_bytes(encoded(RAMP))
    (job,) = plan([name], None, None)
    assert job.target
    assert len(os.fsencode(job.target.name)) <= 255
    assert job.target.name.endswith(f"{letter}_stylized.png")
    write_picture(read_picture(Path(name)), job.target)
    write_picture(read_picture(Path(name)), tmp_path / ("b" + name[1:]))
    dotted = tmp_path / f"x.{letter * length}"[: length + 1]
    with atomic_write(dotted) as part:
        part.write_bytes(b"1")
    assert dotted.read_bytes() == b"1"


def test_json_escapes_names_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    toys.tint_engine(tmp_path / "tint.onnx")
    names = ['a\n"b".png', "é\\n.png"]
    Path(names[0]).write_bytes(encoded(RAMP))
    Path(names[1]).write_bytes(b"not a picture")
    words = [*names, "--engine", "tint.onnx", "--json"]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 2
    good, bad = (json.loads(line) for line in told.stdout.splitlines())
    assert good["input"] == names[0]
    assert good["output"] == 'a\n"b"_stylized.png'
    assert bad["input"] == names[1]
    assert bad["error"].startswith(f"{names[1]}: not a picture")
