"""A WebRTC session: a visitor's camera in, the painting out, settings over a data channel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiortc.codecs.vpx
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from st.runtime import BadInput, StError, StyleCode, Stylizer
from st.runtime.errors import printable
from st.video.live.adaptive import Resolution, resolution_for
from st.video.live.latest import ClosedError, LatestSlot
from st.video.live.style_state import Choice
from st.video.serve.backlog import bound_backlog
from st.video.serve.painting import PaintedTrack, Pool, paint_frame
from st.video.serve.settings import Settings, parse_settings, styled

SILENCE = 10.0  # seconds without a frame or a message after which a session ends
CLOSE_SECONDS = 5.0  # timeout for closing a connection
PICTURES = 8  # maximum number of style pictures of a visitor
MAX_MESSAGE = 4096  # characters
MAX_UNREAD = 64 * 1024  # bytes
MAX_MEDIA, MAX_CANDIDATES = 4, 64  # in an offer
LARGEST = 4096 * 2304  # maximum pixels of a frame

# Maximum bit rate; aiortc has no setting for it. Brush strokes need more than a video call. The
# visitor's browser reports how much of it the network can carry.
aiortc.codecs.vpx.MAX_BITRATE = 6_000_000


@dataclass(frozen=True)
class SessionDefaults:
    """Initial settings of every session.

    choices: the available styles; empty for an engine with a single style.
    target_fps: frame rate to sustain by adapting the paint size, in frames per second.
    longest: fixed longer side of the paintings in pixels, regardless of the frame rate.
    size: (height, width) to request from the visitor's camera.
    """

    base: Stylizer
    choices: Sequence[Choice]
    begin: Settings
    target_fps: float = 24.0
    longest: int | None = None
    size: tuple[int, int] = (540, 960)


class Session:
    """The session of one visitor. Ends with `close`, or when the peer leaves or is silent too long.

    number: its identifier in URLs; not guessable.
    closed: called once, after all resources have been released.
    """

    def __init__(
        self,
        defaults: SessionDefaults,
        pool: Pool,
        closed: Callable[[Session], None],
        silence: float = SILENCE,
    ) -> None:
        self.number = secrets.token_urlsafe(16)
        self._defaults = defaults
        self._choices = list(defaults.choices)
        self._settings = defaults.begin
        self._paint = styled(defaults.base, self._choices, defaults.begin)
        self._pool = pool
        self._closed = closed
        self._silence = silence
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._incoming: LatestSlot[tuple[VideoFrame, float]] = LatestSlot()
        self._outgoing: LatestSlot[VideoFrame] = LatestSlot()
        self._sent = PaintedTrack(self._outgoing)
        self._channel: RTCDataChannel | None = None
        self._track: MediaStreamTrack | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None
        self._heard = time.monotonic()
        self._frames: list[tuple[float, float, float]] = []  # since the last report, see _report
        self._came = self._size = (0, 0)
        self._resolution: Resolution | None = None
        self._interval = 0.0  # seconds between frames of the camera
        self._said = ""

    async def answer(self, sdp: str) -> str:
        """The SDP answer to a browser's SDP offer.

        Raises BadInput: not an offer, or one without a camera.
        """
        if sdp.count("\nm=") > MAX_MEDIA or sdp.count("a=candidate") > MAX_CANDIDATES:
            raise BadInput("an offer with too many parts")
        peer = self._peer
        peer.on("track", self._on_track)
        peer.on("datachannel", self._on_channel)
        peer.on("connectionstatechange", self._on_state)
        try:
            await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            if self._track is None:
                raise BadInput("an offer without a camera")
            peer.addTrack(self._sent)
            for transceiver in peer.getTransceivers():
                bound_backlog(transceiver.receiver)
            await peer.setLocalDescription(await peer.createAnswer())
        except (BadInput, asyncio.CancelledError):
            raise
        except Exception as error:  # aiortc raises many types for invalid offers
            raise BadInput(f"not a valid offer ({type(error).__name__})") from None
        self._begin(self._paint_all())
        self._begin(self._watch())
        return peer.localDescription.sdp

    @property
    def stylizer(self) -> Stylizer:
        """A Stylizer with the visitor's current settings."""
        return self._paint

    def set(self, settings: Settings) -> None:
        """Apply settings from the next frame on. Raises BadControl: an unknown style."""
        self._paint = styled(self._defaults.base, self._choices, settings)
        if settings.sharp != self._settings.sharp:
            self._resolution = None  # chosen again at the next frame
        self._settings = settings

    def add_picture(self, code: StyleCode) -> int:
        """Add a style picture; returns its number in the settings. Raises BadInput: too many."""
        if len(self._choices) - len(self._defaults.choices) >= PICTURES:
            raise BadInput(
                f"at most {PICTURES} style pictures are kept: reload the page to remove them"
            )
        self._choices.append(Choice("picture", {code: 1.0}))
        return len(self._choices) - 1

    def close(self) -> asyncio.Task[None]:
        """Start to release all resources; the task ends when that is done."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        return self._closing

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task; when it ends or fails, the session ends."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            print(f"{type(error).__name__}: {printable(error, 300)}", file=sys.stderr)
        self.close()

    async def _close(self) -> None:
        self._incoming.close()
        self._outgoing.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Exception):  # the peer may be gone already
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._peer.close()
        self._closed(self)

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video" and self._track is None:
            self._track = track
            self._begin(self._receive(track))

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if self._channel is None:
            self._channel = channel
            channel.on("message", self._on_message)

    def _on_state(self) -> None:
        if self._peer.connectionState in ("failed", "closed"):
            self.close()

    def _on_message(self, message: str | bytes) -> None:
        """{"settings": {…}}, {"ping": number}, or both."""
        self._heard = time.monotonic()
        if not isinstance(message, str) or len(message) > MAX_MESSAGE:
            self.close()
            return
        try:
            values = json.loads(message)
            if not isinstance(values, dict):
                raise BadInput("a message is an object")
            if "settings" in values:
                self.set(parse_settings(values["settings"], self._settings))
            if isinstance(values.get("ping"), int | float):
                self._send(pong=values["ping"])
        except (ValueError, RecursionError):
            self._send(error="a message is JSON")
        except StError as error:
            self._send(error=str(error))

    def _send(self, **values: Any) -> None:
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        if channel.bufferedAmount < MAX_UNREAD:  # else the peer does not read its messages
            with contextlib.suppress(ConnectionError, aiortc.exceptions.InvalidStateError):
                channel.send(json.dumps(values))

    async def _receive(self, track: MediaStreamTrack) -> None:
        """Take every frame as it arrives, so that none waits in the track's own queue."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                before, self._heard = self._heard, time.monotonic()
                self._interval += (min(1.0, self._heard - before) - self._interval) / 8
                if not isinstance(frame, VideoFrame) or frame.width * frame.height > LARGEST:
                    break
                self._incoming.put((frame, self._heard))

    async def _paint_all(self) -> None:
        with contextlib.suppress(ClosedError):
            while True:
                frame, came = await self._incoming.get()
                began = time.monotonic()
                resolution = self._fitting(frame)
                work = partial(paint_frame, self._paint, frame, *resolution.size)
                try:
                    painted = await self._pool.run(work)
                except StError as error:
                    self._say(printable(error))
                    painted = frame  # unpainted: shows that camera and server work
                else:
                    self._say("")
                ended = time.monotonic()
                resolution.observe(ended - began)
                self._frames.append((came, ended, self._sent.sending))
                self._size = (painted.height, painted.width)
                self._outgoing.put(painted)

    def _fitting(self, frame: VideoFrame) -> Resolution:
        """The paint size for a frame. Browsers change the camera's size with the network."""
        if self._resolution is None or self._came != (frame.height, frame.width):
            self._came = (frame.height, frame.width)
            defaults = self._defaults
            longest = max(self._came) if self._settings.sharp else defaults.longest
            self._resolution = resolution_for(
                defaults.base.metadata, *self._came, defaults.target_fps, longest
            )
        return self._resolution

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._send(error=text)

    async def _watch(self) -> None:
        """Report once a second; return when the peer has been silent for too long."""
        while time.monotonic() - self._heard < self._silence:
            await asyncio.sleep(1)
            self._report()

    def _report(self) -> None:
        """Send rate, size, and the delay from a frame's last packet to that of its painting.

        aiortc delivers a frame when the next one begins, so the delay includes one frame period.
        """
        frames, self._frames = self._frames, []
        if not frames:
            return
        came, ended, sending = (sum(times) / len(frames) for times in zip(*frames, strict=True))
        self._send(
            rate=len(frames),
            delay=round(1000 * (self._interval + ended - came + sending)),
            height=self._size[0],
            width=self._size[1],
        )
