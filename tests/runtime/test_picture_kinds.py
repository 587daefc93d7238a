"""All kinds of pictures that a Stylizer accepts and returns."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import st.runtime
from st.runtime import BadControl, BadInput, Stylizer
from tests.support import toys

RGB: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
GRAY: NDArray[np.uint8] = RGB[..., 0].copy()
ALPHA: NDArray[np.uint8] = np.random.default_rng(1).integers(1, 256, (24, 32), np.uint8)


@pytest.fixture
def invert(tmp_path: Path) -> Stylizer:
    return Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), "negative", device="cpu")


@pytest.fixture
def add(tmp_path: Path) -> Stylizer:
    """Paints by adding the mean color of a style picture."""
    return Stylizer(toys.code_engine(tmp_path / "code.onnx"), device="cpu")


def file_of(image: Image.Image, name: str, **settings: object) -> bytes:
    out = io.BytesIO()
    image.save(out, name, **settings)
    return out.getvalue()


def test_gray_and_transparent_arrays(invert: Stylizer) -> None:
    np.testing.assert_array_equal(invert(GRAY), 255 - np.dstack([GRAY] * 3))
    painted = invert(np.dstack([RGB, ALPHA]))
    np.testing.assert_array_equal(painted[..., :3], 255 - RGB)
    np.testing.assert_array_equal(painted[..., 3], ALPHA)


def test_bgr_arrays(tmp_path: Path, add: Stylizer) -> None:
    path = toys.code_engine(tmp_path / "bgr.onnx")
    dark = RGB // 4
    style = np.zeros((8, 8, 3), np.uint8)
    style[..., 0] = 90  # red
    expected = add.set_style(style)(dark)
    with Stylizer(path, style[..., ::-1], device="cpu", bgr=True) as opencv:
        np.testing.assert_array_equal(opencv(dark[..., ::-1])[..., ::-1], expected)
        batch = np.stack([dark, dark])[..., ::-1]
        np.testing.assert_array_equal(opencv(batch)[1, ..., ::-1], expected)
        bgra = np.dstack([dark[..., ::-1], ALPHA])
        np.testing.assert_array_equal(opencv(bgra)[..., 2::-1], expected)
        # A kept style is not swapped again, when it is encoded at another scale or used by another.
        again = opencv.styled().set_style(scale=2).set_style(scale=1)
        np.testing.assert_array_equal(again(dark[..., ::-1])[..., ::-1], expected)
        # Other kinds say themselves what their channels are.
        np.testing.assert_array_equal(np.asarray(opencv(Image.fromarray(dark))), expected)


def test_pil_images_of_all_modes(invert: Stylizer) -> None:
    image = Image.fromarray(RGB)
    for mode in ("RGB", "L", "P", "1", "CMYK"):
        given = image.convert(mode)
        painted = invert(given)
        assert isinstance(painted, Image.Image)
        assert (painted.mode, painted.size) == ("RGB", (32, 24))
        seen = np.asarray(given.convert("RGB")).astype(int)
        assert np.abs(255 - seen - np.asarray(painted)).max() <= 1
    for mode in ("RGBA", "LA"):
        given = image.convert(mode)
        given.putalpha(Image.fromarray(ALPHA))
        painted = invert(given)
        assert painted.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(painted)[..., 3], ALPHA)
    deep = Image.fromarray(GRAY.astype(np.uint16) * 257)
    np.testing.assert_array_equal(np.asarray(invert(deep))[..., 0], 255 - GRAY)
    luma = np.asarray(image.convert("F"))  # 0..255, not whole numbers
    assert np.abs(255 - luma - np.asarray(invert(image.convert("F")))[..., 1]).max() <= 1
    with pytest.raises(BadInput, match="mode F: samples up to 2"):
        invert(Image.fromarray(luma * np.float32(1e6)))


def test_a_rotated_photograph_is_turned_upright(invert: Stylizer) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # turn by 90 degrees
    data = file_of(Image.fromarray(RGB), "PNG", exif=exif)
    assert invert(Image.open(io.BytesIO(data))).size == (24, 32)
    assert Image.open(io.BytesIO(invert(data))).size == (24, 32)


@pytest.mark.parametrize(
    ("name", "given"), [("PNG", "PNG"), ("JPEG", "JPEG"), ("WEBP", "WEBP"), ("GIF", "PNG")]
)
def test_bytes_return_a_file_of_the_same_format(invert: Stylizer, name: str, given: str) -> None:
    painted = invert(file_of(Image.fromarray(RGB), name))
    assert isinstance(painted, bytes)
    with Image.open(io.BytesIO(painted)) as image:
        assert (image.format, image.size) == (given, (32, 24))


def test_bytes_keep_their_transparency(invert: Stylizer) -> None:
    data = file_of(Image.fromarray(np.dstack([RGB, ALPHA])), "PNG")
    with Image.open(io.BytesIO(invert(data))) as image:
        np.testing.assert_array_equal(np.asarray(image), np.dstack([255 - RGB, ALPHA]))


def test_a_path_returns_a_pil_image(invert: Stylizer, tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "in.png")
    for path in (tmp_path / "in.png", str(tmp_path / "in.png")):
        np.testing.assert_array_equal(np.asarray(invert(path)), 255 - RGB)
        np.testing.assert_array_equal(np.asarray(invert(path, "black", 0.0)), RGB)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        ("no/such.png", "no such file"),
        (b"no picture", "not a picture"),
        (b"", "empty"),
        ([[0, 1]], "must be a NumPy array, a PIL image, a file's path or its bytes, not list"),
        (np.zeros((4, 4, 3), np.float32), "uint8"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros((0, 4), np.uint8), r"\(0, 4\)"),
    ],
)
def test_values_that_are_no_picture_give_one_line(
    invert: Stylizer, picture: object, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        invert(picture)  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_styles_of_every_kind(add: Stylizer, tmp_path: Path) -> None:
    color = np.full((6, 6, 3), (80, 40, 0), np.uint8)
    image = Image.fromarray(color)
    image.save(tmp_path / "style.png")
    dark = RGB // 4
    expected = dark + color[0, 0]
    kinds = (color, image, file_of(image, "PNG"), tmp_path / "style.png", image.convert("RGBA"))
    for style in kinds:
        np.testing.assert_array_equal(add.set_style(style)(dark), expected)
        np.testing.assert_array_equal(add(dark, style), expected)
        assert add.identity == add.styled().identity
    regions = [(image, np.ones((1, 1), bool))]
    np.testing.assert_array_equal(add.set_regions(regions)(dark), expected)
    assert add.identity == add.styled().identity
    with pytest.raises(BadControl, match="not dict_keys"):
        add.set_style({}.keys())  # pyright: ignore[reportArgumentType]


def test_a_style_of_one_call_does_not_change_the_setting(invert: Stylizer) -> None:
    before = invert.identity
    np.testing.assert_array_equal(invert(RGB, "black"), 0 * RGB)
    np.testing.assert_array_equal(invert(RGB, style="black", strength=0), RGB)
    assert np.abs(invert(RGB, strength=0.5).astype(int) - 127.5).max() <= 1
    np.testing.assert_array_equal(invert(RGB), 255 - RGB)
    assert invert.identity == before
    with pytest.raises(BadControl, match="strength"):
        invert(RGB, strength=2)


def test_repr_shows_engine_setting_and_device(
    invert: Stylizer, add: Stylizer, tmp_path: Path
) -> None:
    path = str(tmp_path / "tint.onnx")
    assert repr(invert) == f"Stylizer({path!r}, style='negative', device='cpu')"
    invert.set_style({"negative": 3, "black": 1}, 0.5)
    assert "style={'negative': 0.75, 'black': 0.25}, strength=0.5" in repr(invert)
    assert "style" not in repr(add)
    assert "style='a picture'" in repr(add.set_style(RGB))
    assert "style='a style code'" in repr(add.set_style(add.encode_style(RGB)))
    assert repr(Stylizer("Paintings", "Scream")).startswith(
        "Stylizer('paintings', style='the_scream'"
    )


def test_a_bad_style_closes_the_engine(tmp_path: Path) -> None:
    with pytest.raises(BadControl, match="did you mean black"):
        Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), style="blak", device="cpu")


def test_the_package_lists_engines_and_styles() -> None:
    assert set(st.runtime.__all__) <= set(dir(st.runtime))
    assert isinstance(st.runtime.__version__, str)
    assert (Path(st.runtime.__file__).parent / "py.typed").is_file()
