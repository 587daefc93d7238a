"""Raw rgb24 frames on a pipe: height × width × 3 bytes per frame, without headers."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from st.runtime.errors import BadInput, printable
from st.runtime.pictures.resize import parse_size
from st.video.film.color import FULL, RGB_MATRIX, Converter, RgbFrame, Tags
from st.video.film.constant_rate import ConstantRate, time_of
from st.video.film.picture_format import MAX_SIDE, VideoFormat

SRGB = Tags(matrix=RGB_MATRIX, range=FULL, primaries=1, transfer=13)
MAX_RATE = 1000  # frames per second


def parse_raw(text: str) -> tuple[int, int, Fraction]:
    """ "640x360@25" or "640x360@30000/1001" -> (height, width, frame rate). Raises BadInput."""
    size, _, rate = text.partition("@")
    try:
        height, width = parse_size(size, MAX_SIDE)
        fps = Fraction(rate)
        if not 0 < fps <= MAX_RATE:
            raise ValueError
    except (BadInput, ValueError, ZeroDivisionError):
        raise BadInput(
            f"{printable(text, 40)!r} is not a size and rate; give WIDTHxHEIGHT@FPS, "
            "such as 640x360@25"
        ) from None
    return height, width, fps


class RawSource:
    """Reads frames from a pipe."""

    expected = None
    damaged = 0

    def __init__(self, stream: BinaryIO, height: int, width: int, rate: Fraction) -> None:
        self._stream = stream
        self.video_format = VideoFormat(height, width, SRGB, rate, time_base=1 / rate)

    def items(self) -> Iterator[VideoFrame]:
        shape = (self.video_format.height, self.video_format.width, 3)
        size = shape[0] * shape[1] * 3
        count = 0
        while len(data := self._stream.read(size)) == size:
            frame = VideoFrame.from_ndarray(np.frombuffer(data, np.uint8).reshape(shape))
            SRGB.stamp(frame)
            frame.pts, frame.time_base = count, self.video_format.time_base
            count += 1
            yield frame
        if not count:
            raise BadInput(
                f"standard input: ended before one complete frame of {shape[1]}×{shape[0]}"
            )

    def close(self) -> None:
        """The caller closes the pipe."""


class RawSink:
    """Writes frames to a pipe at a constant rate, by repeating or dropping frames."""

    def __init__(
        self, stream: BinaryIO, video_format: VideoFormat, height: int, width: int, rate: Fraction
    ) -> None:
        self._stream = stream
        self._timing = ConstantRate(rate)
        self.video_format = video_format.upright().resized((height, width))

    def prepare_frame(
        self,
        converter: Converter,
        rgb: NDArray[np.uint8],
        opened: RgbFrame,
        source: VideoFrame,
    ) -> tuple[bytes, Fraction]:
        return rgb.tobytes(), time_of(source)

    def write(self, prepared: tuple[bytes, Fraction]) -> None:
        for frame in self._timing.frames(*prepared):
            self._stream.write(frame)

    def copy(self, packet: Packet[Any]) -> None:
        """Raw frames carry no sound."""

    def close(self) -> None:
        self._stream.flush()

    def abandon(self) -> None:
        """The caller closes the pipe."""
