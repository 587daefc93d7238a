"""Live outputs: recordings, streams (received by PyAV), and the virtual camera."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest

from st.runtime.errors import BadInput, MissingExtra, StError, Unavailable
from st.video.live.outlet import Outlet
from st.video.live.recorder import Recorder, check_target
from st.video.live.stream_output import StreamOutput, check_url
from st.video.live.virtual_camera import VirtualCamera
from tests.support.video import clips
from tests.support.video.streams import free_port, wait_for

SIZE = (48, 64)


def test_recordings_keep_the_capture_times(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"an older video")
    recorder = Recorder(target, SIZE, 30)
    times = [0.0, 0.03, 0.1, 0.5, 0.5, 2.0]  # irregular, with one duplicate
    for number, seconds in enumerate(times):
        recorder.write(clips.scene(number), 1000 + seconds)
        assert target.read_bytes() == b"an older video"
    recorder.close(1003.0)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    frames = clips.read(target)
    assert [f.time for f in frames] == pytest.approx(times, abs=0.002)
    with av.open(str(target)) as film:
        assert film.duration == pytest.approx(3_000_000, abs=20_000)
    for number, frame in enumerate(frames):
        assert frame.colorspace == 1
        rgb = frame.to_ndarray(format="rgb24").astype(int)
        assert np.abs(rgb - clips.scene(number)).mean() < 6


def test_a_failed_recording_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(StError, match="no picture was recorded"):
        Recorder(tmp_path / "out.mp4", SIZE, 30).close(1.0)
    recorder = Recorder(tmp_path / "two.mkv", SIZE, 30)
    recorder.write(clips.scene(0), 1.0)
    recorder.abandon()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadInput, match="no such folder"):
        check_target(tmp_path / "none" / "out.mp4")
    with pytest.raises(BadInput, match=r"\.mp4"):
        check_target(tmp_path / "out.txt")


def _open() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


class Slow:
    """A writer that waits at a gate, and fails on request."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate = gate or _open()
        self.fails, self.begun = False, 0
        self.pictures: list[int] = []
        self.closed = self.abandoned = False

    def write(self, picture: np.ndarray, when: float) -> None:
        if self.fails:
            raise StError("the cable is cut")
        self.begun += 1
        assert self.gate.wait(60)
        assert picture.shape == (48, 64, 3)
        self.pictures.append(int(picture[24, 32, 0]))

    def close(self, when: float) -> None:
        self.closed = True

    def abandon(self) -> None:
        self.abandoned = True


def test_a_slow_writer_blocks_nothing_and_gets_the_newest_frame() -> None:
    writer = Slow(gate=threading.Event())
    outlet = Outlet(lambda: writer, SIZE)
    outlet.offer(np.zeros((30, 20, 3), np.uint8), 0.0)
    wait_for(lambda: writer.begun == 1)
    for number in range(1, 100):
        outlet.offer(np.full((30, 20, 3), number, np.uint8), float(number))
    assert writer.pictures == [], "all offers returned while the first picture was being written"
    writer.gate.set()
    outlet.close()
    assert writer.closed
    assert writer.pictures == [0, 99]  # the last picture is written, and none between


def test_a_failed_writer_is_reopened_if_that_helps() -> None:
    first, second = Slow(), Slow()
    first.fails = True
    writers = iter([first, second])
    outlet = Outlet(lambda: next(writers), SIZE, again=True)
    outlet.offer(np.zeros((48, 64, 3), np.uint8), 1.0)
    wait_for(lambda: "cable" in outlet.trouble)
    outlet.offer(np.zeros((48, 64, 3), np.uint8), 2.0)
    wait_for(lambda: outlet.written == 1)
    assert outlet.trouble == ""
    assert first.abandoned
    outlet.close()
    once = Outlet(lambda: first, SIZE)
    once.offer(np.zeros((48, 64, 3), np.uint8), 1.0)
    wait_for(lambda: once.trouble)
    once.close()
    assert once.trouble == "the cable is cut"


def receive(url: str, count: int, **options: str) -> tuple[threading.Thread, list[Any]]:
    """Receive the frames of a stream in a thread, which listens before the sender connects."""
    frames: list[Any] = []

    def run() -> None:
        options.setdefault("analyzeduration", "100000")
        with av.open(url, container_options=options, timeout=20) as source:
            for frame in source.decode(video=0):
                frames.append((frame.time, frame.to_ndarray(format="rgb24")))
                if len(frames) >= count:
                    return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, frames


def feed(outlet: Outlet, until: Callable[[], bool], seconds: float = 20) -> None:
    """Offer about 25 pictures per second."""
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        outlet.offer(np.full((48, 64, 3), (200, 30, 90), np.uint8), time.monotonic())
        time.sleep(0.04)
    assert until()


def check(frames: list[Any]) -> None:
    times = [seconds for seconds, _ in frames]
    assert times == sorted(times)
    assert np.abs(frames[-1][1].astype(int) - (200, 30, 90)).max() < 8


def test_a_udp_stream_is_received() -> None:
    port = free_port(socket.SOCK_DGRAM)
    thread, frames = receive(f"udp://127.0.0.1:{port}", 10)
    outlet = Outlet(partial(StreamOutput, f"udp://127.0.0.1:{port}", SIZE, 25, 10**6), SIZE)
    feed(outlet, lambda: not thread.is_alive())
    outlet.close()
    assert len(frames) == 10
    check(frames)


def test_an_rtmp_stream_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st.video.live.outlet.LONGEST_PAUSE", 0.5)
    url = f"rtmp://127.0.0.1:{free_port()}/live/key"
    thread, frames = receive(url, 5, listen="1")
    outlet = Outlet(lambda: wait_for(partial(opened, url)), SIZE, again=True)
    feed(outlet, lambda: not thread.is_alive())
    check(frames)
    wait_for(lambda: feed_once(outlet) or outlet.trouble)  # the server has closed the connection
    assert "key" not in outlet.trouble.replace("live/key", "")
    thread, frames = receive(url, 5, listen="1")
    feed(outlet, lambda: not thread.is_alive())
    outlet.close()
    assert len(frames) == 5
    check(frames)


def opened(url: str) -> StreamOutput | None:
    """Retry, because the server's thread may not be listening yet."""
    try:
        return StreamOutput(url, SIZE, 25, 10**6)
    except Unavailable:
        return None


def feed_once(outlet: Outlet) -> None:
    outlet.offer(np.zeros((48, 64, 3), np.uint8), time.monotonic())


def test_a_silent_server_blocks_nothing() -> None:
    """FFmpeg holds the GIL while it waits, which is why the sender is a separate process."""
    raised: list[Exception] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"rtmp://127.0.0.1:{listener.getsockname()[1]}/live/key"

        def connect() -> None:
            try:
                StreamOutput(url, SIZE, 25, 10**6, patience=1.0)
            except Unavailable as error:
                raised.append(error)

        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        ticks = [time.monotonic()]
        while thread.is_alive() and ticks[-1] - ticks[0] < 20:
            time.sleep(0.01)
            ticks.append(time.monotonic())
    assert "no answer for 1 s" in str(raised[0])
    assert len(ticks) > 20


def test_an_unreachable_stream_target_gives_one_line() -> None:
    with pytest.raises(Unavailable, match=r"rtmp://127\.0\.0\.1:\d+/live/key: .*refused"):
        StreamOutput(f"rtmp://u:p@127.0.0.1:{free_port()}/live/key", SIZE, 25, 10**6)
    for url in ("out.mp4", "ftp://x/y", "file:///tmp/x"):
        with pytest.raises(BadInput, match="rtmp://"):
            check_url(url)


def test_a_missing_virtual_camera_gives_one_line() -> None:
    """The real library on a machine without a virtual camera device."""
    pytest.importorskip("pyvirtualcam")
    if any(Path("/dev").glob("video*")):
        pytest.skip("this machine has video devices")
    with pytest.raises(Unavailable, match="no virtual camera here"):
        VirtualCamera(SIZE, 30)


def test_missing_pyvirtualcam_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(MissingExtra, match=r"pip install 'painterly\[live\]'"):
        VirtualCamera(SIZE, 30)


def test_frames_reach_a_fake_virtual_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake module, because the test machine has no virtual camera device."""
    sent: list[np.ndarray] = []

    class Camera:
        def __init__(self, width: int, height: int, fps: float) -> None:
            assert (height, width, fps) == (*SIZE, 30)
            self.device = "/dev/video9"

        def send(self, frame: np.ndarray) -> None:
            assert frame.flags.c_contiguous
            sent.append(frame)

        def close(self) -> None:
            sent.append(np.zeros(0))

    fake = ModuleType("pyvirtualcam")
    fake.Camera = Camera  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", fake)
    outlet = Outlet(lambda: VirtualCamera(SIZE, 30), SIZE)
    outlet.offer(np.full((96, 128, 3), 9, np.uint8), 1.0)
    outlet.close()
    assert sent[0].shape == (48, 64, 3)
    assert (sent[0] == 9).all()
    assert len(sent) == 2
