"""Stylizer: pictures in and out, styles, strengths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray

from st.runtime import BadControl, BadEngine, BadInput, StError, StyleCode, Stylizer
from st.runtime.engine.metadata import PROPERTY, Metadata, parse
from st.runtime.style_encoder import as_style
from tests.support import toys


def picture(height: int = 24, width: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def tint(tmp_path: Path) -> Stylizer:
    return Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="cpu")


@pytest.fixture
def code(tmp_path: Path) -> Stylizer:
    return Stylizer(toys.code_engine(tmp_path / "code.onnx"), device="cpu")


def test_the_first_style_is_the_default(tint: Stylizer) -> None:
    assert tint.styles == ("negative", "black")
    np.testing.assert_array_equal(tint(picture()), 255 - picture())


def test_set_style_by_name_returns_the_stylizer(tint: Stylizer) -> None:
    assert tint.set_style("black") is tint
    assert not tint(picture()).any()


def test_a_blend_is_convex(tint: Stylizer) -> None:
    painted = tint.set_style({"negative": 1, "black": 3})(picture())
    expected = (255.0 - picture()) / 4
    assert np.abs(painted - expected).max() <= 0.5


def test_strength_without_an_input_for_it_mixes(tint: Stylizer) -> None:
    painted = tint.set_style("black", strength=0.25)(picture())
    assert np.abs(painted - 0.75 * picture()).max() <= 0.5


def test_set_style_without_a_style_keeps_it(tint: Stylizer) -> None:
    tint.set_style("black").set_style(strength=0.5)
    assert np.abs(tint(picture()) - 0.5 * picture()).max() <= 0.5


def test_set_style_without_a_strength_keeps_it(tint: Stylizer) -> None:
    tint.set_style(strength=0.5).set_style("black")
    assert np.abs(tint(picture()) - 0.5 * picture()).max() <= 0.5


def test_strength_zero_gives_a_copy(tint: Stylizer) -> None:
    frame = picture()
    painted = tint.set_style(strength=0)(frame)
    np.testing.assert_array_equal(painted, frame)
    assert not np.shares_memory(painted, frame)


def test_the_frame_is_never_written_to(tint: Stylizer) -> None:
    frame = picture(7, 9)
    frame.flags.writeable = False
    tint.set_style(strength=0.5)(frame)
    np.testing.assert_array_equal(frame, picture(7, 9))


def test_a_batch_is_its_frames(tint: Stylizer) -> None:
    batch = np.stack([picture(seed=n) for n in range(3)])
    painted = tint.set_style(strength=0.5)(batch)
    np.testing.assert_array_equal(painted, np.stack([tint(frame) for frame in batch]))


def test_an_engine_with_batch_size_one_accepts_batches(tmp_path: Path) -> None:
    text = """one (uint8[1, H, W, 3] content) => (uint8[1, H, W, 3] stylized)
    { stylized = BitwiseNot(content) }"""
    stylizer = Stylizer(toys.save(text, tmp_path / "one.onnx", Metadata("one")), device="cpu")
    batch = np.stack([picture(seed=n) for n in range(3)])
    np.testing.assert_array_equal(stylizer(batch), 255 - batch)


def test_strided_views_are_accepted(tint: Stylizer) -> None:
    frame = picture(20, 40)[::2, ::-2]
    np.testing.assert_array_equal(tint(frame), 255 - frame)


@given(height=some.integers(1, 40), width=some.integers(1, 40), multiple=some.sampled_from([4, 8]))
@settings(max_examples=40, deadline=None)
def test_outputs_have_the_size_of_the_input(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, multiple: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"identity{multiple}.onnx"
    if not path.exists():
        strict_engine(path, multiple)
    frame = picture(height, width)
    painted = Stylizer(path, device="cpu", threads=1)(frame)
    np.testing.assert_array_equal(painted, frame)
    assert painted.flags.c_contiguous


def strict_engine(path: Path, multiple: int) -> None:
    """The identity, with a reshape that fails on sizes that are not multiples."""
    text = f"""strict (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized)
    <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] m = {{{multiple}}},
     int64[1] three = {{3}}> {{
        shape = Shape(content)
        n = Shape<start = 0, end = 1>(content)
        sides = Shape<start = 1, end = 3>(content)
        steps = Div(sides, m)
        h = Gather(steps, zero)
        w = Gather(steps, one)
        split = Concat<axis = 0>(n, h, m, w, m, three)
        cut = Reshape(content, split)
        stylized = Reshape(cut, shape)
    }}"""
    toys.save(text, path, Metadata("strict", multiple=multiple, min_size=12))


def test_padding_reflects_and_replicates_where_too_small(tmp_path: Path) -> None:
    """Observed with an engine that returns the mean of its input."""
    text = """mean (uint8[N, H, W, 3] content) => (uint8[N, H, W, 3] stylized)
    <int64[2] axes = {1, 2}, float zero = {0}> {
        x = Cast<to: int = 1>(content)
        mean = ReduceMean(x, axes)
        none = Mul(x, zero)
        spread = Add(none, mean)
        rounded = Round(spread)
        stylized = Cast<to: int = 2>(rounded)
    }"""
    path = toys.save(text, tmp_path / "mean.onnx", Metadata("mean", multiple=4))
    stylizer = Stylizer(path, device="cpu")
    row = np.array([10, 20, 90], np.uint8)
    reflected = np.repeat(np.tile(row[:, None], (4, 1, 1)), 3, axis=2)  # 10 20 90 | 20
    assert stylizer(reflected)[0, 0, 0] == round((10 + 20 + 90 + 20) / 4)
    tiny = np.full((1, 2, 3), [[[10] * 3, [90] * 3]], np.uint8)  # 10 90 | 90 90
    assert stylizer(tiny)[0, 0, 0] == round((10 + 90 * 3) / 4)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros(4, np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((2, 4, 4, 4), np.uint8),
        np.zeros((1, 1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
        [[[0, 0, 0]]],
        None,
    ],
)
def test_other_arrays_are_refused_and_the_error_names_the_expected_ones(
    tint: Stylizer, frame: object
) -> None:
    with pytest.raises(BadInput, match=r"picture (must be|needs)"):
        tint(frame)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan"), float("inf"), "much"])
def test_bad_strengths_are_refused(tint: Stylizer, strength: float) -> None:
    with pytest.raises(BadControl, match="from 0 to 1"):
        tint.set_style("black", strength)
    np.testing.assert_array_equal(tint(picture()), 255 - picture())


@pytest.mark.parametrize(
    "blend",
    [{}, {"black": 0}, {"black": -1, "negative": 2}, {"black": float("nan")}, {"black": "1"}],
)
def test_bad_weights_are_refused(tint: Stylizer, blend: dict[str, float]) -> None:
    with pytest.raises(BadControl, match="weights"):
        tint.set_style(blend)


def test_an_unknown_style_lists_the_known_ones(tint: Stylizer) -> None:
    for style in ("wave", {"wave": 1.0}):
        with pytest.raises(BadControl, match=r"'wave'.*negative, black"):
            tint.set_style(style)


def test_an_engine_of_named_styles_refuses_style_pictures(tint: Stylizer) -> None:
    for style in (picture(), Path("wave.jpg"), StyleCode(np.zeros(3, np.float32), "tint")):
        with pytest.raises(BadControl, match=r"its own styles only.*negative, black"):
            tint.set_style(style)


def test_a_style_picture_sets_the_style(code: Stylizer, tmp_path: Path) -> None:
    style = np.full((20, 20, 3), (10, 20, 30), np.uint8)
    painted = code.set_style(style)(np.full((4, 4, 3), 50, np.uint8))
    assert painted[0, 0].tolist() == [60, 70, 80]
    cv2.imwrite(str(tmp_path / "style.png"), style[..., ::-1])
    for named in (tmp_path / "style.png", str(tmp_path / "style.png")):
        again = code.set_style(named)(np.full((4, 4, 3), 50, np.uint8))
        np.testing.assert_array_equal(again, painted)


def test_strength_is_passed_to_an_engine_with_that_input(code: Stylizer) -> None:
    style = np.full((20, 20, 3), 100, np.uint8)
    painted = code.set_style(style, strength=0.5)(np.full((4, 4, 3), 50, np.uint8))
    assert painted[0, 0].tolist() == [100, 100, 100]  # 50 + 0.5 * 100, not a mix


def test_codes_blend(code: Stylizer) -> None:
    dark, light = (code.encode_style(np.full((8, 8, 3), v, np.uint8)) for v in (0, 100))
    painted = code.set_style({dark: 3, light: 1})(np.full((4, 4, 3), 50, np.uint8))
    assert painted[0, 0].tolist() == [75, 75, 75]


def test_painting_before_setting_a_style_is_an_error(code: Stylizer) -> None:
    with pytest.raises(BadControl, match="no style is set"):
        code(picture())


def test_codes_are_cached_by_content(code: Stylizer) -> None:
    assert code.encode_style(picture(seed=1)) is code.encode_style(picture(seed=1))
    assert code.encode_style(picture(seed=1)) is not code.encode_style(picture(seed=2))


def test_a_large_style_picture_is_scaled_down_first(code: Stylizer) -> None:
    style = np.full((3000, 2000, 3), (10, 20, 30), np.uint8)
    np.testing.assert_allclose(code.encode_style(style).values, [10, 20, 30], atol=0.01)


def test_style_codes_are_saved_and_loaded(code: Stylizer, tmp_path: Path) -> None:
    made = code.encode_style(picture())
    made.save(tmp_path / "mine.npz")
    loaded = StyleCode.load(tmp_path / "mine.npz")
    np.testing.assert_array_equal(loaded.values, made.values)
    assert loaded.fingerprint == made.fingerprint
    one = code.set_style(made)(picture())
    np.testing.assert_array_equal(code.set_style(tmp_path / "mine.npz")(picture()), one)


def test_a_code_of_another_engine_is_refused(code: Stylizer) -> None:
    for other in (
        StyleCode(np.zeros(3, np.float32), "other"),
        StyleCode(np.zeros(4, np.float32), "mean"),
    ):
        with pytest.raises(BadControl, match="another engine"):
            code.set_style(other)


def test_an_encoder_of_another_engine_is_refused(tmp_path: Path) -> None:
    path = toys.code_engine(tmp_path / "code.onnx")
    encoder = path.with_suffix(".encoder.onnx")
    text = """mean (uint8[1, H, W, 3] style) => (float[1, 3] code)
    <int64[2] axes = {1, 2}> { x = Cast<to: int = 1>(style)
    code = ReduceMean<keepdims: int = 0>(x, axes) }"""
    other = Metadata("add", "style-encoder", ("style",), code_size=3, fingerprint="else")
    toys.save(text, encoder, other)
    with pytest.raises(BadEngine, match="another engine"):
        Stylizer(path, device="cpu").set_style(picture())
    encoder.unlink()
    with pytest.raises(BadEngine, match=r"code\.encoder\.onnx: not found"):
        Stylizer(path, device="cpu").set_style(picture())


def test_an_engine_of_one_style_takes_a_strength(tmp_path: Path) -> None:
    stylizer = Stylizer(toys.identity_engine(tmp_path / "one.onnx"), device="cpu")
    assert stylizer.styles == ()
    np.testing.assert_array_equal(stylizer.set_style(strength=0.5)(picture()), picture())
    with pytest.raises(BadControl, match="one style"):
        stylizer.set_style(picture())


def test_fixed_size_engines(tmp_path: Path) -> None:
    text = """fixed (uint8[N, 8, 12, 3] content) => (uint8[N, 8, 12, 3] stylized)
    { stylized = BitwiseNot(content) }"""
    path = toys.save(text, tmp_path / "fixed.onnx", Metadata("fixed", fixed_size=(8, 12)))
    stylizer = Stylizer(path, device="cpu")
    for size in ((8, 12), (5, 7), (1, 1)):
        np.testing.assert_array_equal(stylizer(picture(*size)), 255 - picture(*size))
    with pytest.raises(BadInput, match="up to 12×8, not 13×8"):
        stylizer(picture(8, 13))


def test_an_encoder_of_one_size_sees_the_center_crop() -> None:
    metadata = Metadata("fixed", "style-encoder", ("style",), code_size=1, fixed_size=(8, 8))
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 200  # a square in the middle, which alone is seen
    for style in (wide, wide.transpose(1, 0, 2), wide[:, 16:32]):
        seen = as_style(np.ascontiguousarray(style), metadata)
        assert seen.shape == (1, 8, 8, 3)
        assert (seen == 200).all()


def test_an_unknown_engine_lists_the_shipped_ones() -> None:
    with pytest.raises(BadInput, match=r"no engine 'nosuch': shipped are .*; or give a file"):
        Stylizer("nosuch")


def test_a_closed_stylizer_raises_a_clear_error(tint: Stylizer) -> None:
    with tint:
        tint(picture())
    with pytest.raises(StError, match="closed"):
        tint(picture())
    tint.close()


def test_an_engine_built_for_a_range_of_sizes(tmp_path: Path) -> None:
    """Smaller frames are padded to its minimum size, larger ones painted in tiles."""
    path = toys.tiles_pair(tmp_path / "any.onnx")
    ranged = tmp_path / "ranged.onnx"
    for suffix in (".onnx", ".tiles.onnx"):
        model = onnx.load(path.with_suffix(suffix))
        metadata = parse(model.metadata_props[0].value)
        del model.metadata_props[:]
        sizes = ((16, 24), (64, 80) if metadata.kind == "stylizer" else (72, 72))
        model.metadata_props.add(key=PROPERTY, value=replace(metadata, sizes=sizes).dump())
        ranged.with_suffix(suffix).write_bytes(model.SerializeToString())
    seen = []
    with Stylizer(path) as free, Stylizer(ranged) as bound:
        for stylizer in (free, bound):
            stylizer.set_style({"soft": 0.5, "hard": 0.5})
        run = bound._engine.backend.run
        bound._engine.backend.run = lambda i, o: seen.append(i["content"].shape) or run(i, o)  # pyright: ignore
        random = np.random.default_rng(0)
        for size in ((64, 80), (20, 20)):
            frame = random.integers(0, 256, (*size, 3), np.uint8)
            assert bound(frame).shape == frame.shape
        frame = random.integers(0, 256, (100, 180, 3), np.uint8)
        assert np.abs(bound(frame).astype(int) - free(frame)).max() <= 2
    assert seen == [(1, 64, 80, 3), (1, 20, 24, 3)]
