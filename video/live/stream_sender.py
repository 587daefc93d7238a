"""A child process that encodes pictures and sends them to a streaming server.

PyAV holds the GIL while it connects, so in the main process a slow server would freeze the window.
stream_output starts this process and talks to it through pipes:

stdin:   one line of JSON, {url, height, width, rate, bitrate, patience}; then for each picture its
         time in seconds (little-endian float64) and height * width * 3 bytes of RGB. End of file
         ends the stream.
stdout:  one line, "connected" or an error; later, one line if the connection is lost.
"""

from __future__ import annotations

import faulthandler
import json
import os
import struct
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.error import FFmpegError

from st.video.film.codecs import encoder_threads
from st.video.film.color import BT709, Converter, RgbFrame
from st.video.live.stream_input import why

CONNECTED = "connected"
FORMATS = {
    "rtmp": "flv",
    "rtmps": "flv",
    "srt": "mpegts",
    "udp": "mpegts",
    "tcp": "mpegts",
    "rtsp": "rtsp",
}
STAMP = struct.Struct("<d")
CLOCK = Fraction(1, 90_000)
KEYFRAME_SECONDS = 2  # the interval that streaming services require


class Sender:
    """One connection that sends low-latency H.264."""

    def __init__(self, url: str, height: int, width: int, rate: float, bitrate: int) -> None:
        """Connect. height, width: both even. bitrate: maximum, in bits per second.

        Raises FFmpegError: the connection failed.
        """
        scheme = url.partition("://")[0].lower()
        if scheme == "udp" and "pkt_size" not in url:
            url += ("&" if "?" in url else "?") + "pkt_size=1316"  # seven MPEG-TS packets
        options = {"rtsp_transport": "tcp"} if scheme == "rtsp" else {}
        self._target = av.open(url, "w", format=FORMATS[scheme], container_options=options)
        self._video = self._add(height, width, max(1, round(rate)), bitrate)
        self._target.start_encoding()
        self._converter = Converter()
        self._last = -1

    def _add(self, height: int, width: int, rate: int, bitrate: int) -> Any:
        video: Any = self._target.add_stream("libx264", rate=rate)
        context = video.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = video.time_base = CLOCK
        context.gop_size = KEYFRAME_SECONDS * rate
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

    def send(self, picture: np.ndarray[Any, Any], seconds: float) -> None:
        """Raises FFmpegError: the connection was lost."""
        frame = self._converter.to_frame(picture, RgbFrame(picture), "yuv420p", BT709)
        self._last = max(self._last + 1, round(seconds / CLOCK))
        frame.pts, frame.time_base = self._last, CLOCK
        self._target.mux(self._video.encode(frame))

    def close(self) -> None:
        self._target.mux(self._video.encode(None))
        self._target.close()


def main() -> None:
    source = sys.stdin.buffer
    settings = json.loads(source.readline())
    watch = _Watch(settings.pop("patience"))
    watch.begin()
    try:
        sender = Sender(**settings)
        _say(CONNECTED)
        shape = settings["height"], settings["width"], 3
        size = shape[0] * shape[1] * 3
        while True:
            watch.rest()
            data = _exactly(source, STAMP.size + size)
            watch.begin()
            if data is None:
                sender.close()
                return
            picture = np.frombuffer(data, np.uint8, offset=STAMP.size).reshape(shape)
            sender.send(picture, STAMP.unpack_from(data)[0])
    except FFmpegError as error:
        _say(why(error))
        # Exit without closing: closing would wait for the server again.
        os._exit(1)


class _Watch:
    """A watchdog: exits the process on a timeout, even while FFmpeg holds the GIL."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._nowhere = Path(os.devnull).open("w")  # noqa: SIM115

    def begin(self) -> None:
        faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._nowhere)

    def rest(self) -> None:
        """Stop the timer while waiting for a picture: a lost camera is not an error."""
        faulthandler.cancel_dump_traceback_later()


def _exactly(source: BinaryIO, size: int) -> bytes | None:
    data = source.read(size)
    return data if len(data) == size else None


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
