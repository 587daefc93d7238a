"""Folders, style names, crops, and batches that depend only on (seed, step)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from st.runtime.errors import BadInput
from st.train.data.batches import WHOLE, Batches
from st.train.data.files import (
    content_files,
    held_out,
    list_pictures,
    named_styles,
    style_files,
    style_name,
)
from st.train.data.pictures import ZOOM, PictureSource, load_style, random_crop


def test_list_pictures(tmp_path: Path, photographs: Path) -> None:
    names = [Path(path).name for path in list_pictures(photographs)]
    assert names == ["photo0.png", "photo1.png", "photo2.png"]
    with pytest.raises(BadInput, match="no such folder"):
        list_pictures(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(BadInput, match="no pictures"):
        list_pictures(tmp_path)


def test_named_styles(paintings: Path) -> None:
    strokes, dashes = str(paintings / "strokes.png"), str(paintings / "dashes.png")
    assert named_styles([str(paintings)]) == {"dashes": dashes, "strokes": strokes}
    given = named_styles([f"waves={strokes}", dashes])
    assert list(given.items()) == [("waves", strokes), ("dashes", dashes)]


def test_style_errors(paintings: Path, tmp_path: Path) -> None:
    strokes = paintings / "strokes.png"
    for given, problem in (
        (["nowhere.png"], "no such style"),
        ([f"waves={tmp_path / 'nowhere.png'}"], "no such style"),
        ([str(strokes), str(paintings)], "two styles"),
        ([f"={strokes}"], "without a name"),
        ([str(tmp_path)], "no pictures"),
    ):
        with pytest.raises(BadInput, match=problem):
            named_styles(given)
    assert len(style_files([str(strokes), str(paintings)])) == 3


def test_load_style_has_the_short_side(tmp_path: Path) -> None:
    Image.new("RGB", (90, 60), (255, 0, 51)).save(tmp_path / "red.png")
    style = load_style(tmp_path / "red.png", 40)
    assert style.shape == (1, 3, 40, 60)
    assert style[0, :, 20, 20].tolist() == pytest.approx([1, 0, 0.2])


def test_crops_of_small_and_long_pictures() -> None:
    random = np.random.default_rng(0)
    for size in ((5, 7), (33, 400), (400, 33), (64, 64)):
        assert random_crop(Image.new("RGB", size), 64, random).size == (64, 64)


def test_crops_show_the_picture_at_its_place() -> None:
    """In a picture whose red is its column and whose green is its row, crops show their
    position."""
    ramp = np.zeros((100, 200, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(200)[None], np.arange(100)[:, None]
    random = np.random.default_rng(3)
    for _ in range(10):
        crop = np.asarray(random_crop(Image.fromarray(ramp), 50, random)).astype(int)
        across, down = crop[25, 40, 0] - crop[25, 10, 0], crop[40, 25, 1] - crop[10, 25, 1]
        assert abs(across) == pytest.approx(down, abs=2)  # mirrored or not, never stretched
        assert 30 * 100 / 100 - 2 <= down <= 30 * 100 / 50 + 2  # short side 50 to 100 pixels


def batches(photographs: Path, paintings: Path, any_style: bool, seed: int = 0) -> Batches:
    style = list_pictures(paintings) if any_style else ()
    return Batches(list_pictures(photographs), style, 3, 32, 2, seed)


@pytest.mark.parametrize("any_style", [False, True])
def test_batches_are_a_function_of_seed_and_step(
    photographs: Path, paintings: Path, any_style: bool
) -> None:
    first, again = (batches(photographs, paintings, any_style) for _ in range(2))
    for step in (7, 0):
        one, two = first[step], again[step]
        assert torch.equal(one.content, two.content)
        assert torch.equal(one.index, two.index)
        assert one.shift == two.shift
        if any_style:
            assert one.style is not None
            assert two.style is not None
            assert one.style.shape == (2, 3, 32, 32)
            assert torch.equal(one.style, two.style)
        else:
            assert one.style is None
    other = batches(photographs, paintings, any_style, seed=1)
    assert not torch.equal(first[0].content, first[1].content)
    assert not torch.equal(first[0].content, other[0].content)
    assert first[0].content.shape == (2, 3, 32, 32)
    assert 0 <= first[0].content.min() < first[0].content.max() <= 1


def test_style_crops_of_a_given_size_cover_nearly_the_whole_picture(
    photographs: Path, paintings: Path
) -> None:
    plain = batches(photographs, paintings, any_style=True)
    whole = replace(plain, style_crop=48)
    style = whole[3].style
    assert style is not None
    assert style.shape == (2, 3, 48, 48)
    assert torch.equal(whole[3].content, plain[3].content)
    with mock.patch("st.train.data.batches.random_crop", wraps=random_crop) as cut:
        assert whole[3].style is not None
    zooms = [call.args[3] for call in cut.call_args_list]
    assert zooms == [ZOOM, ZOOM, WHOLE, WHOLE]
    for picture in (call.args[0] for call in cut.call_args_list[2:]):
        assert min(picture.size) <= math.ceil(WHOLE * 48)


def test_styles_are_seen_equally_often(photographs: Path, paintings: Path) -> None:
    many = batches(photographs, paintings, any_style=False)
    seen = Counter(int(i) for step in range(12) for i in many[step].index)
    assert seen == {0: 8, 1: 8, 2: 8}
    orders = {tuple(int(i) for s in range(n, n + 3) for i in many[s].index) for n in (0, 3, 6, 9)}
    assert len(orders) > 1


def test_shifts_cover_every_offset(photographs: Path, paintings: Path) -> None:
    many = batches(photographs, paintings, any_style=False)
    rows, columns = zip(*(many[step].shift for step in range(60)), strict=True)
    assert set(rows) == set(columns) == set(range(8))


def test_held_out_pictures_are_never_trained_on(tmp_path: Path) -> None:
    names = [tmp_path / f"photo{i}.png" for i in range(200)]
    for name in names:
        name.write_bytes(b"")
    kept = [n for n in names if held_out(n, 20)]
    assert 4 <= len(kept) <= 20
    assert [held_out(Path("/elsewhere") / n.name, 20) for n in names] == [n in kept for n in names]
    assert not any(held_out(n, 0) for n in names)
    assert content_files([tmp_path], 20) == sorted(map(str, set(names) - set(kept)))
    with pytest.raises(BadInput, match="all 200 photographs are held out"):
        content_files([tmp_path], 1)


def test_style_names_become_printable() -> None:
    assert style_name("Screenshot 9.41\u202fAM") == "Screenshot 9.41 AM"
    assert style_name(" two\nlines\u00a0") == "two lines"
    assert style_name("bell\x07") == "bell_"
    assert style_name("e\u0301te\u0301") == "\u00e9t\u00e9"
    assert len(style_name("x" * 300)) == 80
    assert style_name("wave") == "wave"


def test_changed_style_names_are_reported(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a\u202fb.png")
    told: list[str] = []
    assert list(named_styles([str(tmp_path)], told.append)) == ["a b"]
    assert told == ["style 'a\\u202fb' is named 'a b'"]


def draws(source: PictureSource) -> list[bytes]:
    random = np.random.default_rng(5)
    return [picture.tobytes() for _ in range(4) for picture in source.draw(3, random)]


def test_damaged_and_oversized_pictures_are_left_out(photographs: Path, tmp_path: Path) -> None:
    files = list_pictures(photographs)
    (tmp_path / "cut.png").write_bytes(Path(files[0]).read_bytes()[:300])
    Image.new("1", (20_000, 10_000)).save(tmp_path / "vast.png")
    source = PictureSource([*files, *list_pictures(tmp_path)], 64, 0)
    assert len(draws(source)) == 12
    problems = source.new_problems()
    assert len(problems) == 2
    assert any("vast.png" in line and "200 megapixels" in line for line in problems)
    assert source.new_problems() == ()
    with pytest.raises(BadInput, match=r"1 of 1 pictures cannot be read.*cut\.png"):
        PictureSource([str(tmp_path / "cut.png")], 64, 0).draw(1, np.random.default_rng(0))


def test_cached_pictures_equal_the_files(photographs: Path) -> None:
    files = list_pictures(photographs)
    forgetful, keeping = PictureSource(files, 40, 0), PictureSource(files, 40, 1 << 20)
    assert draws(keeping) == draws(forgetful) == draws(keeping)


def test_pictures_are_read_as_the_runtime_reads_them(tmp_path: Path) -> None:
    """16-bit gray is not white, EXIF orientation is applied, and hidden colors are replaced."""
    gray = np.full((40, 40), 128 * 257, np.uint16)
    Image.fromarray(gray).save(tmp_path / "deep.png")
    assert load_style(tmp_path / "deep.png", 40).mean() == pytest.approx(128 / 255, abs=0.01)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "lying.jpg", exif=exif)
    assert load_style(tmp_path / "lying.jpg", 40).shape == (1, 3, 60, 40)
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 40, 20))
    clear.save(tmp_path / "clear.png")
    assert load_style(tmp_path / "clear.png", 40)[0, 0].max() == 0, "no hidden red"


def test_style_names_that_no_engine_can_hold_are_refused(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (20, 20)).save(picture)
    few, many = ([f"{n:04} {'x' * 45}={picture}" for n in range(m)] for m in (900, 1424))
    assert len(named_styles(few)) == 900
    with pytest.raises(BadInput, match="names of 1424 styles are too long"):
        named_styles(many)
