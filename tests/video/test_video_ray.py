"""Videos painted in segments on a Ray cluster: the packets equal those of a local run, also after
failures."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import video as benchmark
from st.runtime import Stylizer
from st.runtime.errors import MissingExtra, StError, Unavailable
from st.video.command import main
from st.video.film.containers import MemoryFile
from st.video.film.reader import Film
from st.video.film.time_range import TimeRange
from st.video.jobs import ray_cluster
from st.video.jobs.cut_points import NotSplittable, SegmentPlan, SegmentSource, split
from st.video.jobs.job import Callbacks, Interrupted, Job, Painter, Result, open_reader, perform
from st.video.jobs.ray_cluster import RayPainter, connect
from st.video.jobs.ray_worker import Fingerprint, Painted, SegmentWorker, Task
from tests.support.toys import tint_engine
from tests.support.video import clips

RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not RAY, reason="ray is not installed")


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st.video.jobs.segments.SEGMENT_FRAMES", 7)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tint_engine(tmp_path_factory.mktemp("engine") / "tint.onnx")


@pytest.fixture(scope="module")
def stylizer(engine: Path) -> Iterator[Stylizer]:
    with Stylizer(engine, device="cpu", threads=1) as opened:
        yield opened.set_style({"negative": 0.7, "black": 0.3})


class InProcess:
    """Replaces the cluster. The worker is real, and shares nothing with this process."""

    painted: list[int]
    data: Any = None

    def __init__(self, ray: Any, task: Task, most: int, warn: Any) -> None:
        self._painter = SegmentWorker()
        ready = self._painter.begin(task, self.data)
        assert not ready.problem
        assert not ready.needs_data
        self.idle = [self._painter, self._painter]
        self._results: list[tuple[int, Painted | None]] = []
        InProcess.painted = []

    def assign(self, cut: SegmentPlan) -> None:
        result = self.idle.pop().paint(cut)
        InProcess.painted.append(cut.number)
        self._results.append((cut.number, result))

    def results(self, seconds: float) -> list[tuple[int, Painted | None]]:
        # As from a cluster: not in order.
        given, self._results = self._results[::-1], []
        self.idle = [self._painter, self._painter]
        return given

    def end(self) -> None:
        self._painter.end()


@pytest.fixture
def make(
    engine: Path, stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Paint a video; with `ray`, on workers, by default in this process."""
    monkeypatch.setattr(ray_cluster, "_Workers", InProcess)

    def begin(
        source: Path,
        target: Path,
        ray: Any = None,
        warnings: list[str] | None = None,
        painted: Callable[[], None] = lambda: None,
        stop: threading.Event | None = None,
        **choices: Any,
    ) -> Result:
        job = Job(source, **choices)
        reader = open_reader(job)
        try:
            remote = RayPainter(ray, str(engine), stylizer, 1) if ray else None
            painter = Painter(stylizer, identity=stylizer.identity, remote=remote)
            warn = ([] if warnings is None else warnings).append
            callbacks = Callbacks(warn, painted, stop or threading.Event())
            return perform(job, reader, target, painter, callbacks)
        finally:
            reader.close()

    return begin


OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:b-pyramid=normal:keyint=10"}
VARIABLE = [i * 512 + (i % 3) * 90 for i in range(clips.FRAMES)]


@pytest.mark.parametrize(
    ("name", "how", "choices"),
    [
        ("a.mp4", {"sounds": 1, "keyframes": 5}, {}),
        ("a.mp4", {"options": {"bf": "3", "preset": "medium"}, "keyframes": 10}, {}),
        ("a.mp4", {"options": OPEN_GOP | {"preset": "medium"}}, {}),
        ("a.mkv", {"options": {"bf": "2", "preset": "medium"}, "keyframes": 9, "sounds": 1}, {}),
        ("a.mov", {"times": VARIABLE, "keyframes": 4}, {"codec": "hevc"}),
        ("a.mp4", {"keyframes": 100}, {"size": 32}),
        ("a.mp4", {"keyframes": 5}, {"time_range": TimeRange(TimeRange().start + 1 / 4, None)}),
        ("a.webm", {"codec": "libvpx-vp9", "pixels": "yuva420p", "alpha": True}, {}),
    ],
)
@pytest.mark.parametrize("sent", [False, True])
def test_segments_on_a_cluster_equal_a_local_run(
    name: str,
    how: dict[str, Any],
    choices: dict[str, Any],
    sent: bool,
    make: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = clips.film(tmp_path / name, **how)
    here, there = (tmp_path / f"{word}{source.suffix}" for word in ("here", "there"))
    whole = make(source, here, **choices)
    if sent:  # as to a machine that does not see the file
        monkeypatch.setattr(InProcess, "data", np.fromfile(source, np.uint8))
    warnings: list[str] = []
    count = iter(range(1, 1000))
    result = make(source, there, True, warnings, lambda: next(count), **choices)
    assert warnings == []
    assert InProcess.painted == list(range(-(-whole.frames // 7)))
    assert next(count) == result.frames + 1 == whole.frames + 1
    assert clips.all_packets(there) == clips.all_packets(here)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("name", "how", "why"),
    [
        ("a.ts", {}, "only MP4"),
        ("a.mp4", {"interlaced": True}, "interlaced"),
    ],
)
def test_videos_that_cannot_be_split_are_painted_locally(
    name: str, how: dict[str, Any], why: str, make: Callable[..., Result], tmp_path: Path
) -> None:
    source = clips.film(tmp_path / name, **how)
    here, there = (tmp_path / f"{word}{source.suffix}" for word in ("here", "there"))
    make(source, here)
    warnings: list[str] = []
    make(source, there, True, warnings)
    assert why in warnings[0]
    assert "painted here" in warnings[0]
    assert clips.all_packets(there) == clips.all_packets(here)


def damaged(source: Path, at: float) -> Path:
    """The file with some bytes set to 0 at this fraction of its length."""
    data = bytearray(source.read_bytes())
    begin = int(len(data) * at)
    data[begin : begin + 400] = bytes(400)
    source.write_bytes(data)
    return source


def test_a_damaged_video_on_a_cluster_equals_a_local_run(
    make: Callable[..., Result], tmp_path: Path
) -> None:
    source = damaged(clips.film(tmp_path / "a.mkv", keyframes=5), 0.6)
    here, there = tmp_path / "here.mkv", tmp_path / "there.mkv"
    make(source, here)
    warnings: list[str] = []
    make(source, there, True, warnings)
    assert any("painted here" in line for line in warnings)
    assert clips.all_packets(there) == clips.all_packets(here)


def test_a_video_half_painted_locally_continues_on_a_cluster(
    make: Callable[..., Result], tmp_path: Path
) -> None:
    source = clips.film(tmp_path / "a.mp4", keyframes=5)
    here, there = tmp_path / "here.mp4", tmp_path / "there.mp4"
    make(source, here)
    stop, count = threading.Event(), iter(range(1, 100))

    def painted() -> None:
        if next(count) == 10:
            stop.set()

    with pytest.raises(Interrupted, match="run the same command to resume"):
        make(source, there, painted=painted, stop=stop)
    assert make(source, there, True).resumed == 7
    assert InProcess.painted == [1, 2, 3]
    assert clips.all_packets(there) == clips.all_packets(here)


def test_sigterm_keeps_segments_painted_on_the_cluster(
    make: Callable[..., Result], tmp_path: Path
) -> None:
    source, there = clips.film(tmp_path / "a.mp4", sounds=1), tmp_path / "there.mp4"
    stop = threading.Event()
    with pytest.raises(Interrupted, match=r"14 frames.*run the same command to resume"):
        make(source, there, True, painted=stop.set, stop=stop)
    assert not there.exists()
    assert len(clips.read(tmp_path / "there_partial.mp4")) == 14
    here = tmp_path / "here.mp4"
    make(source, here)
    assert make(source, there).resumed == 14
    assert clips.all_packets(there) == clips.all_packets(here)


def test_split_gives_segments_with_seek_points(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "a.mp4", keyframes=5)
    film = Film(source)
    cuts = split(source, film, 7)
    assert [len(cut.times) for cut in cuts] == [7, 7, 7, 3]
    assert [cut.last for cut in cuts] == [False, False, False, True]
    assert [cut.seek is None for cut in cuts] == [True, False, False, False]
    frames = [frame.pts for frame in film.items() if hasattr(frame, "width")]
    assert [time for cut in cuts for time in cut.times] == frames
    film.close()
    wrong = SegmentPlan(1, (cuts[1].times[0] + 1, *cuts[1].times[1:]), cuts[1].seek, False)
    with pytest.raises(NotSplittable, match="its index"):
        list(SegmentSource(Film(source), wrong).items())
    short = SegmentPlan(3, cuts[3].times[:-1], cuts[3].seek, True)
    with pytest.raises(NotSplittable):
        list(SegmentSource(Film(source), short).items())


def test_a_video_in_memory_is_read(tmp_path: Path) -> None:
    source = clips.film(tmp_path / "a.mkv", keyframes=5)
    frames = [clips.planes(f) for f in clips.read(source)]
    film = Film(MemoryFile(memoryview(source.read_bytes())))
    seen = [clips.planes(f) for f in film.items() if hasattr(f, "width")]
    assert all(
        np.array_equal(one, two)
        for a, b in zip(frames, seen, strict=True)
        for one, two in zip(a, b, strict=True)
    )


def test_settings_are_copied_to_another_stylizer(engine: Path, stylizer: Stylizer) -> None:
    frame = np.full((8, 8, 3), 100, np.uint8)
    with Stylizer(engine, device="cpu", threads=1) as other:
        assert other.identity != stylizer.identity
        other.take_settings(stylizer.settings)
        assert other.identity == stylizer.identity
        assert np.array_equal(other(frame), stylizer(frame))
        with (
            Stylizer(device="cpu") as another,
            pytest.raises(StError, match="another engine"),
        ):
            another.take_settings(stylizer.settings)


def test_missing_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"painterly\[scale\]"):
        connect("auto")


@needs_ray
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", r"^127\.0\.0\.1:1: no Ray cluster there"),
        ("ray://127.0.0.1:1", r"^ray://127\.0\.0\.1:1: no Ray cluster there"),
        ("nonsense", "^nonsense: not an address; give host:port"),
        ("host:x", "^host:x: no Ray cluster there"),
    ],
)
def test_an_unreachable_cluster_gives_one_line(
    address: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(Unavailable, match=words):
        connect(address)


@needs_ray
def test_the_command_names_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    source = clips.film(tmp_path / "a.mp4", frames=3)
    result = CliRunner().invoke(main, [str(source), "--ray", "nonsense"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: --ray: nonsense: not an address")


def test_steady_is_refused_on_a_cluster(engine: Path, tmp_path: Path) -> None:
    source = clips.film(tmp_path / "a.mp4", frames=3)
    words = [str(source), "--engine", str(engine), "--ray", "auto", "--steady", "0.5"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "--steady" in result.output


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two processors on this machine."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    for more in (True, False):
        try:
            ray.init(num_cpus=2, **quiet)
            break
        except Exception as error:  # its processes have half a minute, which a full machine eats up
            ray.shutdown()
            if not more:
                pytest.skip(f"no Ray cluster starts here: {error}")
    yield ray
    ray.shutdown()


@needs_ray
def test_a_video_is_painted_on_a_cluster(
    cluster: Any,
    engine: Path,
    make: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two workers; then one that is lost, and workers that cannot read the file."""
    monkeypatch.undo()
    monkeypatch.setattr("st.video.jobs.segments.SEGMENT_FRAMES", 7)
    source, here = clips.film(tmp_path / "a.mp4", sounds=1, keyframes=5), tmp_path / "here.mp4"
    make(source, here)
    whole = clips.all_packets(here)
    make(source, tmp_path / "there.mp4", cluster, warnings := [])
    assert warnings == []
    assert clips.all_packets(tmp_path / "there.mp4") == whole

    give = ray_cluster._Workers.assign
    lost: list[Any] = []

    def give_and_lose(self: Any, cut: SegmentPlan) -> None:
        give(self, cut)
        if not lost:
            lost.append(next(iter(self._painting.values()))[0])
            cluster.kill(lost[0])

    monkeypatch.setattr(ray_cluster._Workers, "assign", give_and_lose)
    make(source, tmp_path / "lost.mp4", cluster, warnings)
    assert lost
    assert warnings == []
    assert clips.all_packets(tmp_path / "lost.mp4") == whole
    monkeypatch.setattr(ray_cluster._Workers, "assign", give)

    true = Fingerprint.of(source)
    with (
        monkeypatch.context() as patch
    ):  # the workers, in processes of their own, have the true one
        patch.setattr(Fingerprint, "of", lambda path: Fingerprint(true.size, b"of another"))
        make(source, tmp_path / "sent.mp4", cluster, warnings)
        assert clips.all_packets(tmp_path / "sent.mp4") == whole
        patch.setattr(ray_cluster, "MAX_SENT", 1)
        with pytest.raises(Unavailable, match=r"has no such file.*put it on a disk that all share"):
            make(source, tmp_path / "large.mp4", cluster)

    words = [str(source), "--engine", str(engine), "-s", "negative:0.7", "-s", "black:0.3"]
    words += ["--device", "cpu", "-o", str(tmp_path / "told.mp4"), "--ray", "auto", "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["frames"] == clips.FRAMES
    assert clips.all_packets(tmp_path / "told.mp4") == whole


@needs_ray
@pytest.mark.slow
def test_after_kill_9_on_a_cluster_the_same_command_resumes(
    cluster: Any, engine: Path, tmp_path: Path
) -> None:
    source = clips.film(tmp_path / "a.mp4", frames=2000, sounds=1, keyframes=50)
    here, there = tmp_path / "here.mp4", tmp_path / "there.mp4"
    words = [str(source), "--engine", str(engine), "--device", "cpu"]
    program = [sys.executable, "-c", "from st.video.command import main; main()", *words]
    subprocess.run([*program, "-o", str(here)], check=True)
    address = cluster.get_runtime_context().gcs_address
    command = [*program, "-o", str(there), "--ray", address]
    folder = tmp_path / ".there.mp4.st-parts"
    for done in (2, 7):
        process = subprocess.Popen(command, env=os.environ)
        until = time.monotonic() + 120
        while len(list(folder.glob("*.npz"))) < done and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not there.exists()
    subprocess.run(command, check=True, timeout=300)
    assert clips.all_packets(there) == clips.all_packets(here)


@needs_ray
@pytest.mark.slow
def test_a_local_cluster_paints_what_a_local_run_paints(engine: Path, tmp_path: Path) -> None:
    source = clips.film(tmp_path / "a.mp4", frames=250, sounds=1, keyframes=50)
    here, there = tmp_path / "here.mp4", tmp_path / "there.mp4"
    words = [str(source), "--engine", str(engine), "--device", "cpu"]
    program = [sys.executable, "-c", "from st.video.command import main; main()", *words]
    subprocess.run([*program, "-o", str(here)], check=True)
    subprocess.run([*program, "-o", str(there), "--ray", "local"], check=True, timeout=400)
    assert clips.all_packets(there) == clips.all_packets(here)


def test_the_benchmark_counts_the_second_round_of_segments(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four segments of seven frames are painted, all of them by workers."""
    monkeypatch.setattr(ray_cluster, "_Workers", InProcess)
    given = [clips.scene(number) for number in range(5)]
    film = tmp_path / "in.mp4"
    benchmark.write_film(film, given)
    rival = benchmark.on_ray("ray", str(engine), "black", "cpu")
    assert rival.name == "st-video, cpu, Ray"
    (seconds,) = rival.seconds(given, film)
    assert seconds > 0
    assert InProcess.painted == [0, 1, 2, 3]
    medians = {"engine, cpu": 0.02, benchmark.CODEC: 0.01, rival.name: 0.04}
    assert benchmark.rows_of((48, 64), medians)[-1]["of bare"] == pytest.approx(0.5)
