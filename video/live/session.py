"""Run one live session: open source and outputs, show pictures, close everything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from st.runtime.errors import StError, Unavailable, printable
from st.runtime.stylizer import Stylizer
from st.video.live.capture import Capture, Opener
from st.video.live.keys import LiveController
from st.video.live.loop import Live, Meter, Shown, follow
from st.video.live.outlet import Outlet
from st.video.live.painter import LivePainter
from st.video.live.recordings import Recordings
from st.video.live.stream_output import StreamOutput
from st.video.live.style_state import LiveStyle
from st.video.live.virtual_camera import VirtualCamera
from st.video.live.window import Window

USUAL_FPS = 30.0


@dataclass(frozen=True)
class Show:
    """Settings of a live session.

    target_fps: frame rate to sustain; None: the source's, at most 30.
    longest: fixed longer side of the paintings in pixels; None adapts it to the frame rate.
    record, stream, virtual_camera: outputs besides the window.
    bitrate: of the stream, in bits per second.
    folder: where the keys save pictures and recordings.
    frames: number of frames after which the session ends.
    give_up: number of seconds without a frame after which the session fails.
    """

    title: str
    target_fps: float | None = None
    longest: int | None = None
    mirror: bool = False
    window: bool = True
    full_screen: bool = False
    record: Path | None = None
    stream: str | None = None
    bitrate: int = 4_000_000
    virtual_camera: bool = False
    folder: Path = Path()
    frames: int | None = None
    give_up: float | None = None


@dataclass(frozen=True)
class Summary:
    """Summary of a session.

    delay_ms, delay_ms_95: time from capture to display, median and 95th percentile of the last 1000
        frames.
    height, width: size of the displayed pictures. painted_at: (height, width) of the last painting.
    missed: number of frames that arrived while another was painted.
    reopened: number of times the source was lost and opened again.
    recorded, streamed, sent: number of pictures written to videos, stream and virtual camera.
    device: the device that painted.
    """

    source: str
    frames: int
    seconds: float
    frames_per_second: float
    delay_ms: float
    delay_ms_95: float
    height: int
    width: int
    painted_at: tuple[int, int]
    style: str
    missed: int
    reopened: int
    recorded: int
    streamed: int
    sent: int
    device: str


def play(
    show: Show,
    opener: Opener,
    stylizer: Stylizer,
    style: LiveStyle,
    stop: threading.Event,
    say: Callable[[str], None],
) -> Summary:
    """Play until the source ends, the window is closed, `stop` is set or `show.frames` is reached.

    say: called with lines for the terminal.

    Raises:
        Unavailable, MissingExtra, BadInput: something cannot be opened.
        StError: the source was lost, the engine failed, or a recording could not be written.
    """
    with ExitStack() as stack:  # closed in reverse order
        capture = Capture(opener)
        stack.callback(capture.close)
        say(capture.description)
        rate = show.target_fps or min(USUAL_FPS, capture.rate or USUAL_FPS)
        painter = LivePainter(stylizer, stylizer.metadata, rate, show.longest)
        live = Live(capture, painter, rate)
        live.mirror, live.limit = show.mirror, show.frames
        size = max(2, capture.size[0] & ~1), max(2, capture.size[1] & ~1)
        window = None
        if show.window:
            window = Window(show.title, capture.size, show.full_screen)
            stack.callback(window.close)
        outlets = _outlets(show, size, rate, stack, say)
        for outlet in outlets:
            if outlet is not None:
                live.add(outlet)
        recordings = Recordings(live, size, rate, show.folder)
        stack.callback(recordings.stop)
        if show.record is not None:
            recordings.start(show.record)
        stack.callback(live.close)
        meter = Meter()
        controller = (
            LiveController(window, live, style, meter, recordings, show.folder) if window else None
        )
        seconds = _run(live, _Watch(live, capture, show.give_up, say), controller, meter, stop)
    if recordings.troubles:
        raise StError(recordings.troubles[0])
    return _summary(live, capture, meter, style, seconds, recordings, outlets)


def _run(
    live: Live,
    watch: _Watch,
    controller: LiveController | None,
    meter: Meter,
    stop: threading.Event,
) -> float:
    """Show pictures until the end. Returns the duration in seconds."""

    def each(shown: Shown | None) -> bool:
        watch.check()
        return controller is None or controller.show(shown)

    began = time.monotonic()
    live.start()
    follow(live, stop, each, meter)
    return time.monotonic() - began


def _summary(
    live: Live,
    capture: Capture,
    meter: Meter,
    style: LiveStyle,
    seconds: float,
    recordings: Recordings,
    outlets: tuple[Outlet | None, Outlet | None],
) -> Summary:
    stream, camera = outlets
    return Summary(
        source=capture.description,
        frames=live.painted,
        seconds=round(seconds, 3),
        frames_per_second=round(live.painted / seconds, 2),
        delay_ms=round(1000 * meter.delay(), 1),
        delay_ms_95=round(1000 * meter.delay(0.95), 1),
        height=capture.size[0],
        width=capture.size[1],
        painted_at=live.painter.size,
        style=style.label,
        missed=capture.latest.replaced,
        reopened=capture.reopened,
        recorded=recordings.written,
        streamed=stream.written if stream else 0,
        sent=camera.written if camera else 0,
        device=style.device,
    )


class _Watch:
    """Reports a lost source, its return, and failing outputs; fails after `give_up` seconds."""

    def __init__(
        self, live: Live, capture: Capture, give_up: float | None, say: Callable[[str], None]
    ) -> None:
        self._live, self._capture, self._give_up, self._say = live, capture, give_up, say
        self._lost = False
        self._failing: set[Outlet] = set()

    def check(self) -> None:
        """Report changes. Raises Unavailable: the source was lost for too long."""
        trouble = self._live.trouble if self._live.running else ""
        if trouble and self._give_up is not None and self._capture.away > self._give_up:
            raise Unavailable(f"gave up after {self._give_up:g} s: {trouble}")
        if bool(trouble) != self._lost:
            self._say(f"warning: {trouble}" if trouble else f"back: {self._capture.description}")
        self._lost = bool(trouble)
        for outlet in self._live.outlets:
            if not outlet.trouble:
                self._failing.discard(outlet)
            elif outlet not in self._failing:
                self._failing.add(outlet)
                self._say(f"warning: {outlet.trouble}")


def _outlets(
    show: Show,
    size: tuple[int, int],
    rate: float,
    stack: ExitStack,
    say: Callable[[str], None],
) -> tuple[Outlet | None, Outlet | None]:
    """The requested outputs among stream and virtual camera."""
    stream = camera = None
    if show.stream is not None:
        opener = partial(StreamOutput, show.stream, size, rate, show.bitrate)
        stream = Outlet(opener, size, again=True)
        stack.callback(stream.close)
    if show.virtual_camera:
        device = VirtualCamera(size, rate)
        say(f"virtual camera: {printable(device.device)}")
        camera = Outlet(lambda: device, size)
        stack.callback(camera.close)
    return stream, camera
