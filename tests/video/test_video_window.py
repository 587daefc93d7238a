"""--start and --duration, with sound in sync."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from st.runtime.errors import BadInput
from st.video.film.time_range import TimeRange, parse_time
from tests.support.video import clips
from tests.support.video.golden import stylize


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_time_range_of_a_video_is_painted(suffix: str, tmp_path: Path) -> None:
    source = clips.film(
        tmp_path / f"in{suffix}",
        frames=72,
        sounds=1,
        subtitles="subrip" if suffix == ".mkv" else "",
        chapters=True,
    )
    target = tmp_path / f"out{suffix}"
    time_range = TimeRange(Fraction(3, 4), Fraction(1))
    stylize(source, target, time_range=time_range, quality=0)
    before, after = clips.read(source), clips.read(target)
    assert len(after) == 24
    assert after[0].time == pytest.approx(0, abs=0.002)
    # The same pictures: frame 18 is the first at 0.75 s.
    for one, two in zip(before[18:42], after, strict=True):
        assert abs(clips.planes(one)[0] - clips.planes(two)[0]).max() <= 2
    cut = {data: when for when, data in clips.packets(target, "audio")}
    sound = {data: when for when, data in clips.packets(source, "audio")}
    assert len(cut) >= 1 * 48000 // 1024 - 2
    for data, when in cut.items():
        assert when == pytest.approx(sound[data] - 0.75, abs=0.003)
    with av.open(str(target)) as film:
        assert film.duration == pytest.approx(1_000_000, abs=60_000)
        names = [c["metadata"]["title"] for c in film.chapters()]
        assert names == ["two"]
        assert film.chapters()[0]["start"] == 0
    if suffix == ".mkv":
        assert [round(when, 2) for when, _ in clips.packets(target, "subtitle")] == [0.0]


def test_a_time_range_without_frames_is_refused(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "in.mp4")
    with pytest.raises(BadInput, match="no frame after 5 s"):
        stylize(source, tmp_path / "out.mp4", time_range=TimeRange(Fraction(5)))
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1:30", 90), ("0:01:30.5", Fraction(181, 2)), ("0", 0)]
)
def test_times_are_parsed(text: str, seconds: Fraction) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:-3", "a", "1/0", "nan", "inf", "1e999999"])
def test_bad_times_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a time; give seconds or H:MM:SS"):
        parse_time(text)
