"""What is shown, to a streaming server or program: RTMP, SRT, UDP, RTSP."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from typing import Any

import av
from av.error import FFmpegError

from st.runtime.errors import BadInput, StError, Unavailable
from st.video.codecs import encoder_threads
from st.video.colour import BT709, Converter, Opened
from st.video.live_picture import Picture
from st.video.stream_input import shown_url, why

CLOCK = Fraction(1, 90_000)
FORMATS = {
    "rtmp": "flv",
    "rtmps": "flv",
    "srt": "mpegts",
    "udp": "mpegts",
    "tcp": "mpegts",
    "rtsp": "rtsp",
}
KEYFRAME_SECONDS = 2  # what streaming services ask for
WAIT = 10_000_000  # microseconds that a server may keep us waiting


def check_url(url: str) -> None:
    """Raises BadInput unless st streams to such URLs."""
    if "://" not in url or url.partition("://")[0].lower() not in FORMATS:
        known = ", ".join(f"{scheme}://" for scheme in FORMATS)
        raise BadInput(f"-o {shown_url(url)}: st-webcam streams to {known}; films are --record")


class StreamOutput:
    """See st.video.outlet.Writer. H.264 tuned for little delay, at most `bitrate` bits a second."""

    def __init__(self, url: str, size: tuple[int, int], rate: float, bitrate: int) -> None:
        """Connect. size: (width, height), both even. Raises Unavailable: nobody there."""
        self._name = shown_url(url)
        scheme = url.partition("://")[0].lower()
        if scheme == "udp" and "pkt_size" not in url:
            url += ("&" if "?" in url else "?") + "pkt_size=1316"  # seven packets a datagram
        options = {"rtsp_transport": "tcp"} if scheme == "rtsp" else {}
        if scheme in ("rtmp", "rtmps", "tcp"):
            options["rw_timeout"] = str(WAIT)
        try:
            self._target = av.open(url, "w", format=FORMATS[scheme], container_options=options)
        except FFmpegError as error:
            raise Unavailable(f"{self._name}: {why(error)}") from None
        try:
            self._video = self._add(size, rate, bitrate)
            self._target.start_encoding()
        except FFmpegError as error:
            self.abandon()
            raise Unavailable(f"{self._name}: {why(error)}") from None
        self._converter = Converter()
        self._begin: float | None = None
        self._last = -1

    def _add(self, size: tuple[int, int], rate: float, bitrate: int) -> Any:
        whole_rate = max(1, round(rate))
        video: Any = self._target.add_stream("libx264", rate=whole_rate)
        context = video.codec_context
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.time_base = video.time_base = CLOCK
        context.gop_size = KEYFRAME_SECONDS * whole_rate
        context.thread_count = encoder_threads()
        BT709.stamp(context)
        context.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "crf": "23",
            "maxrate": str(bitrate),
            "bufsize": str(bitrate),
        }
        return video

    def write(self, picture: Picture, when: float) -> None:
        """Raises StError: the connection is lost."""
        self._begin = when if self._begin is None else self._begin
        frame = self._converter.to_film(picture, Opened(picture), "yuv420p", BT709)
        self._last = max(self._last + 1, round((when - self._begin) / CLOCK))
        frame.pts, frame.time_base = self._last, CLOCK
        try:
            self._target.mux(self._video.encode(frame))
        except FFmpegError as error:
            raise StError(f"{self._name}: {why(error)}") from None

    def close(self, when: float) -> None:
        try:
            self._target.mux(self._video.encode(None))
            self._target.close()
        except FFmpegError:
            self.abandon()  # the other side may have left first

    def abandon(self) -> None:
        with contextlib.suppress(FFmpegError, OSError, ValueError):
            self._target.close()
