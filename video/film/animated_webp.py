"""Read animated WebP as a video with Pillow, since FFmpeg has no demuxer for it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from st.runtime.errors import BadInput, printable
from st.video.film.picture_format import VideoFormat
from st.video.film.raw import SRGB

_TICK = Fraction(1, 1000)
_SHORTEST = 10  # ms, the minimum duration of a frame in browsers


def is_animated_webp(path: Path) -> bool:
    """Whether the header is that of an animated WebP. Raises BadInput: it cannot be read."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(21)
    except OSError as error:
        raise BadInput(f"{printable(path)}: {error.strerror or 'cannot be read'}") from None
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


class AnimatedWebpSource:
    """The frames of an animation, each with its own duration."""

    damaged = 0

    def __init__(self, path: Path) -> None:
        """Raises BadInput: it cannot be read."""
        self._name = printable(path)
        try:
            self._picture = Image.open(path, formats=["WEBP"])
            self.expected: int | None = getattr(self._picture, "n_frames", 1)
            self._picture.load()
            duration = max(_SHORTEST, int(self._picture.info.get("duration", 0)))
        except (OSError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise BadInput(f"{self._name}: damaged WebP: {printable(error, 80)}") from None
        width, height = self._picture.size
        alpha = "A" in self._picture.getbands() and self._transparent()
        rate = Fraction(1000, duration).limit_denominator(1000)
        self.video_format = VideoFormat(height, width, SRGB, rate, _TICK, alpha=alpha)

    def _transparent(self) -> bool:
        """Whether any frame has a pixel that is not opaque. Damaged frames count as opaque."""
        try:
            for number in range(self.expected or 1):
                self._picture.seek(number)
                if np.asarray(self._picture.getchannel("A")).min() < 255:
                    return True
        except (OSError, ValueError, EOFError):
            pass
        return False

    def items(self) -> Iterator[VideoFrame]:
        mode, pixels = ("RGBA", "rgba") if self.video_format.alpha else ("RGB", "rgb24")
        when = 0
        for number in range(self.expected or 1):
            try:
                self._picture.seek(number)
                shown = np.asarray(self._picture.convert(mode))
            except (OSError, ValueError, EOFError):
                self.damaged += 1
                return
            frame = VideoFrame.from_ndarray(shown, pixels)
            SRGB.stamp(frame)
            frame.pts, frame.time_base = when, _TICK
            frame.duration = max(_SHORTEST, int(self._picture.info.get("duration", 0)))
            when += frame.duration
            yield frame

    def close(self) -> None:
        self._picture.close()
