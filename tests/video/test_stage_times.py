"""The summary line of st-video that names the slowest stage."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from st.video.film.image_sequence import ImageSequenceSink
from st.video.jobs.job import Callbacks, Job, Painter, Result, open_reader, perform
from st.video.jobs.pipeline import run
from st.video.jobs.stage_times import STAGES, StageTimes, bottleneck, describe
from tests.support.toys import identity_engine
from tests.support.video import clips

SIZE = (144, 192)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.film(tmp_path_factory.mktemp("film") / "in.mp4", size=SIZE, frames=24)


def slow(frame: np.ndarray) -> np.ndarray:
    time.sleep(0.03)
    return frame


def painted(film: Path, target: Path, preset: str, painter: Painter) -> Result:
    job = Job(film, preset=preset, quality=1)
    reader = open_reader(job)
    try:
        return perform(job, reader, target, painter, Callbacks())
    finally:
        reader.close()


@pytest.mark.parametrize("identity", [None, "a painter"], ids=["at once", "in segments"])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_slow_painter_is_named(
    film: Path, tmp_path: Path, identity: str | None, name: str
) -> None:
    result = painted(film, tmp_path / name, "ultrafast", Painter(slow, 2, identity))
    assert result.slowest_stage == "painting"
    assert result.busy["painting"] > max(result.busy["decoding"], result.busy["encoding"])
    assert set(result.busy) == {*STAGES}


@pytest.mark.parametrize("identity", [None, "a painter"], ids=["at once", "in segments"])
def test_a_slow_preset_is_named(film: Path, tmp_path: Path, identity: str | None) -> None:
    """All of the encoder's work counts, including what remains after the last frame was painted."""
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)

    def paint(frame: np.ndarray) -> np.ndarray:
        return np.roll(noise, int(frame[0, 0, 0]), axis=1)

    result = painted(film, tmp_path / "out.mp4", "slower", Painter(paint, 2, identity))
    assert result.slowest_stage == "encoding"
    assert result.busy["encoding"] > 2 * result.busy["painting"]


def test_a_slow_source_is_named(film: Path, tmp_path: Path) -> None:
    reader = open_reader(Job(film))

    class Slow:
        video_format = reader.video_format

        def items(self) -> Iterator[VideoFrame]:
            for item in reader.items():
                time.sleep(0.02)
                if isinstance(item, VideoFrame):
                    yield item

    times = StageTimes()
    sink = ImageSequenceSink(tmp_path / "frames", reader.video_format)
    assert run(Slow(), sink, lambda frame: frame, times=times) == 24
    reader.close()
    assert bottleneck(times.shares()) == "decoding"


def test_the_share_of_several_painters_is_their_mean() -> None:
    times = StageTimes()
    times.painters = 4
    with times.busy("painting"):
        time.sleep(0.02)
    assert 0 < times.shares()["painting"] <= 0.25


def test_the_summary_lists_the_slowest_stage_first() -> None:
    line = describe({"decoding": 0.034, "painting": 0.31, "encoding": 0.987})
    assert line == "slowest stage: encoding busy 99% of the time, decoding 3%, painting 31%"


def test_the_stages_of_a_cluster_are_not_known(film: Path, tmp_path: Path) -> None:
    painter = Painter(slow, 2, "a painter", remote=lambda *given: None)
    result = painted(film, tmp_path / "out.mp4", "ultrafast", painter)
    assert (result.frames, result.busy, result.slowest_stage) == (24, {}, "")


def test_the_command_prints_the_stages_unless_quiet(film: Path, tmp_path: Path) -> None:
    engine = identity_engine(tmp_path / "identity.onnx")
    program = [sys.executable, "-c", "from st.video.command import main; main()"]
    words = [*program, str(film), "--engine", str(engine), "-o", str(tmp_path / "out.mp4")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{tmp_path / 'out.mp4'}  24 frames, ")
    assert "; slowest stage: " in line
    assert all(stage in line for stage in STAGES)
    quiet = subprocess.run(
        [*words, "--quiet"], capture_output=True, text=True, timeout=60, check=True
    )
    assert (quiet.stdout, quiet.stderr) == ("", "")
