"""Regions: a style where its mask is white, with exact borders, for all kinds of masks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from st.runtime import BadControl, BadInput, Stylizer
from st.runtime.painting.regions import (
    FULL,
    MAX_REGIONS,
    as_mask,
    compose,
    make_plan,
    shape_weights,
)
from tests.support import toys


def picture(height: int = 24, width: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def left_half(height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 2] = 255
    return mask


@pytest.fixture
def tint(tmp_path: Path) -> Stylizer:
    return Stylizer(toys.tint_engine(tmp_path / "tint.onnx"), device="cpu")


def test_two_styles_meet_at_a_clean_border(tint: Stylizer) -> None:
    frame, mask = picture(), left_half()
    painted = tint.set_regions({"negative": mask, "black": 255 - mask})(frame)
    np.testing.assert_array_equal(painted[:, :16], 255 - frame[:, :16])
    assert not painted[:, 16:].any()


@pytest.mark.parametrize("feather", [2, 5, 10])
def test_beyond_the_feather_each_side_has_its_own_style(tint: Stylizer, feather: int) -> None:
    frame, mask = picture(40, 60), left_half(40, 60)
    painted = tint.set_regions({"negative": mask, "black": 255 - mask}, feather)(frame)
    near = feather // 2 + 1
    np.testing.assert_array_equal(painted[:, : 30 - near], 255 - frame[:, : 30 - near])
    assert not painted[:, 30 + near :].any()
    # Across the border the share falls from 1 to 0, evenly.
    white = tint(np.zeros((40, 60, 3), np.uint8))[20, :, 0].astype(int)
    assert (np.diff(white) <= 0).all()
    assert white[30 - near] > 200
    assert 0 < white[30] < 255


def test_outside_regions_the_picture_or_the_set_style_is_shown(tint: Stylizer) -> None:
    frame, mask = picture(), left_half()
    painted = tint.set_regions({"black": mask})(frame)
    np.testing.assert_array_equal(painted[:, 16:], frame[:, 16:])
    painted = tint.set_regions({"black": mask}, rest="style")(frame)
    np.testing.assert_array_equal(painted[:, 16:], 255 - frame[:, 16:])
    tint.set_style("black").set_regions({None: mask})
    np.testing.assert_array_equal(tint(frame)[:, 16:], frame[:, 16:])
    assert not tint(frame)[:, :16].any()
    np.testing.assert_array_equal(tint.set_regions(None)(frame), 0 * frame)


def test_a_black_mask_paints_nothing_and_a_white_one_everything(tint: Stylizer) -> None:
    frame = picture()
    for dark in (np.zeros((3, 3), np.uint8), np.zeros((1, 1), bool), np.zeros((9, 9), np.float64)):
        painted = tint.set_regions({"black": dark})(frame)
        np.testing.assert_array_equal(painted, frame)
        assert not np.shares_memory(painted, frame)
    for light in (np.ones((1, 1), np.float32), np.full((5, 7, 3), 255, np.uint8)):
        np.testing.assert_array_equal(tint.set_regions({"negative": light})(frame), 255 - frame)


def test_a_style_with_an_empty_mask_is_not_run(tint: Stylizer, monkeypatch: Any) -> None:
    runs = []
    backend = tint._engine.backend
    run = backend.run
    monkeypatch.setattr(backend, "run", lambda *given: runs.append(given) or run(*given))
    mask = np.ones((4, 4), bool)
    tint.set_regions({"negative": mask, "black": ~mask}, feather=3)(picture())
    assert len(runs) == 1


masks = arrays(
    np.uint8,
    some.tuples(some.integers(1, 9), some.integers(1, 9)),
    elements=some.sampled_from([0, 1, 90, 254, 255]),
)
sides = some.integers(1, 40)


@given(given=some.lists(masks, min_size=1, max_size=3), height=sides, width=sides,
       feather=some.sampled_from([0, 1, 7, 90]))  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_every_pixel_is_a_weighted_mean_of_the_paintings(
    given: list[NDArray[np.uint8]], height: int, width: int, feather: int
) -> None:
    plan = make_plan(given, feather, height, width)
    values = [11, 83, 200, 250]
    paintings = [np.full((height, width, 3), values[s], np.uint8) for s in plan.styles]
    shares = [shape_weights(mask, feather, height, width) for mask in given]
    total = np.sum(shares, axis=0, dtype=np.int64)
    rest = np.maximum(FULL - total, 0)
    expected = sum(v * s.astype(float) for v, s in zip(values, shares, strict=False))
    if len(given) in plan.styles:
        expected, total = expected + values[len(given)] * rest, total + rest
    found = compose(paintings, plan)
    assert np.abs(found - (expected / total)[..., None]).max() <= 0.5001


@given(given=some.lists(masks, min_size=3, max_size=3), feather=some.sampled_from([0, 4]))
@settings(max_examples=30, deadline=None)
def test_the_order_of_regions_changes_nothing(given: list[NDArray[np.uint8]], feather: int) -> None:
    paintings = [picture(seed=n) for n in range(3)]

    def painted(order: tuple[int, ...]) -> NDArray[np.uint8]:
        plan = make_plan([given[n] for n in order], feather, 24, 32)
        chosen = [paintings[order[s]] if s < 3 else picture(seed=9) for s in plan.styles]
        return compose(chosen, plan)

    first, *others = (painted(order) for order in itertools.permutations(range(3)))
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_overlapping_regions_are_averaged_by_weight(tint: Stylizer) -> None:
    everywhere = np.ones((2, 2), bool)
    frame = np.zeros((5, 6, 3), np.uint8)
    both = {"negative": everywhere, "black": everywhere}
    np.testing.assert_array_equal(tint.set_regions(both)(frame), np.full_like(frame, 128))
    half = {"negative": np.full((1, 1), 0.5), "black": everywhere}
    assert np.abs(tint.set_regions(half)(frame).astype(int) - 85).max() <= 1


def test_masks_may_be_files_and_transparency_is_black(tint: Stylizer, tmp_path: Path) -> None:
    frame, mask = picture(), left_half()
    Image.fromarray(mask).save(tmp_path / "gray.png")
    cut_out = np.dstack([np.full((24, 32, 3), 255, np.uint8), mask])
    Image.fromarray(cut_out).save(tmp_path / "cut.png")
    expected = tint.set_regions({"negative": mask})(frame)
    for name in ("gray.png", "cut.png"):
        found = tint.set_regions({"negative": tmp_path / name})(frame)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(as_mask(str(tmp_path / "gray.png")), mask)


def test_masks_for_one_call(tint: Stylizer) -> None:
    """Masks that are passed with a call, as for the frames of a mask video."""
    frame, mask = picture(), left_half()
    tint.set_regions({"black": np.ones((1, 1), bool)})
    np.testing.assert_array_equal(tint(frame, masks=[mask])[:, 16:], frame[:, 16:])
    assert not tint(frame).any()
    with pytest.raises(BadControl, match="2 masks for 1 region"):
        tint(frame, masks=[mask, mask])


def test_regions_with_batches_strength_and_style_pictures(tmp_path: Path) -> None:
    code = Stylizer(toys.code_engine(tmp_path / "code.onnx"), device="cpu")
    dark, light = (np.full((20, 20, 3), v, np.uint8) for v in (20, 80))
    mask = left_half()
    code.set_regions([(dark, mask), (light, 255 - mask)])
    batch = np.stack([np.full((24, 32, 3), v, np.uint8) for v in (0, 100)])
    painted = code(batch)
    assert (painted[:, :, :16] == batch[:, :, :16] + 20).all()
    assert (painted[:, :, 16:] == batch[:, :, 16:] + 80).all()
    painted = code.set_style(strength=0.5)(batch)
    assert (painted[:, :, 16:] == batch[:, :, 16:] + 40).all()


@pytest.mark.parametrize(
    ("regions", "settings", "error", "message"),
    [
        ({}, {}, BadControl, "0 regions"),
        ([("black", np.ones((1, 1), bool))] * (MAX_REGIONS + 1), {}, BadControl, "16 regions"),
        ({"nosuch": np.ones((1, 1), bool)}, {}, BadControl, "negative, black"),
        ({"black": np.ones(3)}, {}, BadInput, "mask"),
        ({"black": np.ones((3, 3, 2))}, {}, BadInput, "mask"),
        ({"black": np.ones((0, 3))}, {}, BadInput, "mask"),
        ({"black": np.full((2, 2), 1.5)}, {}, BadInput, "0 to 1"),
        ({"black": np.full((2, 2), np.nan)}, {}, BadInput, "0 to 1"),
        ({"black": np.ones((2, 2), np.int64)}, {}, BadInput, "0 to 1"),
        ({"black": None}, {}, BadInput, "mask"),
        ({"black": "missing.png"}, {}, BadInput, "missing.png"),
        ({"black": np.ones((1, 1), bool)}, {"feather": -1}, BadControl, "feather"),
        ({"black": np.ones((1, 1), bool)}, {"feather": float("nan")}, BadControl, "feather"),
        ({"black": np.ones((1, 1), bool)}, {"rest": "white"}, BadControl, "rest"),
    ],
)
def test_bad_regions_change_nothing(
    tint: Stylizer, regions: Any, settings: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tint.set_regions(regions, **settings)
    np.testing.assert_array_equal(tint(picture()), 255 - picture())
