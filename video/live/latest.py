"""Single-slot mailbox: a newer item replaces one that was not read, so nothing ever queues.

Frames that wait in a queue make a live picture later and later.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class ClosedError(Exception):
    """No more items will come."""


class LatestSlot(Generic[T]):
    """A slot for one item, shared by one writer and one reader.

    The reader is either a thread, which calls `take`, or a coroutine, which awaits `get`.

    replaced: how many items were replaced before they were read.
    """

    def __init__(self) -> None:
        self.replaced = 0
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def put(self, item: T) -> None:
        """Store an item in place of one that was not read. After `close` it is dropped."""
        with self._condition:
            if self._closed:
                return
            self.replaced += self._item is not None
            self._item = item
            self._wake()

    def take(self, timeout: float = 0.0) -> T | None:
        """The item, or None when none arrives within `timeout` seconds or the slot is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed, timeout)
            return self._pop()

    async def get(self) -> T:
        """Wait for the item. Raises ClosedError: the slot was closed."""
        arrived = asyncio.Event()
        while True:
            with self._condition:
                if (item := self._pop()) is not None:
                    return item
                if self._closed:
                    raise ClosedError
                arrived.clear()
                self._waiter = asyncio.get_running_loop(), arrived
            await arrived.wait()

    def close(self) -> None:
        """Drop the item and wake the reader."""
        with self._condition:
            self._item, self._closed = None, True
            self._wake()

    def _pop(self) -> T | None:
        item, self._item = self._item, None
        return item

    def _wake(self) -> None:
        self._condition.notify()
        if self._waiter is not None:
            loop, arrived = self._waiter
            self._waiter = None
            loop.call_soon_threadsafe(arrived.set)
