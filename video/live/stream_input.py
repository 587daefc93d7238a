"""Network streams: RTSP over TCP, HTTP MJPEG, RTMP, SRT and others. Every wait has a timeout."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError, ProtocolNotFoundError
from av.packet import Packet
from av.video.frame import VideoFrame

from st.runtime.errors import BadInput, Unavailable, printable
from st.video.film.color import Converter
from st.video.film.containers import FORMATS, Samples, main_video
from st.video.film.reader import MAX_PIXELS
from st.video.film.rotation import DisplayRotation
from st.video.live.capture import Captured, Lost
from st.video.live.playback import Pace

SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "tcp", "rtp")
# Protocols that a playlist may refer to: network only, so that it cannot read local files.
_PROTOCOLS = "http,https,httpproxy,tls,tcp,udp,rtp,srtp,rtmp,rtmps,rtmpt,srt,crypto"
_FORMATS = f"{FORMATS},mpjpeg,mjpeg,rtsp,sdp,rtp,hls,dash,live_flv,mpegvideo,jpeg_pipe"
OPEN_SECONDS, READ_SECONDS = 10.0, 5.0
SAMPLE_PACKETS = 50  # read before the first frame where there are several video streams


def is_url(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def shown_url(url: str) -> str:
    """The URL for display, without user name, password and query."""
    return printable(re.sub(r"(?<=://)[^/]*@", "", url).partition("?")[0])


class Stream:
    """See st.video.live.capture.FrameSource."""

    def __init__(
        self,
        url: str,
        stop: threading.Event,
        loop: bool = False,
        box: tuple[int, int] | None = None,
        open_seconds: float = OPEN_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        """Connect.

        loop: repeat, if the URL is a video. box: maximum (height, width) of frames.
        open_seconds, read_seconds: timeouts for connecting and for each packet.

        Raises:
            BadInput: unsupported URL scheme, or a stream that cannot be parsed.
            Unavailable: no connection, or the stream has no video.
        """
        self._stop, self._loop, self._box = stop, loop, box
        self._name = shown_url(url)
        scheme = url.partition("://")[0].lower()
        if scheme not in SCHEMES:
            raise BadInput(f"{self._name}: unsupported URL; st plays {', '.join(SCHEMES)}")
        self._seconds = read_seconds
        self._container = _connect(url, scheme, self._name, (open_seconds, read_seconds))
        self._early: list[Packet[Any]] = []
        try:
            self._decoder = self._picture()
        except BaseException:
            self._container.close()
            raise
        # A video on a web server arrives faster than it plays. Only a video has a duration.
        self._whole = bool(self._container.duration and self._container.duration > 0)
        self._paced = self._whole or self._container.format.name in ("hls", "dash")
        self._pace = Pace()
        self._converter = Converter()
        self._frames = self._play()

    def _picture(self) -> Any:
        try:
            self._video = stream = main_video(self._container, self._sample, self._name)
        except BadInput as error:
            raise Unavailable(str(error)) from None
        except FFmpegError as error:
            raise Unavailable(f"{self._name}: {_why(error, self._seconds)}") from None
        rate = stream.average_rate or stream.guessed_rate
        guess = self._container.format.name == "mpjpeg"  # the format carries no frame rate
        self.rate: float | None = float(rate) if rate and rate <= 1000 and not guess else None
        context = stream.codec_context
        self.description = f"{self._name}: {context.width}×{context.height}, {context.name}"
        context.thread_type = "SLICE"  # frame threading delays output by one frame per thread
        return context

    def _sample(self) -> Samples:
        """Read ahead until every video stream has shown whether it moves; `_play` starts there."""
        unseen = {stream.index: 2 for stream in self._container.streams.video}
        for packet in self._container.demux():
            if packet.size:
                self._early.append(packet)
                unseen[packet.stream_index] = unseen.get(packet.stream_index, 0) - 1
            if max(unseen.values()) <= 0 or len(self._early) >= SAMPLE_PACKETS:
                break
        return Samples(self._container, self._early)

    def read(self) -> Captured | None:
        try:
            captured = next(self._frames, None)
        except FFmpegError as error:
            raise Lost(f"{self._name}: {_why(error, self._seconds)}") from None
        if captured is None and not self._whole and not self._stop.is_set():
            raise Lost(f"{self._name}: the stream ended")
        return captured

    def close(self) -> None:
        self._container.close()

    def _play(self) -> Iterator[Captured]:
        while True:
            for packet in chain(self._early, self._container.demux(self._video)):
                if packet.stream_index != self._video.index:
                    continue
                came = time.monotonic()
                if self._stop.is_set():
                    return
                try:
                    frames = self._decoder.decode(packet)
                except EOFError:
                    break
                except FFmpegError:
                    continue  # a damaged packet; the next one may be intact
                for frame in frames:
                    if captured := self._shown(frame, came):
                        yield captured
            if not (self._whole and self._loop):
                return
            self._early = []
            self._container.seek(0)
            self._decoder.flush_buffers()

    def _shown(self, frame: VideoFrame, came: float) -> Captured | None:
        if frame.width * frame.height > MAX_PIXELS:
            raise Lost(f"{self._name}: frames of {frame.width}×{frame.height} are too large")
        if self._paced and frame.time is not None:
            came = self._pace.due(frame.time)
            if self._pace.skips(came):
                return None
        rgb = DisplayRotation.of(frame).apply(self._converter.open(frame, *self._size(frame)).rgb)
        if self._paced:
            self._stop.wait(max(0.0, came - time.monotonic()))
            came = time.monotonic()
        return Captured(rgb, came)

    def _size(self, frame: VideoFrame) -> tuple[int, int]:
        """(height, width) of the frame with square pixels, scaled down to fit the box."""
        aspect = self._video.sample_aspect_ratio or Fraction(1)
        width = round(frame.width * aspect) if 0 < aspect < 100 else frame.width
        box = self._box or (frame.height, width)
        scale = min(1.0, box[0] / frame.height, box[1] / width)
        return max(2, round(frame.height * scale)), max(2, round(width * scale))


def _connect(url: str, scheme: str, name: str, timeout: tuple[float, float]) -> InputContainer:
    options = {
        "protocol_whitelist": _PROTOCOLS,
        "format_whitelist": _FORMATS,
        "probesize": "500000",
        "analyzeduration": "1000000",
    }
    if scheme in ("rtsp", "rtsps"):
        options["rtsp_transport"] = "tcp"
    try:
        return av.open(url, container_options=options, timeout=timeout, metadata_errors="replace")
    except FFmpegError as error:
        raise Unavailable(f"{name}: {_why(error, timeout[0])}") from None
    except (ValueError, UnicodeError) as error:
        raise BadInput(f"{name}: st cannot read this stream: {printable(error, 80)}") from None


def _why(error: FFmpegError, seconds: float) -> str:
    if isinstance(error, ExitError):  # our timeout expired
        return f"no data for {seconds:g} s"
    return why(error)


def why(error: FFmpegError) -> str:
    """A short description of an FFmpeg error."""
    if isinstance(error, ProtocolNotFoundError):
        return "PyAV's FFmpeg does not support this protocol (docs/live.md lists alternatives)"
    return printable(error.strerror, 80)
