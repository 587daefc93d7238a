"""Decode, paint and encode at once: a reader thread, painters, and the caller who writes.

Frames come out in the order they went in, and only a few are in memory at a time.
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

Paint = Callable[..., NDArray[np.uint8]]  # (rgb), or (rgb, masks=[...]) for films with masks
_POLL = 0.2  # seconds after which a waiting reader looks whether it should stop
_PACKETS = 1024  # between reader and writer, at most


class Source(Protocol):
    """Gives frames in order, and the packets of other streams as they lie between them."""

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
) -> int:
    """Paint every frame of `source` into `sink`; return how many.

    paint: (H, W, 3) uint8 RGB upright -> same; called from `workers` threads at a time.
    masks: of the regions, given to `paint` with each frame.
    painted: called after each frame that is written.
    stop: when set, no more frames are taken; what is written so far stays whole.

    Raises: whatever reading, painting or writing raises, the first of them.
    """
    stop = stop or threading.Event()
    line: queue.Queue[Future[Any] | Packet[Any] | Exception | None] = queue.Queue(_PACKETS)
    # Frames that are read and not yet written: one a painter, one for each to take up next, and
    # some for the writer, whose encoder works in bursts.
    room = threading.Semaphore(2 * workers + 2)
    leaving = threading.Event()
    prepare_frame = _developer(source.video_format, sink, paint)
    count = 0
    with ThreadPoolExecutor(workers, "paint") as pool:
        reader = threading.Thread(
            target=_read,
            args=(source, pool, prepare_frame, line, room, leaving, masks),
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
                    sink.write(item.result())
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
) -> None:
    """The reader thread: frames to the painters, and everything in order to the line."""

    def put(item: Any) -> None:
        while not leaving.is_set():
            try:
                line.put(item, timeout=_POLL)
                return
            except queue.Full:
                continue

    try:
        for item in source.items():
            if leaving.is_set():
                return
            if isinstance(item, Packet):
                put(item)
                continue
            while not room.acquire(timeout=_POLL):
                if leaving.is_set():
                    return
            try:
                own = {} if masks is None else {"masks": masks.of(item)}
                put(pool.submit(prepare_frame, item, **own))
            except RuntimeError:  # the pool is shut: the writer has left
                return
        put(None)
    except Exception as error:
        put(error)


def _developer(video_format: VideoFormat, sink: Sink, paint: Paint) -> Callable[..., Any]:
    """A function from a decoded frame to what the sink writes, for many threads."""
    own = threading.local()
    rotation, wanted = video_format.rotation, sink.video_format
    keeps_turn = wanted.rotation.matrix is not None
    swaps = rotation.swaps and not keeps_turn
    width, height = (wanted.height, wanted.width) if swaps else (wanted.width, wanted.height)

    def prepare_frame(frame: VideoFrame, **masks: Any) -> Any:
        if not hasattr(own, "converter"):
            own.converter = Converter()
        opened = own.converter.open(frame, width, height)
        upright = rotation.apply(opened.rgb)
        painted = paint(upright, **masks)
        if painted.shape != upright.shape or painted.dtype != np.uint8:
            raise StError(f"the engine made {painted.shape} of a frame of {upright.shape}")
        if keeps_turn:
            painted = rotation.undo(painted)
        return sink.prepare_frame(own.converter, painted, opened, frame)

    return prepare_frame
