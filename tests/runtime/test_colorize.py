"""Colorizers: luma is preserved, hints take effect, and all kinds of pictures work."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from st.runtime import BadControl, BadEngine, BadInput, Stylizer
from st.runtime.backends.open import open_engine
from st.runtime.cli.engines import main as engines
from st.runtime.cli.image import main as image
from st.runtime.engine.metadata import PROPERTY, Metadata
from st.runtime.painting.chroma import LUMA, TO_RGB, chroma_of, colored, luma_of, palette_of
from st.runtime.painting.colorize import colorized
from st.runtime.painting.controls import Controls
from st.runtime.painting.hints import as_rgb, as_strokes, make_hints
from st.runtime.painting.painter import Painter
from st.runtime.painting.pipeline import size_of_painting
from tests.support import toys

Picture = np.ndarray[Any, Any]


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return toys.color_engine(tmp_path / "color.onnx")


def gray(height: int, width: int, seed: int = 0) -> Picture:
    """A smooth gray structure with all luma values and with edges."""
    random = np.random.default_rng(seed).random((5, 6), np.float32)
    smooth = cv2.resize(random, (width, height), interpolation=cv2.INTER_CUBIC)
    values = (smooth * 300 - 20).clip(0, 255).astype(np.uint8)
    values[height // 3 : height // 2, width // 4 : width // 3] = 255
    return np.repeat(values[..., None], 3, axis=2)


def luma64(picture: Picture) -> Picture:
    return picture.astype(np.float64) @ np.array(LUMA)


# --- luma and chroma -----------------------------------------------------------------------------


@given(
    some.integers(0, 2**32 - 1),
    some.sampled_from([(9, 13), (16, 24), (40, 60)]),
    some.floats(0.01, 0.5),
)
@settings(deadline=None, max_examples=30)
def test_colorizing_keeps_the_luma_for_any_chroma(
    seed: int, size: tuple[int, int], strength: float
) -> None:
    """Exact for gray pictures, after rounding; within half a step for others."""
    random = np.random.default_rng(seed)
    chroma = ((random.random((*size, 2)) * 2 - 1) * strength).astype(np.float32)
    plain = random.integers(0, 256, (40, 60, 1), np.uint8).repeat(3, axis=2)
    colorful = random.integers(0, 256, (40, 60, 3), np.uint8)
    for picture in (plain, colorful):
        small = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
        made = colored(picture, small, chroma)
        assert np.abs(luma64(made) - luma64(picture)).max() <= 0.5 + 1e-4
        if picture is plain:
            np.testing.assert_array_equal(np.rint(luma_of(made)), picture[..., 0])


def test_out_of_gamut_chroma_is_scaled_with_its_hue_kept() -> None:
    """Compared with float64: chroma is scaled by the largest factor that keeps 0..255."""
    lights = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    chroma = np.broadcast_to(np.array([-0.3, 0.25], np.float32), (1, 256, 2)).copy()
    made = colored(lights, lights, chroma).astype(np.float64)
    apart = 255 * np.array(TO_RGB) @ [-0.3, 0.25]
    for light in range(256):
        room = min(1.0, *((((255 if a > 0 else 0) - light) / a) for a in apart))
        # A channel less than half a step outside is rounded into it before anything gives way.
        np.testing.assert_allclose(made[0, light], light + room * apart, atol=1)
    assert abs(np.array(LUMA) @ np.array(TO_RGB)).max() < 1e-12
    back = chroma_of(made[:, 120:121].astype(np.uint8))[0, 0]
    np.testing.assert_allclose(back[1] / back[0], 0.25 / -0.3, rtol=0.02)


def test_upsampled_chroma_follows_the_pictures_edges() -> None:
    """A red square on a blue background, with chroma at an eighth of the size."""
    light = np.full((160, 160), 60, np.uint8)
    light[53:107, 53:107] = 190
    picture = np.repeat(light[..., None], 3, axis=2)
    chroma = np.where((light > 100)[..., None], [-0.1, 0.12], [0.12, -0.08]).astype(np.float32)
    wanted = colored(picture, picture, chroma)
    small = cv2.resize(picture, (20, 20), interpolation=cv2.INTER_AREA)
    low = cv2.resize(chroma, (20, 20), interpolation=cv2.INTER_AREA)
    made = colored(picture, small, low).astype(int)
    enlarged = cv2.resize(low, (160, 160), interpolation=cv2.INTER_CUBIC)
    plain = colored(picture, picture, enlarged).astype(int)
    errors = [float(np.abs(x - wanted).mean()) for x in (made, plain)]
    assert errors[0] < 0.6 * errors[1], errors


# --- pictures of every kind ----------------------------------------------------------------------


def sepia(values: Picture) -> Picture:
    return (values[..., None] * [1.0, 0.86, 0.66]).round().astype(np.uint8)


KINDS: dict[str, Callable[[Picture], Image.Image]] = {
    "one channel": Image.fromarray,
    "equal channels": lambda v: Image.fromarray(np.repeat(v[..., None], 3, axis=2)),
    "sepia": lambda v: Image.fromarray(sepia(v)),
    "sixteen bits": lambda v: Image.fromarray(v.astype(np.uint16) * 257),
    "alpha": lambda v: Image.merge("LA", (Image.fromarray(v), Image.fromarray(v[::-1].copy()))),
    "palette": lambda v: Image.fromarray(v).convert("P"),
    "black and white": lambda v: Image.fromarray(v).convert("1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_gray_pictures_of_every_kind(tmp_path: Path, engine: Path, kind: str) -> None:
    values = gray(50, 70)[..., 0]
    made = KINDS[kind](values)
    made.save(tmp_path / "old.png")
    result = CliRunner().invoke(image, [str(tmp_path / "old.png"), "--engine", str(engine)])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "old_stylized.png") as file:
        raw = file.tile[0][3] if file.tile else ""
        assert (kind == "sixteen bits") == (";16" in str(raw))
        assert file.mode == ("RGBA" if kind == "alpha" else "RGB")
        after = np.asarray(file.convert("RGBA" if kind == "alpha" else "RGB"))
    before = np.asarray(made if kind == "sixteen bits" else made.convert("RGB"))
    if kind == "sixteen bits":
        before = np.repeat((before // 257).astype(np.uint8)[..., None], 3, axis=2)
    if kind == "alpha":
        np.testing.assert_array_equal(after[..., 3], values[::-1])
        shown = after[..., 3] > 0  # wholly transparent pixels have no color to keep
        after, before = after[shown][:, :3], before[shown]
    assert np.abs(luma64(after) - luma64(before)).max() <= 0.5 + 1e-4
    spread = after.max(axis=-1).astype(int) - after.min(axis=-1)
    if kind != "black and white":  # where there is no room for any chroma
        assert spread.mean() > 5
    if kind == "sepia":  # the tint is gone: dark is blue
        dark = luma64(before) < 90
        assert (after[dark][:, 2].astype(int) - after[dark][:, 0]).mean() > 5


def test_any_size_and_batches(engine: Path) -> None:
    stylizer = Stylizer(engine)
    for height, width in ((1, 1), (1, 300), (50, 61), (700, 3)):
        picture = gray(max(height, 8), max(width, 8))[:height, :width]
        made = stylizer(picture)
        assert made.shape == picture.shape
        np.testing.assert_array_equal(np.rint(luma_of(made)), picture[..., 0])
    two = np.stack([gray(40, 60, seed) for seed in (1, 2)])
    for one, made in zip(two, stylizer(two), strict=True):
        assert np.abs(stylizer(one).astype(int) - made).max() <= 1


# --- the size that the engine sees ---------------------------------------------------------------


def test_the_render_factor_alone_decides_the_network_size(engine: Path) -> None:
    metadata = Stylizer(engine).metadata
    seen: list[tuple[int, ...]] = []

    def run(content: Picture, inputs: Any) -> Picture:
        seen.append(content.shape)
        assert inputs["hints"].shape == (1, 3, *content.shape[1:3])
        return np.zeros((len(content), 2, *content.shape[1:3]), np.float32)

    stylizer = Stylizer(engine)
    stylizer._whole = run  # type: ignore[method-assign]
    for size in ((90, 160), (1080, 1920), (2160, 3840)):
        stylizer(gray(*size))
    stylizer.set_render_factor(4)(gray(1080, 1920))
    assert seen == [(1, 92, 160, 3)] * 3 + [(1, 36, 64, 3)]
    # And a picture too large for one run of another engine needs no tiles here.
    small = Stylizer(engine, whole_pixels=100)
    assert small.tiled(gray(90, 160)).shape == small(gray(90, 160)).shape == (90, 160, 3)
    # An engine of a smaller size sees them as large as it can.
    metadata = replace(metadata, fixed_size=(32, 64))
    made = colorized(
        gray(90, 160)[None],
        size_of_painting(Controls.of(metadata), 90, 160),
        Controls.of(metadata),
        Painter(run, metadata),
    )
    assert made.shape == (1, 90, 160, 3)
    assert seen[-1] == (1, 32, 64, 3)
    for wrong in (3, 65, 7.5, True):
        with pytest.raises(BadControl, match="render factor"):
            stylizer.set_render_factor(wrong)  # type: ignore[arg-type]
    assert stylizer.set_render_factor(None).settings.render_factor is None


def test_cache_keys_depend_on_hints_and_render_factor(engine: Path) -> None:
    """Otherwise a video would be resumed with other colors."""
    paint = Stylizer(engine)
    found = [paint.identity, paint.set_render_factor(5).identity]
    found += [paint.set_hints([(1, 1, color)]).identity for color in ("red", "green")]
    found += [paint.set_hints(palette=gray(8, 8)).identity, paint.set_hints().identity]
    assert len(set(found)) == 5
    assert found[1] == found[-1]


# --- hints ---------------------------------------------------------------------------------------


def test_a_hint_changes_its_surroundings_only(engine: Path) -> None:
    picture = np.full((120, 320, 3), 128, np.uint8)
    paint = Stylizer(engine)
    before = paint(picture).astype(int)
    for place in ((40, 60), ("12.5%", "50%")):
        after = paint.set_hints([(*place, "#2a7f3b")])(picture).astype(int)
        here, there = after[60, 40], after[60, 280]
        assert here[1] > here[0] + 20
        assert here[1] > here[2] + 20
        np.testing.assert_array_equal(there, before[60, 280])
        np.testing.assert_array_equal(np.rint(luma_of(after.astype(np.uint8))), 128)
    np.testing.assert_array_equal(paint.set_hints()(picture), before)


def test_hint_strokes_with_and_without_transparency(engine: Path, tmp_path: Path) -> None:
    picture = np.full((120, 320, 3), 128, np.uint8)
    drawn = np.zeros((60, 160, 4), np.uint8)
    drawn[25:35, 15:25] = (200, 40, 40, 255)
    on_gray = np.full((60, 160, 3), 128, np.uint8)
    on_gray[25:35, 15:25] = (200, 40, 40)
    Image.fromarray(drawn).save(tmp_path / "strokes.png")
    made = [
        Stylizer(engine).set_hints(strokes=strokes)(picture).astype(int)
        for strokes in (drawn, on_gray, tmp_path / "strokes.png")
    ]
    for one in made:
        np.testing.assert_array_equal(one, made[0])
        assert one[60, 40, 0] > one[60, 40, 1] + 20
        assert one[60, 280].tolist() == Stylizer(engine)(picture)[60, 280].tolist()
    for nothing in (np.zeros((4, 4, 4), np.uint8), np.full((4, 4, 3), 9, np.uint8)):
        with pytest.raises(BadInput, match="has no strokes"):
            as_strokes(nothing)


def test_hints_are_placed_at_their_coordinates() -> None:
    hints = make_hints([(100, 50, "red"), (100, 50, "blue")], palette=None)
    layer = hints.at((32, 64), (100, 200))
    assert layer.shape == (1, 3, 32, 64)
    assert layer[0, 2, 16, 32] == 1
    assert layer[0, 2].sum() < 12
    np.testing.assert_allclose(layer[0, :2, 16, 32], [0.5, -0.0458], atol=1e-3)
    corner = make_hints([(199, 99, "red"), ("100%", "100%", "red")]).at((32, 64), (100, 200))
    assert corner[0, 2, 31, 63] == 1
    with pytest.raises(BadInput, match="outside this picture of 200×100"):
        make_hints([(200, 5, "red")]).at((32, 64), (100, 200))


@pytest.mark.parametrize(
    ("point", "match"),
    [
        ((1, 1, "no color"), "no color"),
        ((1, 1, (1, 2)), "no color"),
        ((1, 1, (1, 2, 256)), "no color"),
        ((1, 1), "x, y, color"),
        ((-1, 1, "red"), "no place"),
        ((float("nan"), 1, "red"), "no place"),
        (("101%", 1, "red"), "no place"),
        (("x", 1, "red"), "no place"),
    ],
)
def test_bad_hint_points_are_refused(point: Any, match: str) -> None:
    with pytest.raises(BadControl, match=match):
        make_hints([point])


def test_colors_by_number_and_name() -> None:
    assert as_rgb("#2a7f3b") == as_rgb((0x2A, 0x7F, 0x3B)) == (42, 127, 59)
    assert as_rgb("#fff") == as_rgb("White") == (255, 255, 255)


def test_a_palette_is_a_histogram_of_chroma(engine: Path) -> None:
    """Bins add up to 1 and mix linearly; gray is the middle bin."""
    even = palette_of(np.full((4, 4, 3), 77, np.uint8))
    assert even.shape == (1, 82)
    assert even[0, 40] == pytest.approx(1, abs=1e-3)
    red = np.full((4, 4, 3), (200, 30, 30), np.uint8)
    half = palette_of(np.concatenate([red, np.full((4, 4, 3), 77, np.uint8)]))
    np.testing.assert_allclose(half[0, :81], (even + palette_of(red))[0, :81] / 2, atol=1e-6)
    assert half[0, :81].sum() == pytest.approx(1, abs=1e-5)
    assert half[0, 81] == 1
    picture = gray(40, 60)
    redder = Stylizer(engine).set_hints(palette=np.full((4, 4, 3), 77, np.uint8))(picture)
    assert redder[..., 0].mean() > Stylizer(engine)(picture)[..., 0].mean() + 5


# --- what it refuses, and what refuses it ---------------------------------------------------------


def test_conflicting_controls_are_refused(engine: Path, tmp_path: Path) -> None:
    paint = Stylizer(engine)
    for change in (
        lambda: paint.set_color("luminance"),
        lambda: paint.set_paint_size(640),
        lambda: paint.set_style(scale=2),
        lambda: paint.set_style("wave"),
    ):
        with pytest.raises(BadControl):
            change()
    painter = Stylizer(toys.tint_engine(tmp_path / "tint.onnx"))
    for change in (
        lambda: painter.set_hints([(1, 1, "red")]),
        lambda: painter.set_render_factor(8),
    ):
        with pytest.raises(BadControl, match="this one paints"):
            change()
    # Strength and regions are as everywhere.
    picture = gray(40, 60)
    np.testing.assert_array_equal(Stylizer(engine).set_style(strength=0)(picture), picture)
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 30:] = 255
    made = Stylizer(engine).set_regions({None: mask})(picture)
    np.testing.assert_array_equal(made[:, :30], picture[:, :30])
    assert (made[:, 30:] != picture[:, 30:]).any()


def test_commands_play_and_inspect_colorizers(engine: Path, tmp_path: Path) -> None:
    picture = np.full((120, 320, 3), 128, np.uint8)
    Image.fromarray(picture).save(tmp_path / "old.png")
    out = tmp_path / "new.png"
    shared = [str(tmp_path / "old.png"), "-o", str(out), "--engine", str(engine), "--json"]
    more = [
        "--hint",
        "40,60=#2a7f3b",
        "--render-factor",
        "20",
        "--palette",
        str(tmp_path / "old.png"),
    ]
    result = CliRunner().invoke(image, [*shared, *more])
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["hints"] == ["40,60=#2a7f3b"]
    assert record["render_factor"] == 20
    expected = (
        Stylizer(engine).set_render_factor(20).set_hints([(40, 60, "#2a7f3b")], None, picture)
    )
    np.testing.assert_array_equal(np.asarray(Image.open(out)), expected(picture))
    for wrong in (["--hint", "40,60"], ["--hint", "4000,60=red"], ["--hint", "1,1=nocolor"]):
        result = CliRunner().invoke(image, [*shared[:-1], *wrong])
        assert result.exit_code == 2
        assert result.output.count("\n") == 1, result.output
    for wrong in (["--hints", "none.png"], ["--palette", "none.png"], ["--render-factor", "900"]):
        assert CliRunner().invoke(image, [*shared[:-1], *wrong]).exit_code == 2
    shown = CliRunner().invoke(engines, ["inspect", str(engine)]).output
    assert "colorizer" in shown
    assert "hints" in shown
    assert "render factor (usually 10)" in shown


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"render_factor": 0}, "render_factor"),
        ({"render_factor": 65}, "render_factor"),
        ({"render_factor": True}, "render_factor"),
        ({"kind": "stylizer"}, "render_factor"),
        ({"kind": "stylizer", "render_factor": 0}, "a stylizer engine cannot have the inputs"),
        ({"inputs": ["content"]}, "content, hints and palette"),
        ({"inputs": ["content", "hints", "palette", "strength"]}, "content, hints and palette"),
        ({"scale": 2}, "enlarges"),
        ({"norms": [3]}, "norms"),
    ],
)
def test_strange_metadata_is_refused(engine: Path, changes: dict[str, Any], match: str) -> None:
    model = onnx.load(engine)
    values = json.loads(model.metadata_props[0].value) | changes
    del model.metadata_props[:]
    model.metadata_props.add(key=PROPERTY, value=json.dumps(values))
    engine.write_bytes(model.SerializeToString())
    with pytest.raises(BadEngine, match=match):
        open_engine(engine)


def with_chroma(engine: Path, batch: Picture, value: float, width: int = 16) -> Picture:
    """`colorized` with an engine that returns this chroma everywhere, as a map of this width."""
    metadata = Stylizer(engine).metadata

    def run(content: Picture, inputs: Any) -> Picture:
        return np.full((len(content), 2, content.shape[1], width), value, np.float32)

    return colorized(batch, (16, 16), Controls.of(metadata), Painter(run, metadata))


@pytest.mark.parametrize(("value", "width"), [(np.nan, 16), (np.inf, 16), (0, 1)])
def test_invalid_chroma_output_is_refused(engine: Path, value: float, width: int) -> None:
    with pytest.raises(BadEngine, match="damaged"):
        with_chroma(engine, gray(16, 16)[None], value, width)


def test_huge_chroma_output_is_bounded(engine: Path) -> None:
    batch = gray(16, 16)[None]
    made = with_chroma(engine, batch, 1e30)
    np.testing.assert_array_equal(np.rint(luma_of(made[0])), batch[0, ..., 0])


def test_a_graph_of_other_ports_is_refused(tmp_path: Path) -> None:
    text = """g (uint8[N, H, W, 3] content, float[1, 3, H, W] hints, float[1, 82] palette)
        => (uint8[N, H, W, 3] chroma) { chroma = Identity(content) }"""
    inputs = ("content", "hints", "palette")
    metadata = Metadata("g", kind="colorizer", inputs=inputs, render_factor=10)
    path = toys.save(text, tmp_path / "x.onnx", metadata)
    with pytest.raises(BadEngine, match="chroma is uint8"):
        Stylizer(path)
