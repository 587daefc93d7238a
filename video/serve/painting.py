"""Paint WebRTC frames in a bounded thread pool, and send them as a track."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from st.runtime import Stylizer
from st.video.live.latest import ClosedError, LatestSlot

T = TypeVar("T")


class Pool:
    """A pool of painting threads for the event loop."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="paint")

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in the pool. Canceling the wait does not stop work that has begun."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


def paint_frame(paint: Stylizer, frame: VideoFrame, height: int, width: int) -> VideoFrame:
    """Paint a frame at this size; returns yuv420p with the same aspect ratio and timestamp.

    WebRTC cameras are untagged BT.601 in both directions, which is libswscale's default.
    """
    rgb = np.asarray(frame.reformat(width, height, "rgb24").to_ndarray(), np.uint8)
    painted = VideoFrame.from_ndarray(paint(rgb), "rgb24")
    # The paint size is rounded for the engine; the result must have the camera's aspect ratio.
    shown = width, _even(width * frame.height / frame.width)
    painted = painted.reformat(*shown, format="yuv420p")
    painted.pts, painted.time_base = frame.pts, frame.time_base
    return painted


def _even(side: float) -> int:
    return max(2, 2 * round(side / 2))


class PaintedTrack(MediaStreamTrack):
    """The painted frames as a track. sending: average seconds to encode and send a frame."""

    kind = "video"

    def __init__(self, frames: LatestSlot[VideoFrame]) -> None:
        super().__init__()
        self.sending = 0.0
        self._frames = frames
        self._given: float | None = None

    async def recv(self) -> VideoFrame:
        if self._given is not None:  # the request for a frame shows that the last one was sent
            self.sending += (time.monotonic() - self._given - self.sending) / 8
        try:
            frame = await self._frames.get()
        except ClosedError:
            self.stop()
            raise MediaStreamError from None
        self._given = time.monotonic()
        return frame
