"""Converts video frames to RGB and back, with the matrix and range of their color tags.

OpenCV converts the common 8-bit formats (see `yuv`). swscale converts all other formats and sizes.
Its fast conversion to packed RGB truncates (on average 1.1 of 255 too dark). Its accurate
conversion to planar RGB has no bias. The planar frame is used again for the way back, since it
stores the chroma sample location, which PyAV cannot set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from st.runtime.pictures.hdr import HLG, PQ
from st.video.film import yuv
from st.video.film.tone_map import ToneMap

UNSPECIFIED = 2  # of matrix, primaries and transfer
LIMITED, FULL = 1, 2
RGB_MATRIX = 0
# FFmpeg's AVColorSpace -> swscale's numbers. swscale cannot convert other matrices.
_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


@dataclass(frozen=True)
class Tags:
    """Color tags, numbered as in ITU-T H.273. range: 0 unknown, 1 limited, 2 full."""

    matrix: int = UNSPECIFIED
    range: int = 0
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @classmethod
    def of(cls, frame: VideoFrame) -> Tags:
        full = frame.format.name.startswith("yuvj")
        return cls(
            matrix=int(frame.colorspace),
            range=FULL if full else int(frame.color_range),
            primaries=int(frame.color_primaries),
            transfer=int(frame.color_trc),
        )

    @property
    def hdr(self) -> bool:
        return self.transfer in (PQ, HLG)

    @property
    def known_matrix(self) -> bool:
        return self.matrix in _SWSCALE or self.matrix in (RGB_MATRIX, UNSPECIFIED)

    def explicit(self, height: int, width: int) -> Tags:
        """These tags, with the matrix that players assume for the size if it is unspecified."""
        if self.matrix != UNSPECIFIED:
            return self
        return replace(self, matrix=1 if width >= 1280 or height > 576 else 6)

    def of_yuv(self) -> Tags:
        """These tags for YUV: an RGB or unknown matrix becomes BT.709, RGB with limited range."""
        if self.matrix in _SWSCALE or self.matrix == UNSPECIFIED:
            return self
        return replace(self, matrix=1, range=LIMITED if self.matrix == RGB_MATRIX else self.range)

    def of_rgb(self) -> Tags:
        return replace(self, matrix=RGB_MATRIX, range=FULL)

    def stamp(self, target: VideoFrame | VideoCodecContext) -> None:
        target.colorspace = self.matrix
        target.color_range = self.range
        target.color_primaries = self.primaries
        target.color_trc = self.transfer


BT709 = Tags(matrix=1, range=LIMITED, primaries=1, transfer=1)


def is_rgb(pixel_format: str) -> bool:
    return av.VideoFormat(pixel_format, 2, 2).is_rgb


def has_alpha(frame: VideoFrame) -> bool:
    return any(component.is_alpha for component in frame.format.components)


def transparent(frame: VideoFrame) -> bool:
    """Whether any pixel of a frame with an alpha channel is not opaque."""
    return bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)


@dataclass(frozen=True)
class RgbFrame:
    """A decoded frame in RGB.

    rgb: (H, W, 3) uint8, 0..255.
    planar: the same frame as gbrp or gbrap if swscale converted it, else None.
    """

    rgb: NDArray[np.uint8]
    planar: VideoFrame | None = None

    @property
    def alpha(self) -> NDArray[np.uint8] | None:
        """(H, W) uint8, or None for an opaque video."""
        if self.planar is None or len(self.planar.planes) < 4:
            return None
        return yuv.pixels(self.planar.planes[3])


class Converter:
    """Converts the frames of one video, and caches swscale's tables. Use one per thread."""

    def __init__(self) -> None:
        self._into = VideoReformatter()
        self._back = VideoReformatter()

    @cached_property
    def _tone_map(self) -> ToneMap:
        return ToneMap()

    def open(self, frame: VideoFrame, height: int, width: int) -> RgbFrame:
        """Convert a frame to RGB of this size. HDR (PQ, HLG) is tone-mapped to BT.709."""
        tags = Tags.of(frame).explicit(frame.height, frame.width)
        resizes = (height, width) != (frame.height, frame.width)
        known = tags.matrix if tags.matrix in _SWSCALE else 1
        if frame.format.name in yuv.PIXEL_FORMATS and not (tags.hdr or resizes):
            return RgbFrame(yuv.to_rgb(frame, known, tags.range == FULL))
        planar = self._into.reformat(
            frame,
            width=width,
            height=height,
            format="gbrp10le" if tags.hdr else "gbrap" if has_alpha(frame) else "gbrp",
            src_colorspace=_SWSCALE[known],
            src_color_range=tags.range or (FULL if frame.format.is_rgb else LIMITED),
            dst_color_range=FULL,
            interpolation=(Interpolation.BICUBIC if resizes else Interpolation.BILINEAR)
            | Interpolation.ACCURATE_RND,
            threads=1,
        )
        if tags.hdr:
            planar = self._tone_map(planar, tags.transfer)
        if planar is frame:
            frame.make_writable()  # the decoder may still reference it
        green, blue, red = (yuv.pixels(plane) for plane in planar.planes[:3])
        return RgbFrame(cv2.merge([red, green, blue]), planar)  # type: ignore[arg-type]

    def to_frame(
        self, rgb: NDArray[np.uint8], opened: RgbFrame, pixel_format: str, tags: Tags
    ) -> VideoFrame:
        """Convert (H, W, 3) uint8 RGB to a frame of `pixel_format` with these color tags.

        opened: the frame before painting, for its alpha channel. Its planar frame is overwritten.
        """
        height, width = rgb.shape[:2]
        explicit = tags.explicit(height, width)
        known = explicit.matrix if explicit.matrix in _SWSCALE else 1
        if pixel_format in yuv.PIXEL_FORMATS and opened.planar is None:
            frame = yuv.to_yuv(rgb, pixel_format, known, tags.range == FULL)
        else:
            planar = opened.planar
            if planar is None or (planar.height, planar.width) != (height, width):
                planar = VideoFrame(width, height, "gbrp")
            for plane, channel in zip(planar.planes, (1, 2, 0), strict=False):
                cv2.extractChannel(rgb, channel, yuv.pixels(plane))
            frame = self._back.reformat(
                planar,
                format=pixel_format,
                src_color_range=FULL,
                dst_colorspace=_SWSCALE[known],
                dst_color_range=tags.range or LIMITED,
                interpolation=Interpolation.BILINEAR,
                threads=1,
            )
        tags.stamp(frame)
        return frame
