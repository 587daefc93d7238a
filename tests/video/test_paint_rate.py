"""--paint-size: videos painted at a fraction of their size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from st.runtime import Stylizer
from st.video.jobs.paint_rate import MIN_SIDE, candidates, choose_size, first_fast_enough
from st.video.jobs.segment_store import SegmentStore
from tests.support import toys
from tests.support.video import clips


def test_candidate_sizes_by_frame_size() -> None:
    assert candidates(720, 1280) == [None, 960, 853, 640]
    assert candidates(960, 720) == [None, 720, 640, 480]
    assert candidates(270, 480) == [None]


@given(some.integers(1, 5000), some.integers(1, 5000))
def test_candidate_sizes_decrease(height: int, width: int) -> None:
    found = [max(height, width), *(size for size in candidates(height, width) if size)]
    assert found == sorted(set(found), reverse=True)
    assert all(size >= MIN_SIDE for size in found[1:])


@pytest.mark.parametrize(
    ("fps", "size", "asked"), [(10, None, 1), (24, 960, 2), (40, 640, 4), (100, 640, 4)]
)
def test_the_largest_size_that_keeps_up_is_chosen(fps: float, size: int | None, asked: int) -> None:
    rates = {None: 12.0, 960: 24.0, 853: 30.0, 640: 45.0}
    measured: list[int | None] = []

    def rate(size: int | None) -> float:
        measured.append(size)
        return rates[size]

    choice = first_fast_enough(list(rates), fps, rate)
    assert (choice.paint_size, choice.fps) == (size, rates[size])
    assert len(measured) == asked, "no more is measured than must be"


def test_a_resumed_video_keeps_its_paint_size(tmp_path: Path) -> None:
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    target = tmp_path / "out.mp4"
    with Stylizer(engine, device="cpu") as stylizer:
        store = SegmentStore(target)
        begun = stylizer.styled().set_paint_size(640)
        store.begin({"painter": [begun.identity, 0]})
        choice = choose_size(stylizer, 720, 1280, 0.001, 1, target)
        assert (choice.paint_size, choice.fps) == (640, None)
        other = choose_size(stylizer.styled("black"), 720, 1280, 0.001, 1, target)
        assert other.paint_size is None
        assert other.fps is not None
        store.close()


def paint(*words: object, code: int = 0) -> str:
    code_text = "from st.video.command import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code_text, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def test_the_command_paints_smaller_and_writes_the_videos_size(tmp_path: Path) -> None:
    engine = toys.tint_engine(tmp_path / "tint.onnx")
    source = clips.film(tmp_path / "in.mp4")
    common = (source, "--engine", engine, "--codec", "lossless", "-o")
    paint(*common, tmp_path / "full.mkv")
    said = paint(*common, tmp_path / "auto.mkv", "--paint-size", "auto")
    assert "painting at 64×48, about " in said
    paint(*common, tmp_path / "small.mkv", "--paint-size", 32)
    films = {}
    for name in ("full", "auto", "small"):
        with av.open(str(tmp_path / f"{name}.mkv")) as film:
            films[name] = np.stack([f.to_ndarray(format="rgb24") for f in film.decode(video=0)])
    np.testing.assert_array_equal(films["auto"], films["full"])
    assert films["small"].shape == films["full"].shape
    assert (films["small"] != films["full"]).any()
    assert np.abs(films["small"].astype(int) - films["full"]).mean() < 12
