"""A killed video is resumed, and equals that of an uninterrupted run."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from st.runtime.errors import BadInput
from st.video.film.temporal_filter import TemporalFilter
from st.video.jobs.job import Callbacks, Interrupted, Job, Painter, Result, open_reader, perform
from tests.support.video import clips

Picture = np.ndarray[Any, Any]


def inverted(frame: Picture) -> Picture:
    return 255 - frame


def dying(moment: int) -> Callable[[Picture], Picture]:
    """A painter that fails at a given frame, like a kill: unfinished segments are lost."""
    lock, calls = threading.Lock(), iter(range(1, 10_000))

    def paint(frame: Picture) -> Picture:
        with lock:
            if next(calls) == moment:
                raise KeyboardInterrupt("killed")
        return inverted(frame)

    return paint


def make(
    source: Path,
    target: Path,
    paint: Callable[[Picture], Picture] = inverted,
    settings: str = "inverted",
    warnings: list[str] | None = None,
    resume: bool = True,
    stop: threading.Event | None = None,
    painted: Callable[[], None] = lambda: None,
    steady: TemporalFilter | None = None,
    **choices: Any,
) -> Result:
    job = Job(source, **choices)
    reader = open_reader(job)
    try:
        warn = (warnings if warnings is not None else []).append
        callbacks = Callbacks(warn, painted, stop or threading.Event())
        painter = Painter(paint, identity=settings, temporal_filter=steady)
        return perform(job, reader, target, painter, callbacks, resume)
    finally:
        reader.close()


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st.video.jobs.segments.SEGMENT_FRAMES", 7)


VARIABLE = [i * 512 + (i % 3) * 90 for i in range(clips.FRAMES)]


@pytest.mark.parametrize(
    ("name", "how", "codec"),
    [
        ("a.mp4", {"sounds": 1}, None),
        ("a.mkv", {"sounds": 2, "subtitles": "subrip"}, None),
        ("a.mp4", {"times": VARIABLE}, "hevc"),
        ("a.mov", {}, "prores"),
        ("a.ts", {"sounds": 1}, None),
        ("a.webm", {"codec": "libvpx-vp9", "pixels": "yuva420p", "alpha": True}, None),
    ],
)
def test_a_killed_and_resumed_video_equals_an_uninterrupted_one(
    name: str, how: dict[str, Any], codec: str | None, tmp_path: Path
) -> None:
    source = clips.film(tmp_path / name, **how)
    suffix = source.suffix
    unbroken, killed = (tmp_path / f"{word}{suffix}" for word in ("unbroken", "killed"))
    make(source, unbroken, codec=codec)
    resumed = 0
    for moment in (2, 15, 5):  # painters run ahead by up to six frames
        with pytest.raises(KeyboardInterrupt):
            make(source, killed, dying(moment), codec=codec)
        assert not killed.exists()
    warnings: list[str] = []
    result = make(source, killed, codec=codec, warnings=warnings)
    resumed = result.resumed
    assert resumed in (7, 14)
    assert f"resuming after {resumed} frames" in warnings[0]
    assert result.frames == clips.FRAMES
    assert clips.all_packets(killed) == clips.all_packets(unbroken)
    assert len(clips.read(killed)) == clips.FRAMES
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, killed.name, unbroken.name])


def test_a_filtered_video_resumes_with_the_filters_state(tmp_path: Path) -> None:
    """The filter's state, the previous frame, is stored with the segments."""
    source = clips.film(tmp_path / "in.mp4")
    unbroken, killed = tmp_path / "unbroken.mp4", tmp_path / "killed.mp4"
    make(source, unbroken, steady=TemporalFilter(0.8))
    plain = tmp_path / "plain.mp4"
    make(source, plain)
    assert clips.all_packets(plain) != clips.all_packets(unbroken)
    with pytest.raises(KeyboardInterrupt):
        make(source, killed, dying(19), steady=TemporalFilter(0.8))
    assert make(source, killed, steady=TemporalFilter(0.8)).resumed in (7, 14)
    assert clips.all_packets(killed) == clips.all_packets(unbroken)


def parts_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.st-parts")


def half_made(tmp_path: Path) -> tuple[Path, Path]:
    """A video with two finished segments."""
    source, target = clips.film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        make(source, target, dying(22))
    assert len(list(parts_of(target).glob("*.npz"))) >= 1
    return source, target


@pytest.mark.parametrize(
    "change", [{"settings": "another style"}, {"size": 32}, {"quality": 40}, {"resume": False}]
)
def test_changed_settings_restart_from_the_beginning(
    change: dict[str, Any], tmp_path: Path
) -> None:
    source, target = half_made(tmp_path)
    assert make(source, target, **change).resumed == 0
    assert not parts_of(target).exists()


def test_a_changed_source_restarts_from_the_beginning(tmp_path: Path) -> None:
    source, target = half_made(tmp_path)
    clips.film(source, frames=12)
    result = make(source, target)
    assert (result.resumed, result.frames) == (0, 12)


def test_a_damaged_segment_is_painted_again(tmp_path: Path) -> None:
    source, target = half_made(tmp_path)
    first = parts_of(target) / "000000.npz"
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 0xFF
    first.write_bytes(data)
    assert make(source, target).resumed == 0
    assert len(clips.read(target)) == clips.FRAMES


def test_a_kill_while_joining_segments_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = clips.film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    with monkeypatch.context() as patch:

        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("st.video.jobs.job.assemble", die)
        with pytest.raises(KeyboardInterrupt):
            make(source, target)

    def refuse(frame: Picture) -> Picture:
        raise AssertionError("every frame is painted already")

    assert make(source, target, refuse).resumed == clips.FRAMES
    assert len(clips.read(target)) == clips.FRAMES


def test_sigterm_leaves_a_video_and_the_next_start_resumes(tmp_path: Path) -> None:
    source, target = clips.film(tmp_path / "in.mp4", sounds=1), tmp_path / "out.mp4"
    stop, count = threading.Event(), iter(range(1, 100))

    def painted() -> None:
        if next(count) == 10:
            stop.set()

    with pytest.raises(
        Interrupted, match=r"stopped after 10 frames.*run the same command to resume"
    ):
        make(source, target, stop=stop, painted=painted)
    assert not target.exists()
    partial = tmp_path / "out_partial.mp4"
    assert len(clips.read(partial)) == 10
    assert clips.packets(partial, "audio")[-1][0] < 1.0
    assert make(source, target).resumed == 7
    unbroken = tmp_path / "unbroken.mp4"
    make(source, unbroken)
    assert clips.all_packets(target) == clips.all_packets(unbroken)


def test_two_runs_for_one_output_are_refused(tmp_path: Path) -> None:
    source, target = clips.film(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    refused: list[str] = []

    def paint(frame: Picture) -> Picture:
        if not refused:
            with pytest.raises(BadInput, match="another st-video is writing it") as error:
                make(source, target)
            refused.append(str(error.value))
        return inverted(frame)

    make(source, target, paint)
    assert refused
    assert len(clips.read(target)) == clips.FRAMES


def test_after_kill_9_the_same_command_resumes(tmp_path: Path) -> None:
    """Three kills at different moments, then the complete video."""
    source, target = clips.film(tmp_path / "in.mp4", frames=60, sounds=1), tmp_path / "out.mp4"
    program = """
import sys, time
import st.video.jobs.segments
from pathlib import Path
from st.video.jobs.job import Job, Painter, open_reader, perform
st.video.jobs.segments.SEGMENT_FRAMES = 7
def paint(frame):
    time.sleep(0.02)
    return 255 - frame
job = Job(Path(sys.argv[1]))
perform(job, open_reader(job), Path(sys.argv[2]), Painter(paint, identity="inverted"))
"""
    for done in (1, 3, 5):
        process = subprocess.Popen([sys.executable, "-c", program, str(source), str(target)])
        until = time.monotonic() + 60
        while len(list(parts_of(target).glob("*.npz"))) < done and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not target.exists()
    subprocess.run([sys.executable, "-c", program, str(source), str(target)], check=True)
    unbroken = tmp_path / "unbroken.mp4"
    make(source, unbroken)
    assert clips.all_packets(target) == clips.all_packets(unbroken)
