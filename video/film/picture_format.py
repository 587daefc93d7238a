"""Size, color tags, clock and orientation of a video stream."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction

from st.runtime.errors import BadInput, printable
from st.runtime.pictures.resize import parse_size
from st.video.film.color import Tags
from st.video.film.rotation import UPRIGHT, DisplayRotation

Size = tuple[int, int]  # (height, width)
MIN_SIDE, MAX_SIDE = 2, 16_384  # of a video's frames


@dataclass(frozen=True)
class VideoFormat:
    """Geometry, color tags and clock of a video stream, as stored (before `rotation`).

    height, width: in pixels.
    aspect: pixel aspect ratio, width over height (32/27 in widescreen NTSC).
    rate: average frames per second, only a hint: each frame has its own timestamp.
    time_base: seconds per tick of the timestamps.
    bits: per channel.
    """

    height: int
    width: int
    tags: Tags
    rate: Fraction
    time_base: Fraction
    aspect: Fraction = Fraction(1)
    rotation: DisplayRotation = UPRIGHT
    alpha: bool = False
    bits: int = 8

    def upright(self) -> VideoFormat:
        """This format with the rotation applied to the pixels instead of left to the player."""
        if not self.rotation.swaps:
            return replace(self, rotation=UPRIGHT)
        return replace(
            self, height=self.width, width=self.height, aspect=1 / self.aspect, rotation=UPRIGHT
        )

    def square(self) -> VideoFormat:
        """This format with square pixels; the width is adapted."""
        if self.aspect == 1:
            return self
        step = 1 if self.width % 2 else 2  # an even width stays even
        width = max(step, step * round(self.width * self.aspect / step))
        return replace(self._sized(self.height, width), aspect=Fraction(1))

    def resized(self, size: Size | int | None) -> VideoFormat:
        """This format at another size, with the same displayed aspect ratio.

        size: (height, width) as displayed, with the pixel aspect ratio changed to keep the
            displayed one; or the longer side alone, both sides then even; None keeps the size.
        """
        if size is None:
            return self
        if isinstance(size, int):
            scale = Fraction(size, max(self.width, self.height))
            height, width = (max(2, 2 * round(n * scale / 2)) for n in (self.height, self.width))
            # Rounding to even sides must not change the pixel aspect ratio.
            return replace(self._sized(height, width), aspect=self.aspect)
        height, width = reversed(size) if self.rotation.swaps else size
        return self._sized(height, width)

    def _sized(self, height: int, width: int) -> VideoFormat:
        aspect = self.aspect * Fraction(self.width * height, width * self.height)
        # Players guess the matrix of an untagged video from its size, so a new size needs tags.
        tags = self.tags.explicit(self.height, self.width)
        return replace(
            self, height=height, width=width, aspect=aspect.limit_denominator(1000), tags=tags
        )


def parse_frame_size(text: str) -> Size | int:
    """ "1280x720" -> (720, 1280), "960" -> 960, the longer side. Raises BadInput."""
    sides: tuple[int, ...] = ()
    with suppress(BadInput):
        sides = (int(text),) if re.fullmatch("[0-9]{1,5}", text) else parse_size(text)
    if not sides or not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        raise BadInput(
            f"{printable(text, 40)!r} is not a size; give WIDTHxHEIGHT or the longer side, "
            f"{MIN_SIDE} to {MAX_SIDE}, such as 1280x720"
        )
    return sides if len(sides) == 2 else sides[0]
