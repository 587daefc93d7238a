"""Loopback streams and videos as sources: newest frame only, reconnection, and timeouts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from st.runtime.engine.metadata import Metadata
from st.runtime.errors import BadInput, Unavailable
from st.video.live.capture import Capture, Captured, Opener
from st.video.live.loop import Live, Meter
from st.video.live.painter import LivePainter
from st.video.live.playback import Pace, Playback
from st.video.live.source import opener_of
from st.video.live.stream_input import Stream, shown_url
from tests.support.video import clips
from tests.support.video.streams import MjpegServer, RtspServer, free_port, wait_for


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st.video.live.capture.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("st.video.live.capture.LONGEST_PAUSE", 0.2)


@pytest.fixture
def mjpeg() -> Iterator[MjpegServer]:
    with MjpegServer(clips.scene) as server:
        yield server


def stream_opener(url: str, read_seconds: float = 5.0) -> Opener:
    return lambda stop: Stream(url, stop, read_seconds=read_seconds)


def taken(feed: Capture) -> Captured:
    return wait_for(feed.latest.take)


def test_a_dropped_http_stream_is_reopened(mjpeg: MjpegServer) -> None:
    feed = Capture(stream_opener(mjpeg.url))
    try:
        assert feed.size == (48, 64)
        assert "64×48, mjpeg" in feed.description
        assert np.abs(taken(feed).rgb.astype(int) - clips.scene(0)).mean() < 60
        mjpeg.refused.set()
        mjpeg.drop()
        wait_for(lambda: "503" in feed.trouble or "Server" in feed.trouble)
        feed.latest.take()
        # The stream returns with other pictures, of another size.
        mjpeg.scene = lambda number: np.full((96, 128, 3), (10, 200, 30), np.uint8)
        mjpeg.refused.clear()
        again = taken(feed)
        assert again.rgb.shape == (96, 128, 3)
        assert np.abs(again.rgb.astype(int) - (10, 200, 30)).max() < 8
        assert feed.trouble == ""
        assert feed.reopened == 1
    finally:
        feed.close()


def test_a_stream_that_hangs_times_out(mjpeg: MjpegServer) -> None:
    feed = Capture(stream_opener(mjpeg.url, read_seconds=0.5))
    try:
        mjpeg.hanging.set()
        wait_for(lambda: "no data for 0.5 s" in feed.trouble)
        mjpeg.hanging.clear()
        feed.latest.take()
        taken(feed)
        assert mjpeg.visits >= 2
    finally:
        feed.close()


def test_a_silent_server_times_out(mjpeg: MjpegServer) -> None:
    mjpeg.hanging.set()
    with pytest.raises(Unavailable, match=r"no data for 0\.5 s"):
        Capture(lambda stop: Stream(mjpeg.url, stop, open_seconds=0.5))


def test_rtsp_uses_tcp_and_is_reopened() -> None:
    server = RtspServer(lambda number: np.full((48, 64, 3), 40 + 10 * number, np.uint8))
    try:
        feed = Capture(stream_opener(server.url, read_seconds=1.0))
        try:
            assert server.transports
            assert all("TCP" in transport for transport in server.transports)
            assert "secret" not in feed.description
            assert taken(feed).rgb.shape == (48, 64, 3)
            server.drop()
            wait_for(lambda: feed.reopened == 1)
            server.hanging.set()
            wait_for(lambda: feed.trouble)
            assert "secret" not in feed.trouble
            server.hanging.clear()
            wait_for(lambda: feed.reopened == 2)
        finally:
            feed.close()
    finally:
        server.close()


def test_delay_does_not_grow_when_painting_is_slow(mjpeg: MjpegServer) -> None:
    """A frame's gray encodes its send time. The stream has 30 frames/s; about three are painted."""
    mjpeg.scene = lambda number: np.full((16, 16, 3), min(250, number), np.uint8)
    feed = Capture(stream_opener(mjpeg.url))

    def slow(picture: np.ndarray) -> np.ndarray:
        time.sleep(0.33)
        return picture

    live = Live(feed, LivePainter(slow, Metadata("toy"), 30), 30)
    live.limit = 8
    meter = Meter()
    live.start()
    grays = []
    while live.running:
        if shown := live.shown.take(0.1):
            meter.count(shown.when)
            grays.append(int(shown.picture.mean()))
    live.close()
    feed.close()
    assert live.painted == 8
    # With a queue, the eighth painting would show the eighth frame sent.
    assert grays[-1] > 20
    assert feed.latest.replaced > 10
    assert 0 < meter.rate < 4  # painting sleeps for a third of a second
    assert meter.delay() > 0.3


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("http://127.0.0.1:{port}/x", Unavailable, "refused"),
        (
            "rtsp://me:pass@127.0.0.1:{port}/x",
            Unavailable,
            r"^rtsp://127\.0\.0\.1:\d+/x: .*refused",
        ),
        ("file:///etc/passwd", BadInput, "plays http"),
        ("concat://a|b", BadInput, "plays http"),
    ],
)
def test_urls_that_do_not_open_give_a_clear_error(
    url: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        Capture(stream_opener(url.format(port=free_port())))
    assert "pass@" not in str(raised.value)


def test_playlists_may_name_urls_but_no_local_files(tmp_path: Path, mjpeg: MjpegServer) -> None:
    segment = clips.film(tmp_path / "secret.ts")
    base = mjpeg.url.removesuffix("/camera")
    lines = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
    pages = {
        "/good.m3u8": lines.format(f"{base}/part.ts").encode(),
        "/bad.m3u8": lines.format(f"file:{segment}").encode(),
        "/part.ts": segment.read_bytes(),
    }
    mjpeg._answer = lambda request: request.wfile.write(
        b"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n"
        + pages[request.path]
    )
    feed = Capture(stream_opener(f"{base}/good.m3u8"))
    assert feed.size == (48, 64)
    feed.close()
    with pytest.raises((Unavailable, BadInput)):
        Capture(lambda stop: Stream(f"{base}/bad.m3u8", stop, open_seconds=2))


def test_shown_urls_have_no_credentials() -> None:
    assert shown_url("rtsp://u:p@cam/live?token=x\x1b") == "rtsp://cam/live"


def test_a_video_plays_at_its_own_rate(tmp_path: Path) -> None:
    path = clips.film(tmp_path / "in.mp4", frames=24)  # one second
    began = time.monotonic()
    feed = Capture(partial(Playback, path))
    assert feed.rate == 24
    wait_for(lambda: feed.ended)
    took = time.monotonic() - began
    feed.close()
    assert 0.9 < took < 6
    assert feed.trouble == ""


def test_a_video_is_looped_and_fitted_into_a_size(tmp_path: Path) -> None:
    path = clips.film(tmp_path / "in.mp4", frames=6, rotation=90)
    feed = Capture(opener_of(str(path), (24, 24), None, mjpg=True, loop=True))
    try:
        assert feed.size == (24, 18)  # rotated upright, aspect ratio preserved
        time.sleep(0.8)
        assert not feed.ended
        assert taken(feed).rgb.shape == (24, 18, 3)
    finally:
        feed.close()


def test_a_video_on_a_web_server_is_paced(tmp_path: Path, mjpeg: MjpegServer) -> None:
    """The whole video arrives at once but is shown at its own rate, to its end."""
    data = clips.film(tmp_path / "in.mkv", frames=24).read_bytes()
    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(data)}\r\n\r\n"
    mjpeg._answer = lambda request: request.wfile.write(head.encode() + data)
    began = time.monotonic()
    feed = Capture(stream_opener(mjpeg.url))
    wait_for(lambda: feed.ended)
    assert time.monotonic() - began > 0.8  # 24 frames at 25 a second
    feed.close()


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_cover_picture_before_the_video_is_not_played(
    suffix: str, tmp_path: Path, mjpeg: MjpegServer
) -> None:
    data = clips.film_behind_a_still(tmp_path / f"in{suffix}").read_bytes()
    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(data)}\r\n\r\n"
    mjpeg._answer = lambda request: request.wfile.write(head.encode() + data)
    feed = Capture(stream_opener(mjpeg.url))
    try:
        assert feed.size == (48, 64)
        assert "64×48, mpeg4" in feed.description
    finally:
        feed.close()


def test_a_song_on_a_web_server_is_refused(tmp_path: Path, mjpeg: MjpegServer) -> None:
    data = clips.song(tmp_path / "in.mka").read_bytes()
    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(data)}\r\n\r\n"
    mjpeg._answer = lambda request: request.wfile.write(head.encode() + data)
    with pytest.raises(Unavailable, match="no picture in it, only audio"):
        Capture(stream_opener(mjpeg.url))


def test_pacing_restarts_after_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("st.video.live.playback.time.monotonic", lambda: now[0])
    pace = Pace()
    assert pace.due(7.0) == 100
    assert pace.due(7.5) == 100.5
    assert pace.due(90.0) == 100  # a gap in the timestamps
    assert pace.due(90.1) == pytest.approx(100.1)
    now[0] = 105
    assert pace.due(90.2) == 105  # playback is too late: restart
    assert not pace.skips(105)
    assert pace.skips(104.8)
    now[0] = 106
    assert not pace.skips(104.8)  # a late frame is shown from time to time


@pytest.mark.parametrize(
    ("source", "settings", "error", "words"),
    [
        ("none.mp4", {}, BadInput, "no such file"),
        ("a/b", {}, BadInput, "no such file"),
        ("no\0pe", {}, BadInput, "no such file"),
        ("http://127.0.0.1/x", {"fps": 30.0}, BadInput, "only a camera accepts one"),
        ("0", {"loop": True}, BadInput, "only a video can be repeated"),
    ],
)
def test_bad_sources_are_refused(
    source: str, settings: dict, error: type[Exception], words: str
) -> None:
    wanted = {"size": None, "fps": None, "mjpg": True, "loop": False} | settings
    with pytest.raises(error, match=words):
        opener_of(source, **wanted)
