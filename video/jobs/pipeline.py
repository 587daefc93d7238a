"""Decodes, paints and encodes concurrently: a reader thread, painter threads, and the caller.

The caller writes frames in their original order. Only a few frames are in memory at a time.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from st.runtime.errors import StError
from st.video.film.color import Converter
from st.video.film.mask_films import MaskFilms
from st.video.film.picture_format import VideoFormat
from st.video.film.writer import Sink
from st.video.jobs.stage_times import StageTimes

Paint = Callable[..., NDArray[np.uint8]]  # (rgb), or (rgb, masks=[...]) if the video has masks
_POLL = 0.2  # seconds between checks for a stop request
_PACKETS = 1024  # maximum queue length between reader and writer


class Source(Protocol):
    """Yields frames in order, interleaved with the packets of other streams."""

    video_format: VideoFormat

    def items(self) -> Iterator[VideoFrame | Packet[Any]]: ...


def run(
    source: Source,
    sink: Sink,
    paint: Paint,
    workers: int = 2,
    painted: Callable[[], None] = lambda: None,
    stop: threading.Event | None = None,
    masks: MaskFilms | None = None,
    times: StageTimes | None = None,
) -> int:
    """Paint every frame of `source` into `sink`; return the number of frames.

    paint: upright (H, W, 3) uint8 RGB -> the same shape; called from `workers` threads.
    painted: called after each written frame.
    stop: when set, no more frames are written; the output so far stays valid.
    masks: the masks of the regions, passed to `paint` with each frame.
    times: counts the busy time of each stage.

    Raises: the first error of reading, painting or writing.
    """
    stop = stop or threading.Event()
    times = times or StageTimes()
    times.painters = workers
    line: queue.Queue[Future[Any] | Packet[Any] | Exception | None] = queue.Queue(_PACKETS)
    # Frames that are read but not yet written: one per painter, its next one, and two for the
    # writer, since the encoder works in bursts.
    room = threading.Semaphore(2 * workers + 2)
    leaving = threading.Event()
    prepare_frame = _frame_preparer(source.video_format, sink, paint, times)
    count = 0
    with ThreadPoolExecutor(workers, "paint") as pool:
        reader = threading.Thread(
            target=_read,
            args=(source, pool, prepare_frame, line, room, leaving, masks, times),
            name="read",
        )
        reader.start()
        try:
            while not stop.is_set():
                try:
                    item = line.get(timeout=_POLL)
                except queue.Empty:
                    continue
                if item is None:
                    break
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, Packet):
                    sink.copy(item)
                else:
                    prepared = item.result()
                    with times.busy("encoding"):
                        sink.write(prepared)
                    room.release()
                    count += 1
                    painted()
        finally:
            leaving.set()
            pool.shutdown(wait=True, cancel_futures=True)
            reader.join()
    return count


def _read(
    source: Source,
    pool: ThreadPoolExecutor,
    prepare_frame: Callable[..., Any],
    line: queue.Queue[Any],
    room: threading.Semaphore,
    leaving: threading.Event,
    masks: MaskFilms | None,
    times: StageTimes,
) -> None:
    """The reader thread: submits frames to the pool, and queues all items in order."""

    def put(item: Any) -> None:
        while not leaving.is_set():
            try:
                line.put(item, timeout=_POLL)
                return
            except queue.Full:
                continue

    try:
        for item in times.decoded(source.items()):
            if leaving.is_set():
                return
            if isinstance(item, Packet):
                put(item)
                continue
            while not room.acquire(timeout=_POLL):
                if leaving.is_set():
                    return
            try:
                with times.busy("decoding"):
                    own = {} if masks is None else {"masks": masks.of(item)}
                put(pool.submit(prepare_frame, item, **own))
            except RuntimeError:  # the pool is shut down: the writer has stopped
                return
        put(None)
    except Exception as error:
        put(error)


def _frame_preparer(
    video_format: VideoFormat, sink: Sink, paint: Paint, times: StageTimes
) -> Callable[..., Any]:
    """A thread-safe function that paints a decoded frame and converts it for the sink."""
    own = threading.local()
    rotation, wanted = video_format.rotation, sink.video_format
    keeps_turn = wanted.rotation.matrix is not None
    swaps = rotation.swaps and not keeps_turn
    height, width = (wanted.width, wanted.height) if swaps else (wanted.height, wanted.width)

    def prepare_frame(frame: VideoFrame, **masks: Any) -> Any:
        if not hasattr(own, "converter"):
            own.converter = Converter()
        opened = own.converter.open(frame, height, width)
        upright = rotation.apply(opened.rgb)
        painted = paint(upright, **masks)
        if painted.shape != upright.shape or painted.dtype != np.uint8:
            raise StError(f"the engine returned {painted.shape} for a frame of {upright.shape}")
        if keeps_turn:
            painted = rotation.undo(painted)
        return sink.prepare_frame(own.converter, painted, opened, frame)

    def timed(frame: VideoFrame, **masks: Any) -> Any:
        with times.busy("painting"):
            return prepare_frame(frame, **masks)

    return timed
