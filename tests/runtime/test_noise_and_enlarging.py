"""Engines with a noise input, texture engines, and super-resolution engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from st.runtime.backends.open import open_engine
from st.runtime.cli.engines import main as engines_main
from st.runtime.cli.image import main
from st.runtime.engine.metadata import Metadata, parse
from st.runtime.errors import BadControl, BadEngine, BadInput
from st.runtime.painting.noise import draw_noise
from st.runtime.painting.upscale import match_histogram
from st.runtime.stylizer import Stylizer
from tests.support.toys import save

ADD = """add (uint8[N, H, W, 3] content, float[1, 2, H, W] noise) => (uint8[N, H, W, 3] stylized)
<float half = {127}, int64[1] first = {0}, int64[1] one = {1}, int64[1] axis = {1}> {
    x = Cast<to: int = 1>(content)
    z = Slice(noise, first, one, axis)
    last = Transpose<perm = [0, 2, 3, 1]>(z)
    grains = Mul(last, half)
    dim = Div(x, two)
    y = Add(dim, grains)
    stylized = Cast<to: int = 2>(y)
}"""
TEXTURE = """grain (float[1, 3, H, W] noise, float[1, 2] weights) => (uint8[1, H, W, 3] stylized)
<float full = {255}, int64[1] first = {0}, int64[1] one = {1}, int64[1] axis = {1}> {
    last = Transpose<perm = [0, 2, 3, 1]>(noise)
    w = Slice(weights, first, one, axis)
    dimmed = Mul(last, w)
    y = Mul(dimmed, full)
    stylized = Cast<to: int = 2>(y)
}"""
# Nearest ×2, then the mean with the neighbor to the right of each channel: a reach of a pixel.
DOUBLE = """double (uint8[N, H, W, 3] content) => (uint8[N, H2, W2, 3] stylized)
<float[4] twice = {1, 2, 2, 1}, int64[8] right = {0, 0, 0, 0, 0, 0, 1, 0},
 int64[1] zero = {0}, int64[1] one = {1}, int64[1] end = {100000}, int64[1] axis = {2},
 float half = {0.5}> {
    x = Cast<to: int = 1>(content)
    y = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric",
        nearest_mode = "floor">(x, , twice)
    padded = Pad<mode = "edge">(y, right)
    neighbor = Slice(padded, one, end, axis)
    both = Add(y, neighbor)
    mean = Mul(both, half)
    stylized = Cast<to: int = 2>(mean)
}"""


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    add = ADD.replace("float half = {127}", "float half = {127}, float two = {2}")
    inputs = ("content", "noise")
    save(add, folder / "noisy.onnx", Metadata("toy", inputs=inputs, noise=2, multiple=4))
    styles = {"inputs": ("noise", "weights"), "styles": ("light", "black")}
    save(
        TEXTURE, folder / "texture.onnx", Metadata("toy", "texture", noise=3, multiple=4, **styles)
    )
    save(DOUBLE, folder / "double.onnx", Metadata("toy", scale=2, halo=2))
    return folder


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_one_seed_gives_one_picture(engines: Path) -> None:
    paint = Stylizer(engines / "noisy.onnx")
    frame = picture(21, 34)
    first = paint(frame)
    assert np.array_equal(paint(frame), first), "videos would flicker"
    other = paint.set_seed(7)(frame)
    assert np.abs(other.astype(int) - first).mean() > 20
    assert np.array_equal(paint.set_seed(0)(frame), first)
    both = paint(np.stack([frame, frame]))
    assert np.array_equal(both[0], both[1])
    noise = draw_noise(0, 2, 24, 36)[0, 0, :21, :34, None]
    expected = np.floor(frame / 2 + np.float32(127) * noise)
    assert np.abs(first - expected).max() <= 1


@pytest.mark.parametrize("seed", [-1, 1 << 32, 1.5, True, "one", None])
def test_bad_seeds_are_refused(engines: Path, seed: object) -> None:
    with pytest.raises(BadControl, match="seed"):
        Stylizer(engines / "noisy.onnx").set_seed(seed)  # pyright: ignore[reportArgumentType]


def test_a_seed_without_a_noise_input_is_refused(engines: Path) -> None:
    with pytest.raises(BadControl, match="no noise input"):
        Stylizer("paintings").set_seed(1)
    with pytest.raises(BadControl, match="not textures"):
        Stylizer("paintings").texture(8, 8)


def test_texture_engines_paint_any_size(engines: Path) -> None:
    make = Stylizer(engines / "texture.onnx")
    one = make.texture(19, 30)
    assert one.shape == (19, 30, 3)
    assert one.std() > 50
    assert not np.array_equal(make.set_seed(3).texture(19, 30), one)
    assert make.set_style("black").texture(8, 8).max() == 0
    with pytest.raises(BadControl, match="makes textures"):
        make(picture(8, 8))
    for height, width in ((0, 5), (5, 0), (30_000, 30_000)):
        with pytest.raises(BadInput, match="no texture"):
            make.texture(height, width)


def test_the_command_writes_textures(engines: Path, tmp_path: Path) -> None:
    engine, output = str(engines / "texture.onnx"), str(tmp_path / "wall.png")
    run = CliRunner().invoke
    words = ["--engine", engine, "--texture", "40x24", "--seed", "5", "-o", output]
    assert run(main, words).exit_code == 0
    with Image.open(output) as made:
        expected = Stylizer(engine).set_seed(5).texture(24, 40)
        assert np.array_equal(np.asarray(made), expected)
    for wrong in (["--texture", "40"], ["--texture", "0x3"], ["--texture", "axb"]):
        result = run(main, ["--engine", engine, *wrong, "-o", output])
        assert result.exit_code == 2
        assert "WIDTHxHEIGHT" in result.stderr
    result = run(main, ["--engine", engine, "--texture", "8x8"])
    assert result.exit_code == 2
    assert "-o FILE" in result.stderr
    assert run(main, []).exit_code == 2
    Image.fromarray(picture(9, 9)).save(tmp_path / "a.png")
    result = run(main, [str(tmp_path / "a.png"), "--engine", engine])
    assert result.exit_code == 2
    assert "makes textures" in result.stderr


def test_inspect_shows_noise_and_scale(engines: Path) -> None:
    run = CliRunner().invoke
    for name, said in (
        ("noisy", ["seed (of its noise)", "paint size"]),
        ("texture", ["named styles", "seed (of its noise)"]),
        ("double", ["enlarges 2 times"]),
    ):
        engine = str(engines / f"{name}.onnx")
        shown = run(engines_main, ["inspect", engine]).output
        assert all(line in shown for line in said), shown
        checked = run(engines_main, ["check", engine, "--device", "cpu", "--json"])
        assert json.loads(checked.stdout)[0]["runs"], checked.output


def test_superres_engines_enlarge_by_their_scale(engines: Path) -> None:
    enlarge = Stylizer(engines / "double.onnx")
    frame = picture(33, 50)
    large = enlarge(frame)
    assert large.shape == (66, 100, 3)
    assert enlarge(np.stack([frame, frame])).shape == (2, 66, 100, 3)
    # In tiles it is the same picture, and a large one is painted so by itself.
    assert np.array_equal(enlarge.tiled(frame, tile=20), large)
    few = Stylizer(engines / "double.onnx", whole_pixels=4 * 4 * 33 * 50 - 1)
    assert np.array_equal(few(frame), large)
    # At strength 0 it is enlarged without the engine.
    plain = enlarge.set_style(strength=0)(frame)
    assert plain.shape == large.shape
    assert not np.array_equal(plain, large)
    for change in (
        lambda: enlarge.set_style(scale=2),
        lambda: enlarge.set_paint_size(64),
        lambda: enlarge.set_regions([(None, np.ones((4, 4), np.uint8))]),
    ):
        with pytest.raises(BadControl, match="enlarges"):
            change()


def test_the_command_also_enlarges_alpha(engines: Path, tmp_path: Path) -> None:
    rgba = np.dstack([picture(12, 20), np.full((12, 20), 90, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    words = [str(tmp_path / "a.png"), "--engine", str(engines / "double.onnx"), "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["width"] == 40
    with Image.open(tmp_path / "a_stylized.png") as made:
        assert made.size == (40, 24)
        assert np.asarray(made)[..., 3].min() == 90


def test_histograms_are_matched() -> None:
    random = np.random.default_rng(0)
    wanted = (random.beta(2, 5, (60, 70, 3)) * 255).astype(np.uint8)
    wanted[..., 2] //= 3
    ours = random.integers(0, 256, (120, 140, 3), dtype=np.uint8)
    matched = match_histogram(ours, wanted)
    for channel in range(3):
        shares = np.linspace(0.02, 0.98, 25)
        got, goal = (np.quantile(x[..., channel], shares) for x in (matched, wanted))
        assert np.abs(got - goal).max() <= 2
        # The order of values stays.
        order = np.argsort(ours[..., channel].ravel(), kind="stable")
        assert np.all(np.diff(matched[..., channel].ravel()[order].astype(int)) >= 0)
    assert np.array_equal(match_histogram(wanted, wanted), wanted)


@pytest.mark.parametrize(
    "values",
    [
        {"inputs": ("content", "noise")},
        {"noise": 3},
        {"inputs": ("content", "noise"), "noise": 65},
        {"scale": 0},
        {"scale": 17},
        {"scale": 2, "inputs": ("content", "strength")},
        {"scale": 2, "kind": "texture", "inputs": ("noise",), "noise": 3},
        {"kind": "texture"},
        {"kind": "texture", "inputs": ("content",)},
    ],
)
def test_bad_noise_and_scale_metadata_is_refused(values: dict[str, object]) -> None:
    text = {"format": 1, "method": "toy", **values}
    with pytest.raises(BadEngine):
        parse(json.dumps(text))


def test_a_graph_of_another_size_is_refused(tmp_path: Path) -> None:
    """The metadata says ×4 but the graph enlarges ×2: detected after the first run."""
    save(DOUBLE, tmp_path / "double.onnx", Metadata("toy", scale=4, halo=2))
    with pytest.raises(BadEngine, match="its metadata is wrong"):
        Stylizer(tmp_path / "double.onnx")(picture(8, 8))
    save(TEXTURE, tmp_path / "t.onnx", Metadata("toy", "texture", ("noise",), noise=3))
    with pytest.raises(BadEngine, match="weights"):
        open_engine(tmp_path / "t.onnx")
