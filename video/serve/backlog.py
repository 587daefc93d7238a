"""A limit on the number of encoded frames that wait in aiortc's decoder queue.

aiortc decodes in a separate thread that reads from an unbounded queue. On a machine that cannot
keep up, delay and memory would grow without limit (aiortc issues 104, 554, 1192). aiortc has no
setting for this, so the queue is replaced before its first use. When too many frames wait, all of
them are dropped and the sender is asked for a keyframe.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from aiortc import RTCRtpReceiver

WAITING = 15  # frames: half a second at 30 frames per second
_QUEUE, _ERROR = "_RTCRtpReceiver__decoder_queue", "_RTCRtpReceiver__decoder_error"


class Backlog(queue.Queue[Any]):
    """A queue that drops its contents when full. It never rejects None, the end marker.

    damaged: set when frames were dropped; aiortc then requests a keyframe from the sender.
    most: maximum number of waiting frames.
    """

    def __init__(self, damaged: threading.Event, most: int = WAITING) -> None:
        super().__init__()
        self.dropped = 0
        self._most = most
        self._damaged = damaged

    def _put(self, item: Any) -> None:
        # Queue.put calls this with the lock held.
        if item is not None and self._qsize() >= self._most:
            self.dropped += self._qsize()
            self.queue.clear()
            self._damaged.set()
        super()._put(item)


def bound_backlog(receiver: RTCRtpReceiver) -> None:
    """Replace a receiver's queue by a bounded one. Call this before the connection starts."""
    if isinstance(getattr(receiver, _QUEUE, None), queue.Queue):
        setattr(receiver, _QUEUE, Backlog(getattr(receiver, _ERROR, threading.Event())))
