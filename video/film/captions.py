"""Closed captions inside the video stream (CEA-608 and CEA-708, ATSC A/53 part 4)."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import cast

from av.filter import Graph
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame

_FIRST = 5  # frames that are always searched
ENCODERS = ("libx264",)  # encoders that write captions; PyAV's x265 does not


class CaptionDetector:
    """Detects captions in a video's first frames and keyframes.

    Other frames are not searched: PyAV keeps a frame whose side data was read until Python's
    garbage collector runs, and frames are large.
    """

    def __init__(self) -> None:
        self._left = _FIRST
        self.found = False

    def detect(self, frame: VideoFrame) -> bool:
        """Whether captions were found in this frame or an earlier one."""
        if not self.found and (self._left > 0 or frame.key_frame):
            self._left -= 1
            gc.collect(1)
            self.found = _has_captions(frame)
        return self.found


def _has_captions(frame: VideoFrame) -> bool:
    return any(data.type.name == "A53_CC" for data in cast("Iterable[SideData]", frame.side_data))


def with_captions(frame: VideoFrame, source: VideoFrame) -> VideoFrame:
    """A copy of `frame` with the captions of `source`.

    PyAV cannot add side data to a frame, but FFmpeg's filters pass it on: the output of `blend` has
    the side data of its first input and, at opacity 0, the pixels of its second, a planar frame.
    """
    graph = Graph()
    tops, bottoms = (
        graph.add_buffer(width=f.width, height=f.height, format=f.format, time_base=frame.time_base)
        for f in (source, frame)
    )
    scale = graph.add("scale", f"{frame.width}:{frame.height}:flags=fast_bilinear")
    form = graph.add("format", frame.format.name)
    blend = graph.add("blend", all_opacity="0")
    sink = graph.add("buffersink")
    tops.link_to(scale)
    scale.link_to(form)
    form.link_to(blend, 0, 0)
    bottoms.link_to(blend, 0, 1)
    blend.link_to(sink)
    graph.configure()
    for buffer, pushed in ((tops, source), (bottoms, frame)):
        buffer.push(pushed)
        buffer.push(None)
    result = graph.vpull()
    result.pts, result.time_base, result.duration = frame.pts, frame.time_base, frame.duration
    return result
