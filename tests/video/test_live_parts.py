"""The newest-frame slot, live styles, and operations on pictures."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from st.runtime import Stylizer
from st.runtime.errors import BadControl, BadInput
from st.runtime.pictures.io import Picture, write_picture
from st.video.live.compose import compared, fitted, mirrored
from st.video.live.latest import LatestSlot
from st.video.live.style_state import LiveStyle
from tests.support.toys import code_engine, identity_engine, tint_engine
from tests.support.video import clips


def test_the_slot_keeps_only_the_newest_item() -> None:
    slot: LatestSlot[np.ndarray] = LatestSlot()
    kept = []
    for number in range(1000):
        frame = np.full(1000, number)
        kept.append(weakref.ref(frame))
        slot.put(frame)
    del frame
    gc.collect()
    assert sum(ref() is not None for ref in kept) == 1
    newest = slot.take()
    assert newest is not None
    assert newest[0] == 999
    assert slot.take() is None
    assert slot.take(timeout=0.01) is None
    assert slot.replaced == 999


def test_the_slot_wakes_waiting_threads() -> None:
    slot: LatestSlot[int] = LatestSlot()
    threading.Timer(0.05, slot.put, [7]).start()
    assert slot.take(timeout=20) == 7


def test_styles_step_blend_and_fade(tmp_path: Path) -> None:
    frame = np.full((8, 8, 3), 55, np.uint8)
    with Stylizer(tint_engine(tmp_path / "tint.onnx"), device="cpu") as paint:
        style = LiveStyle(paint)
        assert [choice.label for choice in style.choices] == ["negative", "black"]
        assert style.label == "negative"
        assert (paint(frame) == 200).all()
        style.step(1)
        assert (paint(frame) == 0).all()
        style.step(1)
        assert (paint(frame) == 200).all()
        style.step(-1)
        assert style.label == "black"
        style.choose(0)
        style.next_second()
        assert style.label == "negative 50 % + black 50 %"
        assert (paint(frame) == 100).all()
        style.set_blend(style.blend + 0.25)
        assert (paint(frame) == 50).all()
        style.set_blend(7)
        assert (paint(frame) == 0).all()
        style.step(1)
        style.step(1)
        style.set_strength(0.5)
        assert style.label == "negative, strength 50%"
        assert (np.abs(paint(frame).astype(int) - (200 + 55) / 2) <= 1).all()
        style.set_strength(-3)
        assert (paint(frame) == 55).all()


def test_two_given_styles_form_an_adjustable_blend(tmp_path: Path) -> None:
    frame = np.full((8, 8, 3), 55, np.uint8)
    with Stylizer(tint_engine(tmp_path / "tint.onnx"), device="cpu") as paint:
        style = LiveStyle(paint, ["negative:1", "black:3"])
        assert style.label == "negative 25 % + black 75 %"
        assert (paint(frame) == 50).all()
        with pytest.raises(BadControl, match="negative, black"):
            LiveStyle(paint, ["wave"])
        with pytest.raises(BadControl, match="strength must be"):
            LiveStyle(paint, [], 2)


def test_style_pictures_are_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for name, value in (("dark", 10), ("mid", 40), ("light", 100)):
        path = tmp_path / f"{name}.png"
        write_picture(Picture(np.full((16, 16, 3), value, np.uint8)), path)
        names.append(str(path))
    with Stylizer(code_engine(tmp_path / "code.onnx"), device="cpu") as paint:
        with pytest.raises(BadControl, match="choose a picture as the style"):
            LiveStyle(paint)
        style = LiveStyle(paint, names)
        for name in names:
            Path(name).unlink()  # the files are read only once
        frame = np.zeros((8, 8, 3), np.uint8)
        assert style.label == "dark + mid + light"
        assert (paint(frame) == 50).all()
        style.step(1)
        assert style.label == "dark"
        assert (paint(frame) == 10).all()
        style.next_second()
        assert (paint(frame) == 25).all()
        with pytest.raises(BadInput, match="no such file"):
            LiveStyle(paint, [str(tmp_path / "none.png")])


def test_styles_that_do_not_blend_are_chosen_one_by_one(tmp_path: Path) -> None:
    for name, value in (("dark", 10), ("light", 100)):
        write_picture(Picture(np.full((16, 16, 3), value, np.uint8)), tmp_path / f"{name}.png")
    with Stylizer(code_engine(tmp_path / "code.onnx"), device="cpu") as paint:
        paint.metadata = replace(paint.metadata, blends=False)
        style = LiveStyle(paint, [str(tmp_path / "dark.png"), str(tmp_path / "light.png")])
        frame = np.zeros((8, 8, 3), np.uint8)
        assert (paint(frame) == 10).all()
        style.next_second()
        style.set_blend(0.5)
        assert (style.label, style.blend) == ("dark", 0)
        style.step(1)
        assert (paint(frame) == 100).all()


def test_an_engine_of_one_style_offers_no_choice(tmp_path: Path) -> None:
    with Stylizer(identity_engine(tmp_path / "identity.onnx"), device="cpu") as paint:
        style = LiveStyle(paint)
        for change in (style.next_second, lambda: style.step(1), lambda: style.set_blend(0.5)):
            change()
        assert style.label == "identity"


def test_mirror_compare_and_letterbox() -> None:
    source, painted = clips.scene(0), 255 - clips.scene(0)
    np.testing.assert_array_equal(mirrored(source), source[:, ::-1])
    assert compared(source, painted, "") is painted
    both = compared(source, painted, "before-after")
    np.testing.assert_array_equal(both[:, :31], source[:, :31])
    np.testing.assert_array_equal(both[:, 33:], painted[:, 33:])
    assert (painted == 255 - source).all()  # the input is not modified
    beside = compared(source, painted, "side-by-side")
    assert beside.shape == source.shape
    assert (beside[:10] == 0).all()  # black bars preserve the aspect ratio
    middle = beside[24].astype(int)
    assert np.abs(middle[:32] + middle[32:] - 255).max() <= 2
    wide = fitted(np.full((10, 10, 3), 9, np.uint8), (10, 40))
    assert wide.shape == (10, 40, 3)
    assert (wide[:, 15:25] == 9).all()
    assert wide[:, :15].max() == wide[:, 25:].max() == 0
    assert fitted(np.full((49, 65, 3), 9, np.uint8), (48, 64)).min() == 9  # one pixel: no bar
