"""A bound on the encoded frames that wait in aiortc to be decoded.

aiortc decodes in a thread of its own, fed by a queue without a bound: where the machine cannot keep
up, the picture would come later and later (aiortc issues 104, 554, 1192) and memory would grow.
aiortc has no setting for it, so its queue is replaced before it is used. When too many frames wait,
all of them are dropped and the sender is asked for a picture that needs none of them.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from aiortc import RTCRtpReceiver

WAITING = 15  # frames, half a second
_QUEUE, _ERROR = "_RTCRtpReceiver__decoder_queue", "_RTCRtpReceiver__decoder_error"


class Backlog(queue.Queue[Any]):
    """A queue that empties itself instead of growing. None, the sign of the end, always stays.

    damaged: set when frames were dropped; aiortc then asks the sender for a whole picture.
    """

    def __init__(self, damaged: threading.Event, most: int = WAITING) -> None:
        super().__init__()
        self.dropped = 0
        self._most = most
        self._damaged = damaged

    def _put(self, item: Any) -> None:
        # Called by Queue.put under its lock.
        if item is not None and self._qsize() >= self._most:
            self.dropped += self._qsize()
            self.queue.clear()
            self._damaged.set()
        super()._put(item)


def bound_backlog(receiver: RTCRtpReceiver) -> None:
    """Bound a receiver's queue; to be called before its connection is made."""
    if isinstance(getattr(receiver, _QUEUE, None), queue.Queue):
        setattr(receiver, _QUEUE, Backlog(getattr(receiver, _ERROR, threading.Event())))
